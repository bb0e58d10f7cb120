"""The VPCs of one name: which one to use, and whether it is complete.

Several processes may look up the same name at the same time, find no VPC, and create one each. All processes rank the
VPCs of a name the same way. A process whose VPC is not the first one deletes it and uses the first one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent
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
"""Seconds after which an incomplete VPC is abandoned: its creator has ended."""


PATIENCE = 30.0
"""Seconds to tolerate throttling or an outage while looking up VPCs."""


@dataclass(frozen=True)
class VPCCandidate:
    """A VPC of the requested name.

    Args:
        id: the VPC id, such as "vpc-0123456789abcdef0".
        record: EC2's description.
        tags: the tags.
    """

    id: str
    record: Mapping[str, Any]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> VPCCandidate:
        """Parse a VPC of a DescribeVpcs response."""
        return cls(record["VpcId"], record, {tag["Key"]: tag["Value"] for tag in record.get("Tags", ())})

    @property
    def is_complete(self) -> bool:
        """Whether the VPC has all of its parts."""
        return self.tags.get(STATE) != INCOMPLETE

    @property
    def rank(self) -> tuple[bool, str, str]:
        """The rank among the VPCs of the name: complete ones first, then the oldest."""
        # A VPC without the tag is not this library's, and may have any age.
        return (not self.is_complete, self.tags.get(CREATED, ""), self.id)

    def is_abandoned(self, now: datetime) -> bool:
        """Return whether the creator must have ended without completing the VPC."""
        before = iso_time(now.astimezone(timezone.utc) - timedelta(seconds=ABANDONED_AFTER))
        return not self.is_complete and self.tags.get(CREATED, "") < before

    def incomplete_error(self) -> IllegalStateError:
        """Return the error for a VPC that its creator has not completed."""
        run, owner = self.tags.get(RUN, ""), self.tags.get(OWNER, "?")
        return IllegalStateError(
            f"{self.id}, the VPC named {self.tags.get('Name')!r}, is incomplete: the run {run} of {owner} created it "
            f"at {self.tags.get(CREATED)} and did not complete it; if that run has ended, delete its resources: "
            f"{sweep_command(run)}; or choose another name"
        )


def vpc_candidates(client: EC2Client, name: str, deadline: Deadline) -> Sequence[VPCCandidate]:
    """Return the VPCs of a name, the one to use first (DescribeVpcs).

    Args:
        client: the boto3 EC2 client.
        name: the tag "Name".
        deadline: when to stop waiting for EC2.

    Raises:
        NoResponseError: EC2 did not respond in time.
        CloudError: EC2 rejected the request, or throttled it for PATIENCE seconds.
    """
    paginator = client.get_paginator("describe_vpcs")
    pages = call_until_consistent(
        lambda: list(paginator.paginate(Filters=[{"Name": "tag:Name", "Values": [name]}])),
        what="describe VPCs",
        codes=(),
        deadline=deadline,
        patience=PATIENCE,
    )
    return sorted(
        (VPCCandidate.of(record) for page in pages for record in page["Vpcs"]), key=lambda candidate: candidate.rank
    )
