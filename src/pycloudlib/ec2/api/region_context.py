"""The region in which resources are created, and the tags and the ledger for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE
from pycloudlib.ec2.api.session import Session
from pycloudlib.lifecycle import Ledger, UndoOrder
from pycloudlib.tags import Ownership, tag_specifications

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@dataclass(frozen=True)
class RegionContext:
    """The context of every noun that creates resources.

    Args:
        client: the boto3 EC2 client.
        region: the client's region.
        name: the default tag "Name" of created resources.
        ownership: the tags of all created resources.
        ledger: the ledger that records a resource on the line after its creation.
        session: creates clients of other regions and services.
    """

    client: EC2Client
    region: str
    name: str
    ownership: Ownership
    ledger: Ledger
    session: Session

    def in_region(self, region: str) -> RegionContext:
        """Return the context of another region, with the same ledger.

        Raises:
            CloudSetupError: the region does not exist.
        """
        if region == self.region:
            return self
        return replace(self, region=region, client=self.session.client_of("ec2", region))

    def tags_for(
        self,
        *resource_types: str,
        name: str = "",
        extra: Mapping[str, str] | None = None,
        idempotency_tag: str = "",
        username: str = "",
    ) -> Any:
        """Return the parameter TagSpecifications of a create call.

        Args:
            resource_types: EC2's resource types: "volume", "snapshot", "image", ...
            name: the tag "Name"; default this context's name.
            extra: the caller's own tags; default none.
            idempotency_tag: the idempotency tag of the call; default none.
            username: the login user of an image's instances; default unknown.

        Raises:
            InvalidArgumentError: a tag is invalid, or uses one of this library's keys.
        """
        tags = self.ownership.tags(name or self.name, extra, idempotency_tag=idempotency_tag, username=username)
        return tag_specifications(resource_types, tags)

    def record(self, kind: str, resource_id: str, undo: Callable[[], object], order: UndoOrder) -> None:
        """Record a resource. Call this on the line after its creation. See `Ledger.record()`."""
        self.ledger.record(kind, resource_id, undo, order=order)

    def consistency_patience(self, *resource_ids: str) -> float:
        """Return the seconds for which to repeat a call that does not find a resource: 0 unless one was created here.

        Args:
            resource_ids: the ids of all resources of the call.
        """
        return NOT_YET_VISIBLE if any(resource_id in self.ledger for resource_id in resource_ids) else 0.0
