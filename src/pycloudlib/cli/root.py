"""The `pycloudlib` command: its subcommands, and error messages."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

import click

from pycloudlib import progress
from pycloudlib.cli.cloud import options_among
from pycloudlib.cli.exit_statuses import INTERRUPTED, status_of
from pycloudlib.cli.parsing import SuggestingGroup
from pycloudlib.errors import PycloudlibError
from pycloudlib.interrupts import TERMINATED, Terminated, cleaning_up_once, sweep_command

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    # Python 3.10 cannot subscript it.
    _StreamHandler = logging.StreamHandler

COMMANDS: Mapping[str, str] = {
    "launch": "pycloudlib.cli.launch:launch",
    "ssh": "pycloudlib.cli.ssh:ssh",
    "exec": "pycloudlib.cli.exec:exec_",
    "push": "pycloudlib.cli.push:push",
    "pull": "pycloudlib.cli.pull:pull",
    "console": "pycloudlib.cli.console:console",
    "snapshot": "pycloudlib.cli.snapshot:snapshot",
    "images": "pycloudlib.cli.images:images",
    "list": "pycloudlib.cli.list:list_",
    "delete": "pycloudlib.cli.delete:delete",
    "validate": "pycloudlib.cli.validate:validate",
    "timeline": "pycloudlib.cli.timeline:timeline",
    "sweep": "pycloudlib.cli.sweep:sweep",
    "local": "pycloudlib.cli.local:local",
    "doctor": "pycloudlib.cli.doctor:doctor",
    "completion": "pycloudlib.cli.completion:completion",
}
"""The function of each command, in the order of the help."""

PROGRAM = "pycloudlib"


class LazyGroup(SuggestingGroup):
    """A group that imports its commands on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name; None if it is unknown."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pycloudlib-ec2")
@click.option("-v", "--verbose", is_flag=True, help="Log to standard error.")
@click.pass_context
def root(context: click.Context, verbose: bool) -> None:
    """Launch and drive EC2 instances for tests, on AWS or on a local EC2.

    `pycloudlib doctor` says what is set up and what is missing.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        handlers=[_LogHandler()],
    )
    context.with_resource(progress.shown())
    if not verbose:
        # They log tracebacks of errors that are handled: of each connection attempt to a booting instance, and of
        # credentials that cannot be refreshed.
        for name in ("paramiko", "botocore"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def run() -> int:
    """Run the command of the command line.

    Returns:
        The exit status: see exit_statuses.py; 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with cleaning_up_once(_advice(sys.argv[1:])):
            status = root.main(prog_name=PROGRAM, standalone_mode=False)
    except PycloudlibError as error:
        click.echo(f"{PROGRAM}: {error}", err=True)
        return status_of(error)
    except click.exceptions.Abort as abort:
        # click converts every KeyboardInterrupt to Abort; before 8.2, without a cause.
        if isinstance(abort.__context__, Terminated):
            click.echo(f"{PROGRAM}: terminated", err=True)
            return TERMINATED
        click.echo(f"{PROGRAM}: interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:
        click.echo(f"{PROGRAM}: {error}", err=True)
        return 1
    return int(status or 0)


class _LogHandler(_StreamHandler):
    """Writes to the current standard error, which is not the terminal itself while progress is shown."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Ignore the assignment."""


def _name_among(arguments: Sequence[str]) -> list[str]:
    """Return the option that names a local EC2, with its value."""
    for position, word in enumerate(arguments):
        if word == "--name":
            return [*arguments[position : position + 2]]
        if word.startswith("--name="):
            return [word]
    return []


def _advice(arguments: Sequence[str]) -> str:
    """Return the command that deletes the resources of an aborted command."""
    words = [word for word in arguments if not word.startswith("-")]
    if words[:2] == ["local", "start"]:
        return shlex.join([PROGRAM, "local", "stop", *_name_among(arguments)])
    if words[:1] == ["local"] or "sweep" in arguments:
        # Repeating the command cleans up after this one.
        return shlex.join([PROGRAM, *arguments])
    return shlex.join([*shlex.split(sweep_command()), *options_among(arguments)])
