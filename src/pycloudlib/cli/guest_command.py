"""A command in one or several guests, with output as it arrives."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import click

from pycloudlib.cli.exit_statuses import FAILED

if TYPE_CHECKING:
    from pycloudlib import EC2Instance, Result

AT_ONCE = 32
"""Maximum number of guests that run the command concurrently."""

OnOutput = Callable[[str, bytes], None]
Execute = Callable[["EC2Instance", OnOutput | None], "Result"]


class _OutputClosedError(Exception):
    """The output stream is closed; not an OSError, which would be mistaken for one of the connection."""


class _Printer:
    """Prints the output of several guests in whole lines, and that of one guest unchanged."""

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._lock = threading.Lock()
        self._unfinished: dict[tuple[str, str], bytes] = {}
        self.fault: OSError | None = None

    def take(self, instance_id: str, stream: str, piece: bytes) -> None:
        with self._lock:
            try:
                self._print(stream, self._lines(instance_id, stream, piece) if self._several else piece)
            except OSError as error:
                self.fault = error
                raise _OutputClosedError from error

    def finish(self, instance_id: str) -> None:
        """Print a last line without a newline."""
        for stream in ("stdout", "stderr"):
            if self._unfinished.get((instance_id, stream)):
                self.take(instance_id, stream, b"\n")

    def _lines(self, instance_id: str, stream: str, piece: bytes) -> bytes:
        *whole, rest = (self._unfinished.get((instance_id, stream), b"") + piece).split(b"\n")
        self._unfinished[instance_id, stream] = rest
        return b"".join(b"%s: %s\n" % (instance_id.encode(), line) for line in whole)

    def _print(self, stream: str, data: bytes) -> None:
        to: BinaryIO = (sys.stdout if stream == "stdout" else sys.stderr).buffer
        to.write(data)
        to.flush()


def run_in(
    instances: Sequence[EC2Instance],
    command: Sequence[str],
    *,
    use_sudo: bool = False,
    timeout: float | None = None,
    stdin: bytes | None = None,
) -> int:
    """Run a command in guests, and print the output as it arrives.

    Args:
        instances: the instances.
        command: a single word is a line for the guest's shell; several words are a program and its arguments.
        use_sudo: whether to run the command as root; default no.
        timeout: seconds; default no limit.
        stdin: the standard input; default empty.

    Returns:
        The exit status: with one guest, the command's; with several, 0 if it is 0 for all, or else 1.

    Raises:
        PycloudlibError: the connection to the only guest failed; with several guests, each error is reported instead.
        OSError: the output stream is closed.
    """
    several = len(instances) > 1
    printer = _Printer(several=several)

    def run(instance: EC2Instance) -> Result:
        on_output = partial(printer.take, instance.id)
        result = instance.execute(
            shell_line_or_words(command), stdin, use_sudo=use_sudo, timeout=timeout, on_output=on_output
        )
        printer.finish(instance.id)
        return result

    if not several:
        try:
            return run(instances[0]).return_code
        except _OutputClosedError:
            raise printer.fault or OSError from None
    return _run_in_several(instances, run, printer)


def collect_from(
    instances: Sequence[EC2Instance],
    command: Sequence[str],
    *,
    use_sudo: bool = False,
    timeout: float | None = None,
    stdin: bytes | None = None,
) -> list[dict[str, object]]:
    """Run a command in guests, and return the results in the format of `--json`.

    Args:
        instances: the instances.
        command: the command; see `run_in()` for this and the other arguments.
        use_sudo: whether to run the command as root; default no.
        timeout: seconds; default no limit.
        stdin: the standard input; default empty.
    """
    from pycloudlib.fan_out import fan_out

    def run(instance: EC2Instance) -> Result:
        return instance.execute(shell_line_or_words(command), stdin, use_sudo=use_sudo, timeout=timeout)

    outcome = fan_out(instances, run, at_once=AT_ONCE)
    return [
        _as_json(instance.id, outcome.results.get(instance.id), outcome.errors.get(instance.id))
        for instance in instances
    ]


def shell_line_or_words(command: Sequence[str]) -> str | list[str]:
    """Return a single word as a line for the guest's shell, or several words as a program and its arguments."""
    return command[0] if len(command) == 1 else list(command)


def _run_in_several(instances: Sequence[EC2Instance], run: Callable[[EC2Instance], Result], printer: _Printer) -> int:
    from pycloudlib.fan_out import fan_out

    outcome = fan_out(instances, run, at_once=AT_ONCE)
    if printer.fault is not None:
        raise printer.fault
    for instance_id, result in outcome.results.items():
        click.echo(f"{instance_id}: exit status {result.return_code} after {result.duration:.1f} s", err=True)
    for instance_id, error in outcome.errors.items():
        click.echo(f"pycloudlib: {instance_id}: {error}", err=True)
    failed = bool(outcome.errors) or any(result.failed for result in outcome.results.values())
    return FAILED if failed else 0


def _as_json(instance_id: str, result: Result | None, error: Exception | None) -> dict[str, object]:
    return {
        "id": instance_id,
        "exit_status": result.return_code if result is not None else None,
        "stdout": result.raw_stdout.decode(errors="replace") if result is not None else "",
        "stderr": result.raw_stderr.decode(errors="replace") if result is not None else "",
        "seconds": round(result.duration, 3) if result is not None else None,
        "error": str(error) if error is not None else None,
    }
