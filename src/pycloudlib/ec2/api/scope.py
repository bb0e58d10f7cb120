"""Where resources are created, and what is noted of each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.session import Session
from pycloudlib.lifecycle import Ledger, UndoOrder
from pycloudlib.tags import Ownership, tag_specifications

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@dataclass(frozen=True)
class Scope:
    """What every noun needs that creates something.

    Args:
        client: the boto3 EC2 client.
        region: its region.
        name: the tag "Name" of what is created, unless it is given another.
        ownership: what everything is tagged with.
        ledger: where everything is recorded on the line after its creation.
        session: what makes clients of other regions and services.
    """

    client: EC2Client
    region: str
    name: str
    ownership: Ownership
    ledger: Ledger
    session: Session

    def in_region(self, region: str) -> Scope:
        """The same in another region, with the same ledger.

        Raises:
            CloudSetupError: no such region.
        """
        if region == self.region:
            return self
        return replace(self, region=region, client=self.session.client_of("ec2", region))

    def tags_for(
        self,
        *resource_types: str,
        name: str = "",
        extra: Mapping[str, str] | None = None,
        creation: str = "",
        username: str = "",
    ) -> Any:
        """The parameter TagSpecifications of a call that creates something.

        Args:
            resource_types: as EC2 names them: "volume", "snapshot", "image", ...
            name: the tag "Name"; default this scope's name.
            extra: the caller's own tags; default none.
            creation: of which call this is a part; default none that could be told.
            username: of an image: who logs in to its instances; default nobody that could be told.

        Raises:
            InvalidArgumentError: EC2 would refuse one of the further tags, or one is this library's own.
        """
        tags = self.ownership.tags(name or self.name, extra, creation=creation, username=username)
        return tag_specifications(resource_types, tags)

    def record(self, kind: str, resource_id: str, undo: Callable[[], object], order: UndoOrder) -> None:
        """Remember a resource; to be called on the line after its creation. See Ledger.record()."""
        self.ledger.record(kind, resource_id, undo, order=order)
