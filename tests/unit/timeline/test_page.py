from __future__ import annotations

from html.parser import HTMLParser

from pycloudlib.timeline.page import page
from support.boots import boot


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.foreign: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.foreign += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_page_has_pictures_and_the_tables_behind_them() -> None:
    text = page([boot("before", 1), boot("after", 2, 1.5)])
    found = Page(text)
    assert found.tags.count("svg") == 1 + 2
    assert found.tags.count("table") == 1 + 2
    assert "+12.0 s (+50 %)" in text
    assert "Over several boots" not in text


def test_several_boots_of_an_image_are_shown_with_their_spread() -> None:
    text = page([boot("before", 1), boot("before", 2, 1.5)])
    assert "Over several boots" in text
    assert Page(text).tags.count("svg") == 1 + 1 + 2


def test_it_stands_alone() -> None:
    found = Page(page([boot()]))
    assert found.foreign == []
    assert "script" not in found.tags
    assert "link" not in found.tags


def test_guest_output_is_escaped() -> None:
    found = Page(page([boot("<script>alert(1)</script>")]))
    assert "script" not in found.tags
