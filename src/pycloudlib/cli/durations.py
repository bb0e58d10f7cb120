"""Durations on the command line."""

from __future__ import annotations

import re

import click

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds per unit."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")


def as_seconds(_: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Parse the value of an option: a number with a unit, such as 90s, 30m, 2h, 3d, or 1w; the default unit is seconds.

    Args:
        parameter: the option.
        text: the value; None if the option is absent.

    Raises:
        click.BadParameter: the value is not a duration.
    """
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(
            f"invalid duration {text!r}: give one such as 90s, 30m, 2h, 3d, or 1w", param=parameter
        )
    return float(match[1]) * UNITS[match[2] or "s"]


def as_age(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Parse the value of an option, as `as_seconds()` does, but require a unit: "2" hardly means 2 seconds.

    Args:
        context: the context of the command.
        parameter: the option.
        text: the value; None if the option is absent.

    Raises:
        click.BadParameter: the value is not a duration, or has no unit.
    """
    seconds = as_seconds(context, parameter, text)
    if text is not None and seconds and text.strip()[-1].isdigit():
        number = text.strip()
        raise click.BadParameter(f"{number!r} has no unit: write {number}m, {number}h, or {number}s", param=parameter)
    return seconds
