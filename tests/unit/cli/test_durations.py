from __future__ import annotations

import click
import pytest

from pycloudlib.cli.durations import as_seconds

OPTION = click.Option(["--older-than"])
CONTEXT = click.Context(click.Command("test"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), ("3d", 259200), ("1w", 604800), ("0", 0)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert as_seconds(CONTEXT, OPTION, text) == seconds


def test_no_duration_stays_none() -> None:
    assert as_seconds(CONTEXT, OPTION, None) is None


@pytest.mark.parametrize("text", ["", "h", "2 h", "-1h", "2H", "1y", "two", "1e3", "inf"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="30m, 2h, 3d"):
        as_seconds(CONTEXT, OPTION, text)
