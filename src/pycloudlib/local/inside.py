"""Replace a process with a command inside a VPC. As a program: enter a VPC, and become a command."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import NoReturn

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.run_module import module_command


def exec_inside(entrance: Entrance, command: Sequence[str]) -> NoReturn:
    """Replace this process, which may have threads, with a command inside a VPC.

    Args:
        entrance: the entrance to the VPC.
        command: the program and its arguments.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # Only a process with a single thread can enter a user namespace, so a new program does.
    arguments = module_command(__name__, json.dumps(asdict(entrance)), *command)
    os.execv(sys.executable, arguments)  # noqa: S606  (no shell is what is wanted)


def main(argv: Sequence[str]) -> int:
    """Enter a VPC, and become a command.

    Args:
        argv: the entrance as JSON, and the command.

    Returns:
        The exit status if the VPC cannot be entered, or the command cannot be run.
    """
    command = list(argv[1:])
    try:
        Entrance(**json.loads(argv[0])).enter()
        # Python ignores SIGPIPE, and the command would inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606  (no shell is what is wanted)
    except LocalEC2Error as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]!r}: {error.strerror}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
