"""Replace this process with another program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn


def exec_replace(words: Sequence[str]) -> NoReturn:
    """Replace this process with another program, which inherits the terminal and determines the exit status.

    Args:
        words: the program and its arguments.

    Raises:
        OSError: the program cannot be run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores SIGPIPE, and the other program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(words[0], list(words))  # noqa: S606  (without a shell)
