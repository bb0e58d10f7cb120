"""The VPCs of one name: which of them everybody uses, and whether it is complete.

Several processes may look for the same name at the same time, find none, and create one each. All of them rank the
VPCs of that name alike. So those whose VPC is not the first one delete it again and use the first one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import call_until_consistent
from pycloudlib.errors import IllegalStateError
from pycloudlib.interrupts import sweep_command
from pycloudlib.tags import CREATED, OWNER, RUN, STATE, iso_time

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

INCOMPLETE = "incomplete"
COMPLETE = "complete"
"""Values of the tag STATE. A VPC without that tag is complete."""

ABANDONED_AFTER = 900.0
"""Seconds after which nobody is still completing a VPC: its creator has ended."""


PATIENCE = 30.0
"""Seconds for which EC2 may be throttling, or out of reach, while VPCs are looked for."""


@dataclass(frozen=True)
class VPCCandidate:
    """A VPC of the name that is looked for.

    Args:
        id: such as "vpc-0123456789abcdef0".
        record: EC2's description of it.
        tags: its tags.
    """

    id: str
    record: Mapping[str, Any]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> VPCCandidate:
        """Read one VPC of a DescribeVpcs response."""
        return cls(record["VpcId"], record, {tag["Key"]: tag["Value"] for tag in record.get("Tags", ())})

    @property
    def is_complete(self) -> bool:
        """Whether it has all of its parts."""
        return self.tags.get(STATE) != INCOMPLETE

    @property
    def rank(self) -> tuple[bool, str, str]:
        """The place among the VPCs of its name: complete ones first, then the oldest."""
        # One without the tag is not this library's, and so may be any age.
        return (not self.is_complete, self.tags.get(CREATED, ""), self.id)

    def is_abandoned(self, now: datetime) -> bool:
        """Tell whether its creator must have ended without completing it."""
        before = iso_time(now.astimezone(timezone.utc) - timedelta(seconds=ABANDONED_AFTER))
        return not self.is_complete and self.tags.get(CREATED, "") < before

    def incomplete_error(self) -> IllegalStateError:
        """Return the error of a VPC that its creator has not completed."""
        run, owner = self.tags.get(RUN, ""), self.tags.get(OWNER, "?")
        return IllegalStateError(
            f"{self.id}, the VPC named {self.tags.get('Name')!r}, is incomplete: run {run} of {owner} began it at "
            f"{self.tags.get(CREATED)} and has not completed it. If that run has ended, delete what it left: "
            f"{sweep_command(run)}; or choose another name"
        )


def vpc_candidates(client: EC2Client, name: str, deadline: Deadline) -> Sequence[VPCCandidate]:
    """List the VPCs of a name, the first one being the one to use (DescribeVpcs).

    Args:
        client: the boto3 EC2 client.
        name: the tag "Name".
        deadline: when to stop waiting for EC2.

    Raises:
        NoResponseError: EC2 did not respond in time.
        CloudError: EC2 refused, or was throttling for PATIENCE seconds.
    """
    paginator = client.get_paginator("describe_vpcs")
    pages = call_until_consistent(
        lambda: list(paginator.paginate(Filters=[{"Name": "tag:Name", "Values": [name]}])),
        what="describe VPCs",
        codes=(),
        deadline=deadline,
        patience=PATIENCE,
    )
    return sorted((VPCCandidate.of(record) for page in pages for record in page["Vpcs"]), key=lambda one: one.rank)
