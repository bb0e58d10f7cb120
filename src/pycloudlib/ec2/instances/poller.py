"""One DescribeInstances for everybody who waits."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.retries import THROTTLING_CODES
from pycloudlib.errors import CloudError, PycloudlibError
from pycloudlib.waiting import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

CHUNK = 200
"""Ids in one call: what EC2 allows as values of one filter."""

CALLS_PER_SECOND = 2.0
"""Calls that waiting makes at most. Up to CHUNK instances that is a look every half second, and for a thousand, which
take five calls, one every two and a half."""

MAX_THROTTLED_PAUSE = 8.0
"""Seconds without a call, at most, after EC2 refused one for being one too many."""


class InstanceState(Enum):
    """The states of an instance, as EC2 names them."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"

    @property
    def is_ending(self) -> bool:
        """Whether the instance is being terminated, or is already: nothing leads out of here."""
        return self in (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class InstanceDescription:
    """What EC2 said about an instance, at one moment.

    Args:
        instance_id: such as "i-0123456789abcdef0".
        state: its state.
        state_reason: why it is in that state, in EC2's words; empty when EC2 says nothing.
        image_id: the AMI that it was launched from.
        instance_type: such as "t3.micro".
        public_ip: its public IPv4 address; None without one.
        private_ip: its private IPv4 address; None without one.
        public_dns_name: empty without one.
        private_dns_name: empty without one.
        availability_zone: such as "eu-central-1a".
        tags: its tags.
        launched: when it was launched; None when EC2 does not say.
    """

    instance_id: str
    state: InstanceState
    state_reason: str = ""
    image_id: str = ""
    instance_type: str = ""
    public_ip: str | None = None
    private_ip: str | None = None
    public_dns_name: str = ""
    private_dns_name: str = ""
    availability_zone: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    launched: datetime | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> InstanceDescription:
        """Read one instance of an answer of RunInstances or DescribeInstances."""
        reason = record.get("StateReason", {}).get("Message", "") or record.get("StateTransitionReason", "")
        return cls(
            instance_id=record["InstanceId"],
            state=InstanceState(record["State"]["Name"]),
            state_reason=reason,
            image_id=record.get("ImageId", ""),
            instance_type=record.get("InstanceType", ""),
            public_ip=record.get("PublicIpAddress") or None,
            private_ip=record.get("PrivateIpAddress") or None,
            public_dns_name=record.get("PublicDnsName", ""),
            private_dns_name=record.get("PrivateDnsName", ""),
            availability_zone=record.get("Placement", {}).get("AvailabilityZone", ""),
            tags=MappingProxyType({tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}),
            launched=record.get("LaunchTime"),
        )

    def __str__(self) -> str:
        reason = f" ({self.state_reason})" if self.state_reason else ""
        return f"{self.state}{reason}"


@dataclass
class _Batch:
    """The next call: who comes while one is under way joins it."""

    ids: set[str] = field(default_factory=set)
    found: dict[str, InstanceDescription] = field(default_factory=dict)
    error: PycloudlibError | None = None
    done: bool = False


@dataclass(frozen=True)
class _Answer:
    """What EC2 said about an instance, and when; None where it does not know it."""

    moment: float
    description: InstanceDescription | None


@dataclass
class _Throttling:
    """EC2 refuses calls for being too many: the pause doubles each time, and is over with the next answer."""

    pause: float = 0.0
    moment: float = 0.0
    error: PycloudlibError | None = None

    def begin_or_grow(self, error: PycloudlibError, moment: float) -> None:
        self.pause = min(2 * self.pause or 1.0, MAX_THROTTLED_PAUSE)
        self.moment, self.error = moment, error

    def raise_while_it_lasts(self, now: float) -> None:
        if self.error and now - self.moment < self.pause:
            raise self.error


class Poller:
    """Describes instances, many threads' questions in one call (DescribeInstances).

    AWS allows an account some 10 to 20 calls a second, for all of its jobs together. So at most one call is under way;
    who asks meanwhile joins the next one, and every call also asks about all the instances that somebody waits for.
    The more there are, or the more EC2 is throttling, the longer an answer has to do.

    Args:
        client: the boto3 EC2 client.
        clock: what tells the time; default the real time.
    """

    def __init__(self, client: EC2Client, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._clock = clock
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._next = _Batch()
        self._watched: Counter[str] = Counter()
        self._seen: dict[str, _Answer] = {}
        self._changed: set[str] = set()
        self._throttling = _Throttling()

    @contextmanager
    def watching(self, instance_id: str) -> Iterator[None]:
        """Ask about this instance in every call, since somebody waits for it."""
        with self._lock:
            self._watched[instance_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._watched[instance_id] -= 1
                if not self._watched[instance_id]:
                    del self._watched[instance_id]
                    self._seen.pop(instance_id, None)

    def count_watched(self) -> int:
        """How many instances somebody waits for."""
        with self._lock:
            return len(self._watched)

    def describe(self, instance_id: str, *, max_age: float = 0.0) -> InstanceDescription | None:
        """Tell what EC2 says about an instance.

        Args:
            instance_id: the instance.
            max_age: seconds; an answer to somebody else's question will do if it is not older; default 0, ask anew.
                An older one has to do where many instances are waited for, or EC2 is throttling.

        Returns:
            None if EC2 does not know it: never launched, gone for long, or launched a moment ago.

        Raises:
            PycloudlibError: EC2 refused the call, or is out of reach.
        """
        with self._lock:
            if recent := self._recent(instance_id, max_age):
                return recent.description
            batch = self._next
            batch.ids.add(instance_id)
        with self._turn:
            with self._lock:
                # The call that was waited for may have answered this one too.
                recent = None if batch.done else self._recent(instance_id, max_age)
            if recent:
                return recent.description
            if not batch.done:
                self._ask(batch)
        if batch.error:
            raise batch.error
        return batch.found.get(instance_id)

    def forget(self, instance_id: str) -> None:
        """Let nobody be content with an earlier answer: the instance was just told to change its state."""
        with self._lock:
            self._seen.pop(instance_id, None)
            self._changed.add(instance_id)

    def _recent(self, instance_id: str, max_age: float) -> _Answer | None:
        if max_age <= 0:
            return None
        now = self._clock.now()
        answer = self._seen.get(instance_id)
        if answer is not None and now - answer.moment <= max(max_age, self._pace()):
            return answer
        self._throttling.raise_while_it_lasts(now)
        return None

    def _pace(self) -> float:
        return math.ceil(len(self._watched) / CHUNK) / CALLS_PER_SECOND

    def _ask(self, batch: _Batch) -> None:
        with self._lock:
            if self._next is batch:
                self._next = _Batch()
            ids = sorted(batch.ids | set(self._watched))
            self._changed.clear()
        try:
            batch.found = {found.instance_id: found for found in self._describe_all(ids)}
        except PycloudlibError as error:
            batch.error = error
        with self._lock:
            self._note(batch, ids)
        batch.done = True

    def _note(self, batch: _Batch, ids: Sequence[str]) -> None:
        now = self._clock.now()
        if isinstance(batch.error, CloudError) and batch.error.code in THROTTLING_CODES:
            self._throttling.begin_or_grow(batch.error, now)
        if batch.error:
            return
        self._throttling = _Throttling()
        # An answer that was on its way when the instance was told to change tells nothing.
        fresh = [id_ for id_ in ids if id_ in self._watched and id_ not in self._changed]
        self._seen.update({id_: _Answer(now, batch.found.get(id_)) for id_ in fresh})

    def _describe_all(self, ids: Sequence[str]) -> list[InstanceDescription]:
        logger.debug("describing %d instances", len(ids))
        chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
        return [description for chunk in chunks for description in self._describe_chunk(chunk)]

    def _describe_chunk(self, ids: Sequence[str]) -> list[InstanceDescription]:
        # A filter, not InstanceIds: one id that EC2 does not know would spoil the answer for all.
        paginator = self._client.get_paginator("describe_instances")
        with translated():
            pages = list(paginator.paginate(Filters=[{"Name": "instance-id", "Values": list(ids)}]))
        return [
            InstanceDescription.of(record)
            for page in pages
            for reservation in page["Reservations"]
            for record in reservation["Instances"]
        ]
