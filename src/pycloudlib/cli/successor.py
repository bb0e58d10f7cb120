"""Another program that goes on in the place of this one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn


def become(words: Sequence[str]) -> NoReturn:
    """Let another program go on in the place of this one, with its terminal and its exit status.

    Args:
        words: the program and its arguments.

    Raises:
        OSError: it cannot be run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores it, and what is ignored stays so in the other program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(words[0], list(words))  # noqa: S606  (no shell is what is wanted)
