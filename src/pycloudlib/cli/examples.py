"""The examples below the help of each command."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Make the end of a command's help.

    Args:
        lines: a command line each.
    """
    # click takes the backspace for: leave this paragraph as it is.
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])
