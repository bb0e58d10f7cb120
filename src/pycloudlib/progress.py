"""Progress of what takes long: a log record for each stage that an instance or an image reaches.

The records go to the logger "pycloudlib.progress", at level INFO, and nobody sees them unless asked for. In a program
that runs without a terminal, such as a CI job, show() prints them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

NAME = "pycloudlib.progress"

MANY = 10
"""Of more instances that boot at the same time, only the last stage of each is reported."""

logger = logging.getLogger(NAME)


def report(resource_id: str, stage: str, seconds: float, *, level: int = logging.INFO) -> None:
    """Report that a resource reached a stage.

    Args:
        resource_id: such as "i-0123456789abcdef0".
        stage: in words, as in "is running".
        seconds: since it was requested.
        level: of the record; default INFO.
    """
    logger.log(level, "%s %s after %.1f s", resource_id, stage, seconds)


def show() -> None:
    """Print progress to standard error from now on, a line for each stage; no-op where that is a terminal."""
    if not _is_seen_anyway() and not any(isinstance(handler, _Lines) for handler in logger.handlers):
        _add(_Lines(sys.stderr))


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Print progress to standard error for as long as the context lasts, as show() does.

    The lines go to what is standard error now, even when it is redirected meanwhile, as pytest does.
    """
    if _is_seen_anyway() or logger.isEnabledFor(logging.INFO):
        yield
        return
    with contextlib.ExitStack() as undo:
        try:
            stream: TextIO = undo.enter_context(os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8"))
        except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
            stream = sys.stderr
        lines = _Lines(stream)
        undo.callback(setattr, logger, "propagate", logger.propagate)
        undo.callback(logger.setLevel, logger.level)
        undo.callback(logger.removeHandler, lines)
        _add(lines)
        yield


def _is_seen_anyway() -> bool:
    # A program that was started with standard error closed has none.
    return sys.stderr is None or sys.stderr.isatty()


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    # Python 3.10 cannot subscript it.
    _StreamHandler = logging.StreamHandler


class _Lines(_StreamHandler):
    """Prints the messages alone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Ignore that nobody reads: what is done matters more than its progress."""


def _add(lines: _Lines) -> None:
    lines.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    # Once is enough, whatever handlers the program has besides.
    logger.propagate = False
