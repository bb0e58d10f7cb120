from __future__ import annotations

import pytest

from pycloudlib.created import CreatedResources, check_is_text
from pycloudlib.errors import InvalidArgumentError


@pytest.fixture
def recorded() -> dict[str, None]:
    return dict.fromkeys(["a", "b", "c"])


@pytest.fixture
def created(recorded: dict[str, None]) -> CreatedResources[str]:
    return CreatedResources(lambda: list(recorded), lambda name: recorded.update({name: None}), recorded.pop)


def test_created_resources_read_like_a_list(created: CreatedResources[str]) -> None:
    assert created == ["a", "b", "c"]
    assert created != ["a"]
    assert created == created.copy() == created[:]
    assert (created[0], created[-1], created[1:], len(created)) == ("a", "c", ["b", "c"], 3)
    assert "b" in created
    assert created.index("b") == 1
    more = ["d"]
    assert (created + more, more + created) == (["a", "b", "c", "d"], ["d", "a", "b", "c"])
    assert repr(created) == "['a', 'b', 'c']"
    assert created


def test_created_resources_are_a_live_view(created: CreatedResources[str], recorded: dict[str, None]) -> None:
    recorded.clear()
    assert created == []
    assert not created


def test_remove_pop_del_and_clear_forget(created: CreatedResources[str], recorded: dict[str, None]) -> None:
    created.remove("b")
    assert list(recorded) == ["a", "c"]
    assert created.pop() == "c"
    del created[0]
    assert list(recorded) == []
    created.extend(["a", "b", "c"])
    del created[1:]
    assert list(recorded) == ["a"]
    created.clear()
    assert list(recorded) == []


def test_remove_of_what_is_not_there_raises_as_in_a_list(created: CreatedResources[str]) -> None:
    with pytest.raises(ValueError, match=r"'d' is not in \['a', 'b', 'c'\]"):
        created.remove("d")


def test_append_extend_and_insert_record(created: CreatedResources[str], recorded: dict[str, None]) -> None:
    created.append("d")
    created.insert(0, "e")
    created += ["f"]
    assert list(recorded) == ["a", "b", "c", "d", "e", "f"]


def test_items_and_slices_can_be_replaced(created: CreatedResources[str], recorded: dict[str, None]) -> None:
    created[0] = "d"
    assert sorted(recorded) == ["b", "c", "d"]
    created[:] = ["b"]
    assert list(recorded) == ["b"]


def test_iteration_survives_removal(created: CreatedResources[str]) -> None:
    for name in created:
        created.remove(name)
    assert created == []


@pytest.mark.parametrize("value", ["", None, 7])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="is not an image id; it must be a string"):
        check_is_text("an image id", value)
