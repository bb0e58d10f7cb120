from __future__ import annotations

import pytest

from pycloudlib.local.api.idempotency import Answer, ResponseCache


def answer(size: int) -> Answer:
    return Answer({"UserData": "x" * (size // 2)}, (200, {}, "x" * (size - size // 2)))


def test_an_answer_is_found_by_action_and_token() -> None:
    kept = ResponseCache()
    one = answer(10)
    kept.add("RunInstances", "token", one)
    assert kept.get("RunInstances", "token") is one
    assert (kept.get("CreateVolume", "token"), kept.get("RunInstances", "other")) == (None, None)


@pytest.mark.parametrize(("size", "remaining"), [(100, 10), (333, 3), (5000, 1)])
def test_the_oldest_answers_go_when_they_take_too_much_memory(size: int, remaining: int) -> None:
    kept = ResponseCache(max_bytes=1000)
    for number in range(50):
        kept.add("RunInstances", str(number), answer(size))
    found = [number for number in range(50) if kept.get("RunInstances", str(number)) is not None]
    assert found == [*range(50 - remaining, 50)]
