"""The command line: `python -m pycloudlib`. It needs the extra `cli`."""

from pycloudlib.cli import main

main()
