from __future__ import annotations

import click
import pytest

from pycloudlib.cli.durations import as_age, as_seconds

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


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("90s", 90), ("0", 0), (None, None)])
def test_age_with_a_unit_is_parsed(text: str | None, seconds: float | None) -> None:
    assert as_age(CONTEXT, OPTION, text) == seconds


def test_age_without_a_unit_is_rejected() -> None:
    with pytest.raises(click.BadParameter, match="'5' has no unit: write 5m, 5h, or 5s"):
        as_age(CONTEXT, OPTION, "5")
