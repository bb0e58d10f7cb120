from __future__ import annotations

import pytest

from pycloudlib.local.api.idempotency import CachedResponse, ResponseCache


def cached_response(size: int) -> CachedResponse:
    return CachedResponse({"UserData": "x" * (size // 2)}, (200, {}, "x" * (size - size // 2)))


def test_get_returns_the_response_of_an_action_and_token() -> None:
    cache = ResponseCache()
    response = cached_response(10)
    cache.add("RunInstances", "token", response)
    assert cache.get("RunInstances", "token") is response
    assert (cache.get("CreateVolume", "token"), cache.get("RunInstances", "other")) == (None, None)


@pytest.mark.parametrize(("size", "remaining"), [(100, 10), (333, 3), (5000, 1)])
def test_cache_evicts_the_oldest_responses_beyond_its_size(size: int, remaining: int) -> None:
    cache = ResponseCache(max_bytes=1000)
    for number in range(50):
        cache.add("RunInstances", str(number), cached_response(size))
    cached = [number for number in range(50) if cache.get("RunInstances", str(number)) is not None]
    assert cached == [*range(50 - remaining, 50)]
