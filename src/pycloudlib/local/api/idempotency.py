"""Cached responses to requests with a client token, for repeated requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError

MAX_BYTES = 16 * 1024 * 1024
"""The cache size in bytes per account and region; a RunInstances request takes about 6,000."""

Response = tuple[int, dict[str, Any], Any]


@dataclass(frozen=True)
class CachedResponse:
    """A successful request and its response."""

    parameters: Mapping[str, Any]
    response: Response

    @property
    def size(self) -> int:
        """The approximate size in bytes."""
        return len(self.response[2]) + sum(len(str(value)) for value in self.parameters.values())


class ResponseCache:
    """The latest responses by action and client token; the oldest are evicted first.

    Args:
        max_bytes: the approximate size limit in bytes; default MAX_BYTES. The newest response is never evicted.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._responses: dict[tuple[str, str], CachedResponse] = {}
        self._bytes = 0

    def get(self, action: str, token: str) -> CachedResponse | None:
        """Return the response to an earlier request; None if there is none, or it was evicted."""
        return self._responses.get((action, token))

    def add(self, action: str, token: str, response: CachedResponse) -> None:
        """Add a response, and evict the oldest ones beyond the size limit."""
        self._responses[action, token] = response
        self._bytes += response.size
        while self._bytes > self._max_bytes and len(self._responses) > 1:
            oldest = next(iter(self._responses))
            self._bytes -= self._responses.pop(oldest).size


class IdempotencyRecords(LocalRecords):
    """The cached responses of one account in one region, by action and client token.

    https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
    """

    def __init__(self, region_name: str, account_id: str) -> None:
        self._responses = ResponseCache()
        super().__init__(region_name, account_id)

    def cached_response(self, action: str, token: str, parameters: Mapping[str, Any]) -> Response | None:
        """Return the response to an earlier identical request; None for a new request.

        Raises:
            EC2ClientError: an earlier request with the token had other parameters (IdempotentParameterMismatch).
        """
        cached = self._responses.get(action, token)
        if cached is None:
            return None
        if cached.parameters != parameters:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        status, headers, body = cached.response
        return status, dict(headers), body

    def remember(self, action: str, token: str, parameters: Mapping[str, Any], response: Response) -> None:
        """Cache a response. Eviction is safe, since clients repeat requests within seconds."""
        self._responses.add(action, token, CachedResponse(dict(parameters), response))
