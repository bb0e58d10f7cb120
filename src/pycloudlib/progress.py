"""Progress of long operations: a log record for each stage that an instance or an image reaches.

The logger is "pycloudlib.progress" and the level INFO, so the records are hidden by default. In a program without a
terminal, such as a CI job, `show()` prints them.
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
"""The number of concurrently booting instances beyond which only the last stage of each is reported."""

logger = logging.getLogger(NAME)


def report(resource_id: str, stage: str, seconds: float, *, level: int = logging.INFO) -> None:
    """Log that a resource reached a stage.

    Args:
        resource_id: the resource id, such as "i-0123456789abcdef0".
        stage: the stage, as in "is running".
        seconds: the seconds since the request.
        level: the log level; default INFO.
    """
    logger.log(level, "%s %s after %.1f s", resource_id, stage, seconds)


def show() -> None:
    """Print progress to standard error from now on, one line per stage. No-op if it is a terminal."""
    if not _is_terminal_or_closed() and not any(isinstance(handler, _Lines) for handler in logger.handlers):
        _add(_Lines(sys.stderr))


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Print progress to standard error while the context is active. See `show()`.

    The lines go to the current standard error, even if it is redirected later, as pytest does.
    """
    if _is_terminal_or_closed() or logger.isEnabledFor(logging.INFO):
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


def _is_terminal_or_closed() -> bool:
    # A program that was started with standard error closed has none.
    return sys.stderr is None or sys.stderr.isatty()


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    # Python 3.10 cannot subscript it.
    _StreamHandler = logging.StreamHandler


class _Lines(_StreamHandler):
    """Prints only the messages."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Ignore a closed stream: the operation matters more than its progress."""


def _add(lines: _Lines) -> None:
    lines.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    # Print only once, whatever other handlers the program has.
    logger.propagate = False
