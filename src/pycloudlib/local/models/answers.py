"""What was answered to requests with a client token, so that whoever asks again gets the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import EC2ClientError

from pycloudlib.local.models.base import LocalRecords

Response = tuple[int, dict[str, Any], Any]


@dataclass(frozen=True)
class Answer:
    """A request that succeeded, and its response."""

    parameters: Mapping[str, Any]
    response: Response


class AnswerRecords(LocalRecords):
    """The answers of one account in one region, by action and client token.

    https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
    """

    def __init__(self, region_name: str, account_id: str) -> None:
        self._answers: dict[tuple[str, str], Answer] = {}
        super().__init__(region_name, account_id)

    def answered(self, action: str, token: str, parameters: Mapping[str, Any]) -> Response | None:
        """Find the answer to the same request; None when it is new.

        Raises:
            EC2ClientError: IdempotentParameterMismatch: the token came with other parameters before.
        """
        known = self._answers.get((action, token))
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
        """Keep an answer."""
        self._answers[action, token] = Answer(dict(parameters), response)
