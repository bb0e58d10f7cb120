"""Batched polling: one DescribeInstances call for all waiting threads."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pycloudlib.deadline import SYSTEM_CLOCK, Clock, Deadline
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.retries import THROTTLING_CODES
from pycloudlib.ec2.instances.description import InstanceDescription, InstanceState
from pycloudlib.errors import CloudError, NoResponseError, PycloudlibError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef

# The reference documents the state under this module.
__all__ = ["InstanceDescription", "InstanceState", "Poller"]

logger = logging.getLogger(__name__)

CHUNK = 200
"""Ids in one call: EC2's limit for the values of one filter."""

CALLS_PER_SECOND = 2.0
"""The maximum rate of calls while waiting. Up to CHUNK instances are polled every half second; a thousand, which need
five calls, every two and a half seconds."""

MANY_IN_ONE_STATE = 50
"""The number of instances last seen in the same state from which a call queries only those that have left it. A record
takes EC2 some milliseconds to write, and this process half a millisecond to parse: 3 s per poll of a thousand."""

WHOLE_RECORD_INTERVAL = 30.0
"""Seconds after which to read the record of an unchanged instance again, since its addresses may have changed."""

MAX_THROTTLED_PAUSE = 8.0
"""Maximum seconds to pause after EC2 throttled a call."""


@dataclass
class _Request:
    """A pending request for the description of one instance, shared by several callers.

    Args:
        max_age: the maximum age of the response in seconds: the lowest among the callers.
    """

    max_age: float
    description: InstanceDescription | None = None
    error: PycloudlibError | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def complete(self, description: InstanceDescription | None) -> None:
        self.description = description
        self.done.set()

    def fail(self, error: PycloudlibError) -> None:
        self.error = error
        self.done.set()


@dataclass(frozen=True)
class _Response:
    """A response about an instance.

    Args:
        moment: when EC2 reported the record, or that the state is unchanged.
        read: when EC2 sent the whole record.
        description: the record; None if EC2 does not find the instance.
    """

    moment: float
    read: float
    description: InstanceDescription | None


@dataclass(frozen=True)
class _Call:
    """One DescribeInstances call.

    Args:
        ids: the instance ids, at most CHUNK.
        state: the state in which all instances were last seen, to query only those that have left it; default all.
        cached: the last response about each instance.
    """

    ids: Sequence[str]
    state: InstanceState | None = None
    cached: Mapping[str, _Response] = field(default_factory=dict)

    @property
    def filters(self) -> list[FilterTypeDef]:
        # A filter, not InstanceIds: a single unknown id would fail the whole call.
        filters: list[FilterTypeDef] = [{"Name": "instance-id", "Values": list(self.ids)}]
        if self.state is not None:
            other_states = [str(state) for state in InstanceState if state is not self.state]
            filters.append({"Name": "instance-state-name", "Values": other_states})
        return filters


@dataclass
class _Throttling:
    """EC2 throttles calls: the pause doubles each time, until the next response."""

    pause: float = 0.0
    moment: float = 0.0
    error: PycloudlibError | None = None

    def begin_or_grow(self, error: PycloudlibError, moment: float) -> None:
        self.pause = min(2 * self.pause or 1.0, MAX_THROTTLED_PAUSE)
        self.moment, self.error = moment, error

    def raise_while_it_lasts(self, now: float) -> None:
        if self.error and now - self.moment < self.pause:
            raise copy(self.error) from self.error.__cause__


class Poller:
    """Describes instances: batches the requests of many threads into one call (DescribeInstances).

    AWS allows an account some 10 to 20 calls per second, for all of its jobs together. So at most one call is in
    flight. Later requests join the next call, which also covers all watched instances. With more instances, or under
    throttling, responses may be older.

    A separate thread makes the calls while there are requests. A caller stops waiting at its deadline, however long the
    call takes.

    Args:
        client: the boto3 EC2 client.
        clock: the clock; default the real time.
    """

    def __init__(self, client: EC2Client, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._next: dict[str, _Request] = {}
        self._server: threading.Thread | None = None
        self._watched: Counter[str] = Counter()
        self._cached: dict[str, _Response] = {}
        self._changed: set[str] = set()
        self._throttling = _Throttling()

    @contextmanager
    def watching(self, instance_id: str) -> Iterator[None]:
        """Include this instance in every call while the context is active."""
        with self._lock:
            self._watched[instance_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._watched[instance_id] -= 1
                if not self._watched[instance_id]:
                    del self._watched[instance_id]
                    self._cached.pop(instance_id, None)

    def count_watched(self) -> int:
        """Return the number of watched instances."""
        with self._lock:
            return len(self._watched)

    def describe(
        self, instance_id: str, *, max_age: float = 0.0, deadline: Deadline | None = None
    ) -> InstanceDescription | None:
        """Return the description of an instance (DescribeInstances).

        Args:
            instance_id: the instance id.
            max_age: the maximum age of a cached response, in seconds; default 0, for a new query. It may be exceeded if
                many instances are watched, or under throttling.
            deadline: when to stop waiting for a response; default never.

        Returns:
            The description; None if EC2 does not find it: never launched, long gone, or just launched.

        Raises:
            PycloudlibError: EC2 rejected the call, or is unreachable. Every caller gets its own copy of the error.
            NoResponseError: EC2 did not respond in time.
        """
        deadline = deadline or Deadline.never()
        with self._lock:
            if recent := self._recent(instance_id, max_age):
                return recent.description
            request = self._next.setdefault(instance_id, _Request(max_age))
            request.max_age = min(max_age, request.max_age)
            is_served = self._ensure_server()
        if not is_served:
            self._serve()
        if not request.done.wait(deadline.timeout):
            raise NoResponseError(
                f"EC2 did not respond within {deadline.seconds:g} s to the request to describe {instance_id}",
                what=f"EC2 to describe {instance_id}",
                seconds=deadline.seconds,
            )
        if request.error:
            raise copy(request.error) from request.error.__cause__
        return request.description

    def forget(self, instance_id: str) -> None:
        """Drop cached responses about an instance after requesting a state change."""
        with self._lock:
            self._cached.pop(instance_id, None)
            self._changed.add(instance_id)

    def _recent(self, instance_id: str, max_age: float) -> _Response | None:
        if max_age <= 0:
            return None
        now = self._clock.now()
        cached = self._cached.get(instance_id)
        if cached is not None and now - cached.moment <= max(max_age, self._pace()):
            return cached
        self._throttling.raise_while_it_lasts(now)
        return None

    def _pace(self) -> float:
        return math.ceil(len(self._watched) / CHUNK) / CALLS_PER_SECOND

    def _ensure_server(self) -> bool:
        """Start the thread that makes the calls, unless it runs. Return False if no thread can be started.

        Check the thread itself rather than a flag. If a signal interrupted the caller between setting the flag and
        starting the thread, every later caller would wait forever.
        """
        if self._server is not None and self._server.is_alive():
            return True
        self._server = threading.Thread(target=self._serve, name="describe-instances", daemon=True)
        try:
            self._server.start()
        except RuntimeError:
            # The thread limit is reached, or the interpreter is shutting down.
            return False
        return True

    def _serve(self) -> None:
        while requests := self._take_requests():
            self._process(requests)

    def _take_requests(self) -> dict[str, _Request]:
        with self._lock:
            if not self._next:
                self._server = None
            requests, self._next = self._next, {}
        return requests

    def _process(self, requests: Mapping[str, _Request]) -> None:
        with self._lock:
            if self._complete_from_cache(requests):
                return
            calls = self._calls(requests)
            self._changed.clear()
        for call in calls:
            # Waiters of this call's instances continue while the next call is made.
            error = self._make(call, requests)
            if error is not None:
                _fail_all(requests, error)
                return

    def _complete_from_cache(self, requests: Mapping[str, _Request]) -> bool:
        """Complete all requests from the cache, or fail them under throttling. Return whether that was possible."""
        try:
            recent = {id_: self._recent(id_, request.max_age) for id_, request in requests.items()}
        except PycloudlibError as error:
            if min(request.max_age for request in requests.values()) <= 0:
                return False
            _fail_all(requests, error)
            return True
        if not all(recent.values()):
            return False
        for id_, response in recent.items():
            requests[id_].complete(response.description if response else None)
        return True

    def _calls(self, requests: Mapping[str, _Request]) -> list[_Call]:
        """Plan the calls for all requested and watched instances, the requested ones first."""
        whole: list[str] = []
        by_state: dict[InstanceState, dict[str, _Response]] = {}
        for id_ in sorted(requests.keys() | self._watched.keys(), key=lambda id_: (id_ not in requests, id_)):
            cached = self._cached.get(id_)
            if cached is None or cached.description is None or self._is_record_due(cached, requests.get(id_)):
                whole.append(id_)
            else:
                by_state.setdefault(cached.description.state, {})[id_] = cached
        calls: list[_Call] = []
        for state, in_state in by_state.items():
            if len(in_state) < MANY_IN_ONE_STATE:
                whole += in_state
            else:
                calls += [_Call(chunk, state, in_state) for chunk in _chunks([*in_state])]
        return [_Call(chunk) for chunk in _chunks(whole)] + calls

    def _is_record_due(self, cached: _Response, request: _Request | None) -> bool:
        needs_new_response = request is not None and request.max_age <= 0
        return needs_new_response or self._clock.now() - cached.read >= WHOLE_RECORD_INTERVAL

    def _make(self, call: _Call, requests: Mapping[str, _Request]) -> PycloudlibError | None:
        """Make a call, and complete the requests for its instances. Return the error, if any."""
        try:
            described = self._describe(call)
        except PycloudlibError as error:
            self._note_error(error)
            return error
        except Exception as error:
            # Otherwise the thread would swallow the error.
            failure = PycloudlibError(f"DescribeInstances failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
            return failure
        for id_, description in self._note(call, described).items():
            if id_ in requests:
                requests[id_].complete(description)
        return None

    def _note_error(self, error: PycloudlibError) -> None:
        if isinstance(error, CloudError) and error.code in THROTTLING_CODES:
            with self._lock:
                self._throttling.begin_or_grow(error, self._clock.now())

    def _note(self, call: _Call, described: Mapping[str, InstanceDescription]) -> dict[str, InstanceDescription | None]:
        """Cache the responses about watched instances, and return all responses."""
        now = self._clock.now()
        descriptions: dict[str, InstanceDescription | None] = {}
        with self._lock:
            self._throttling = _Throttling()
            for id_ in call.ids:
                is_unchanged = id_ in call.cached and id_ not in described
                response = (
                    replace(call.cached[id_], moment=now) if is_unchanged else _Response(now, now, described.get(id_))
                )
                descriptions[id_] = response.description
                # Ignore responses requested before the state change.
                if id_ in self._watched and id_ not in self._changed:
                    self._cached[id_] = response
        return descriptions

    def _describe(self, call: _Call) -> dict[str, InstanceDescription]:
        logger.debug("describing %d instances", len(call.ids))
        paginator = self._client.get_paginator("describe_instances")
        with translated():
            pages = list(paginator.paginate(Filters=call.filters))
        records = (
            record for page in pages for reservation in page["Reservations"] for record in reservation["Instances"]
        )
        return {description.instance_id: description for description in map(InstanceDescription.of, records)}


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def _fail_all(requests: Mapping[str, _Request], error: PycloudlibError) -> None:
    for request in requests.values():
        if not request.done.is_set():
            request.fail(error)
