"""The command-line interface: one file per command."""

from __future__ import annotations

import os
import sys

from pycloudlib.cli.exit_statuses import INTERRUPTED
from pycloudlib.installation import install_extras


def main() -> None:
    """Run the `pycloudlib` command."""
    _open_missing_streams()
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.stderr.write("pycloudlib: interrupted\n")
        sys.exit(INTERRUPTED)


def _open_missing_streams() -> None:
    """Replace standard streams that a service manager or `2>&-` closed.

    Otherwise they are None, and the first opened files get their descriptors.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123  (for as long as the process lives)


def _run() -> int:
    try:
        from pycloudlib.cli.root import run
    except ImportError as error:
        sys.exit(f"pycloudlib: the command line needs {error.name}: {install_extras('cli')}")
    return run()
