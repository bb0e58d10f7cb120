"""Run a module of this package in a new interpreter. As a program: run the module that the first argument names.

`python -m` searches the working directory before the standard library, so a file such as json.py in a project would
replace a module of the child process.
"""

from __future__ import annotations

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module as a program, whatever the working directory contains.

    Args:
        module: the full name of a module of this package.
        *arguments: the arguments of the program.
    """
    return [sys.executable, __file__, module, *arguments]


def main() -> None:
    """Run the module that the first argument names as `__main__`, with the remaining arguments."""
    # The directory of this file, which Python adds unless PYTHONSAFEPATH is set.
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]

    # Not before sys.path is correct.
    import runpy  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    # The parent may have found the package in its own sys.path.
    sys.path.append(str(Path(__file__).parents[2]))
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
