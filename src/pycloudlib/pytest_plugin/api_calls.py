"""The EC2 API calls of this process, for the report of a failed test."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.tags import utc_now

KEPT_CALLS = 10_000
"""The maximum number of recorded calls."""

SECRETS = frozenset({"UserData"})
"""The parameters that may contain secrets."""

_IDS = re.compile(r"\bi-[0-9a-f]{8,17}\b")


@dataclass(frozen=True)
class ApiCall:
    """An API call and its outcome.

    Args:
        line: the time, the operation, the outcome, and the duration.
        instances: the instance ids in the parameters, or in the response of a call that changes something.
    """

    line: str
    instances: frozenset[str]


class ApiCalls:
    """The latest calls of one client. Thread-safe.

    Args:
        client: a boto3 EC2 client.
    """

    def __init__(self, client: Any) -> None:
        self._calls: deque[ApiCall] = deque(maxlen=KEPT_CALLS)
        self._parameters = threading.local()
        events = client.meta.events
        events.register("before-parameter-build.ec2", self._begin)
        events.register("after-call.ec2", self._end)
        events.register("after-call-error.ec2", self._fail)

    def of(self, instance_id: str) -> list[str]:
        """Return the calls with an instance id, one line each, oldest first.

        Args:
            instance_id: the instance id, such as "i-0123456789abcdef0".
        """
        return [call.line for call in list(self._calls) if instance_id in call.instances]

    def _begin(self, params: Mapping[str, Any], **_: object) -> None:
        self._parameters.shown = json.dumps(_without_secrets(params), default=str)
        self._parameters.began = time.monotonic()

    def _end(self, model: Any, parsed: Mapping[str, Any], http_response: Any, **_: object) -> None:
        error = parsed.get("Error", {})
        outcome = f"{error.get('Code')}: {error.get('Message')}" if error else str(http_response.status_code)
        response = "" if model.name.startswith("Describe") or error else str(parsed)
        self._add(model.name, outcome, response, request_id=parsed.get("ResponseMetadata", {}).get("RequestId", ""))

    def _fail(self, event_name: str, exception: BaseException, **_: object) -> None:
        self._add(event_name.rpartition(".")[2], f"no response: {exception}", "")

    def _add(self, operation: str, outcome: str, response: str, request_id: str = "") -> None:
        shown = getattr(self._parameters, "shown", "{}")
        seconds = time.monotonic() - getattr(self._parameters, "began", time.monotonic())
        ids = frozenset(_IDS.findall(shown + response))
        returned = "" if not response else f" {' '.join(sorted(frozenset(_IDS.findall(response))))}"
        line = f"{utc_now().isoformat(timespec='milliseconds')} {operation} {shown} -> {outcome}{returned}"
        self._calls.append(ApiCall(f"{line.rstrip()} ({seconds:.3f} s, request {request_id or 'unknown'})", ids))


def _without_secrets(parameters: Any) -> Any:
    if isinstance(parameters, Mapping):
        return {key: "(not shown)" if key in SECRETS else _without_secrets(value) for key, value in parameters.items()}
    if isinstance(parameters, (list, tuple)):
        return [_without_secrets(value) for value in parameters]
    return parameters
