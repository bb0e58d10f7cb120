"""Pictures are well-formed, tell in words what they show, and show it to scale."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from pycloudlib.timeline.drawing import MOST_UNITS, detail, overview, shown_spans, spread
from pycloudlib.timeline.model import STAGES, Span
from support.boots import boot

SVG = "{http://www.w3.org/2000/svg}"


def picture(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def bars(root: ElementTree.Element) -> list[float]:
    """The widths of the parts of bars."""
    return [float(one.get("width", 0)) for one in root.iter(f"{SVG}rect") if one.get("class") == "edge"]


def test_each_boot_is_a_bar_of_its_stages_to_scale() -> None:
    root = picture(overview([boot("before", 1), boot("after", 2, 1.5)]))
    widths = bars(root)
    assert len(widths) == 2 * len(STAGES)
    first, second = sum(widths[: len(STAGES)]), sum(widths[len(STAGES) :])
    assert second / first == pytest.approx(1.5, rel=0.01)


def test_slower_image_is_labeled_with_text_and_color() -> None:
    said = texts(picture(overview([boot("before", 1), boot("after", 2, 1.5), boot("better", 3, 0.75)])))
    assert "24.0 s" in said
    assert "36.0 s" in said
    assert "+12.0 s (+50 %)" in said
    assert "-6.0 s (-25 %)" in said
    for meaning in STAGES.values():
        assert meaning in said


def test_description_matches_the_picture() -> None:
    description = picture(overview([boot("before", 1)])).findtext(f"{SVG}desc")
    assert description == "before, i-00000000000000001: 24.0 s"


def test_spread_has_a_dot_per_boot_and_the_median() -> None:
    boots = [boot("before", 1), boot("before", 2, 1.5), boot("before", 3, 1.25), boot("after", 4, 2)]
    root = picture(spread(boots))
    assert len(list(root.iter(f"{SVG}circle"))) == len(boots)
    assert "3 boots" in texts(root)
    assert root.findtext(f"{SVG}desc") == "before: median 30.0 s, 24.0 to 36.0 s; after: median 48.0 s, 48.0 to 48.0 s"
    assert "+18.0 s (+60 %)" in texts(root)


def test_the_detail_shows_stages_and_the_slowest_units() -> None:
    units = tuple(
        Span(f"unit-{number}.service", "unit", float(number), 1.0 + number) for number in range(MOST_UNITS + 5)
    )
    record = replace(boot(), spans=(*boot().spans, *units))
    shown = shown_spans(record)
    assert sum(span.kind == "cloud-init" for span in shown) == 2
    assert sum(span.kind == "unit" for span in shown) == MOST_UNITS
    assert "unit-0.service" not in {span.name for span in shown}
    assert shown == sorted(shown, key=lambda span: span.start)
    said = texts(picture(detail(record)))
    assert "unit-18.service" in said
    assert "ready" in said


@pytest.mark.parametrize("draw", [lambda one: overview([one]), lambda one: spread([one]), detail])
def test_a_name_is_never_markup(draw: object) -> None:
    hostile = replace(boot("<script>alert(1)</script>&"), instance_id='i-"<b>', spans=(Span("<i>", "unit", 1, 2),))
    root = picture(draw(hostile))  # type: ignore[operator]
    assert not list(root.iter(f"{SVG}script"))


@pytest.mark.parametrize("draw", [lambda one: overview([one]), lambda one: spread([one]), detail])
def test_a_boot_of_which_little_is_known_is_drawn_too(draw: object) -> None:
    picture(draw(replace(boot(), reached={"kernel": 0.0}, spans=())))  # type: ignore[operator]
    picture(draw(replace(boot(), reached={}, spans=())))  # type: ignore[operator]


def test_every_colour_is_there_in_light_and_dark() -> None:
    text = overview([boot()])
    used = set(re.findall(r"var\(--(\w+)\)", text))
    light, dark = text.split("prefers-color-scheme: dark", 1)
    for name in used:
        assert f"--{name}:" in light
        assert f"--{name}:" in dark


def test_it_stands_alone() -> None:
    for text in (overview([boot()]), spread([boot()]), detail(boot())):
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "<script" not in text
