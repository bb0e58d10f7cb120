"""Ctrl-C and SIGTERM: the first one cleans up and ends, the second one ends at once and says how to clean up."""

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
"""The exit status of what SIGTERM ended."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Whatever heeds Ctrl-C heeds it in the same way."""


def sweep_command(run: str = "") -> str:
    """The command that deletes what a run created.

    Args:
        run: its id, or how that begins; default that of this process.
    """
    return f"pycloudlib sweep --owner any --run {run or Ownership.of_this_process().run} --yes"


@contextmanager
def cleaning_up_once(
    advice: str = "", *, is_needed: Callable[[], bool] = lambda: True, stderr: int = 2
) -> Iterator[None]:
    """Let SIGINT and SIGTERM unwind the stack, so that every `with` block inside cleans up; but only once.

    The first signal raises KeyboardInterrupt, or its kind Terminated, which comes out as SystemExit with status 143.
    The second one, also while things are being deleted, ends the process at once and prints how to delete what is left.
    A signal that is ignored stays so. Outside the main thread it does nothing, since signals come to that one.

    Args:
        advice: the command that is printed; default sweep_command().
        is_needed: tells whether there is anything to clean up; while there is not, signals do what they did before.
            Default: there always is.
        stderr: the file descriptor that the advice is printed to; default standard error.
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
            # Whatever Python would do before its end might take as long as what is given up here.
            os.write(self._stderr, f"\npycloudlib: gave up; what is left is deleted by: {self._advice}\n".encode())
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
