from __future__ import annotations

from pycloudlib.timeline.summary import Spread, difference, has_spread, runs_by_label, spread_of
from support.boots import boot


def test_the_spread_of_several() -> None:
    assert spread_of([3.0, 1.0, 10.0]) == Spread(1.0, 3.0, 10.0)
    assert spread_of([4.0]) == Spread(4.0, 4.0, 4.0)


def test_boots_are_grouped_by_image_in_the_order_of_their_first() -> None:
    boots = [boot("b", 1), boot("a", 2), boot("b", 3)]
    assert runs_by_label(boots) == {"b": [boots[0], boots[2]], "a": [boots[1]]}
    assert has_spread(boots)
    assert not has_spread(boots[:2])


def test_difference_has_seconds_and_percentage() -> None:
    assert difference(30.0, 24.0) == "+6.0 s (+25 %)"
    assert difference(18.0, 24.0) == "-6.0 s (-25 %)"
    assert difference(2.0, 0.0) == "+2.0 s"
