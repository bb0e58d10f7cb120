"""Ctrl-C and SIGTERM: the first signal cleans up and exits; the second exits immediately with cleanup instructions."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pycloudlib.tags import Ownership

SIGNALS = (signal.SIGINT, signal.SIGTERM)

TERMINATED = 128 + signal.SIGTERM
"""The exit status after SIGTERM."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. It is handled like Ctrl-C."""


def sweep_command(run: str = "") -> str:
    """Return the command that deletes the resources of a run.

    Args:
        run: the run id, or a prefix of it; default this process's run.
    """
    return f"pycloudlib sweep --owner any --run {run or Ownership.of_this_process().run} --yes"


@contextmanager
def cleaning_up_once(
    advice: str = "", *, is_needed: Callable[[], bool] = lambda: True, stderr: int = 2
) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM unwind the stack, so that every `with` block inside cleans up.

    The first signal raises KeyboardInterrupt, or its subclass Terminated, which becomes SystemExit with status 143. The
    second signal, also during the cleanup, exits immediately and prints how to delete the rest. Ignored signals remain
    ignored. Outside the main thread this is a no-op, since only the main thread receives signals.

    Args:
        advice: the printed command; default `sweep_command()`.
        is_needed: returns whether there is anything to clean up; if not, the previous signal handlers apply. Default:
            there always is.
        stderr: the file descriptor for the advice; default standard error.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    on_signal = _Handler(advice or sweep_command(), before, is_needed, stderr)
    heeded = [number for number in SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    for number in heeded:
        signal.signal(number, on_signal)
    try:
        yield
    except Terminated:
        raise SystemExit(TERMINATED) from None
    finally:
        for number in heeded:
            signal.signal(number, before[number])


class _Handler:
    def __init__(
        self, advice: str, before: Mapping[signal.Signals, Any], is_needed: Callable[[], bool], stderr: int
    ) -> None:
        self._advice = advice
        self._before = before
        self._is_needed = is_needed
        self._stderr = stderr
        self._came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True  # pytest shows what was interrupted, not this
        if self._came:
            # Exit without Python's own cleanup, which might take as long as the aborted one.
            os.write(
                self._stderr,
                f"\npycloudlib: aborted; this command deletes the remaining resources: {self._advice}\n".encode(),
            )
            os._exit(128 + number)
        if not self._is_needed():
            self._do_as_before(number, frame)
            return
        self._came = True
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def _do_as_before(self, number: int, frame: FrameType | None) -> None:
        before = self._before[signal.Signals(number)]
        if callable(before):
            before(number, frame)
            return
        signal.signal(number, before)
        signal.raise_signal(number)
