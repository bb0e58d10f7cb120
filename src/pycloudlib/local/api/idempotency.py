"""The responses to requests with a client token, so that a repeated request gets the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of requests and responses that are kept for one account in one region; RunInstances takes some 6,000."""

Response = tuple[int, dict[str, Any], Any]


@dataclass(frozen=True)
class Answer:
    """A request that succeeded, and its response."""

    parameters: Mapping[str, Any]
    response: Response

    @property
    def size(self) -> int:
        """Bytes that are kept of it, about."""
        return len(self.response[2]) + sum(len(str(value)) for value in self.parameters.values())


class ResponseCache:
    """The newest answers, by action and client token; the oldest ones go when they take too much memory.

    Args:
        max_bytes: the most that they take together, about; the newest one is kept in any case. Default MAX_BYTES.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._answers: dict[tuple[str, str], Answer] = {}
        self._bytes = 0

    def get(self, action: str, token: str) -> Answer | None:
        """Return the answer to an earlier request; None when there was none, or it is forgotten."""
        return self._answers.get((action, token))

    def add(self, action: str, token: str, answer: Answer) -> None:
        """Keep an answer."""
        self._answers[action, token] = answer
        self._bytes += answer.size
        while self._bytes > self._max_bytes and len(self._answers) > 1:
            oldest = next(iter(self._answers))
            self._bytes -= self._answers.pop(oldest).size


class IdempotencyRecords(LocalRecords):
    """The answers of one account in one region, by action and client token.

    https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
    """

    def __init__(self, region_name: str, account_id: str) -> None:
        self._answers = ResponseCache()
        super().__init__(region_name, account_id)

    def answered(self, action: str, token: str, parameters: Mapping[str, Any]) -> Response | None:
        """Find the answer to the same request; None when it is new.

        Raises:
            EC2ClientError: IdempotentParameterMismatch: the token came with other parameters before.
        """
        known = self._answers.get(action, token)
        if known is None:
            return None
        if known.parameters != parameters:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        status, headers, body = known.response
        return status, dict(headers), body

    def remember(self, action: str, token: str, parameters: Mapping[str, Any], response: Response) -> None:
        """Keep an answer; old ones are forgotten, since a request is repeated within seconds."""
        self._answers.add(action, token, Answer(dict(parameters), response))
