"""The command line: one file per command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the `pycloudlib` command."""
    try:
        from pycloudlib.cli.root import run
    except ImportError as error:
        sys.exit(f"pycloudlib: the command line needs {error.name}: pip install 'pycloudlib-ec2[cli]'")
    sys.exit(run())
