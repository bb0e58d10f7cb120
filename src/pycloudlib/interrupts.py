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
        is_needed: returns whether there is anything to clean up; if not, call the previous signal handlers. Default:
            always True.
        stderr: the file descriptor for the advice; default standard error.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    on_signal = _Handler(advice or sweep_command(), previous, is_needed, stderr)
    handled = [number for number in SIGNALS if previous[number] not in (signal.SIG_IGN, None)]
    for number in handled:
        signal.signal(number, on_signal)
    try:
        yield
    except Terminated:
        raise SystemExit(TERMINATED) from None
    finally:
        for number in handled:
            signal.signal(number, previous[number])


class _Handler:
    def __init__(
        self, advice: str, previous: Mapping[signal.Signals, Any], is_needed: Callable[[], bool], stderr: int
    ) -> None:
        self._advice = advice
        self._previous = previous
        self._is_needed = is_needed
        self._stderr = stderr
        self._is_interrupted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True  # let pytest show the interrupted frame
        if self._is_interrupted:
            # Exit without Python's own cleanup, which might take as long as the aborted one.
            os.write(
                self._stderr,
                f"\npycloudlib: aborted; this command deletes the remaining resources: {self._advice}\n".encode(),
            )
            os._exit(128 + number)
        if not self._is_needed():
            self._call_previous(number, frame)
            return
        self._is_interrupted = True
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def _call_previous(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)
            return
        signal.signal(number, previous)
        signal.raise_signal(number)
