"""The command line: one file per command."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def main() -> None:
    """Run the `pycloudlib` command."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.stderr.write("pycloudlib: interrupted\n")
        sys.exit(INTERRUPTED)


def _run() -> int:
    try:
        from pycloudlib.cli.root import run
    except ImportError as error:
        sys.exit(f"pycloudlib: the command line needs {error.name}: pip install 'pycloudlib-ec2[cli]'")
    return run()
