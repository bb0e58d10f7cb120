"""The examples below each command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Return the epilog of a command's help.

    Args:
        lines: the example command lines.
    """
    # The backspace tells click to keep the line breaks of this paragraph.
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])
