"""Snapshots of volumes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.creating import CreateRequest, create
from pycloudlib.ec2.api.faults import NEVER, responded, translated
from pycloudlib.ec2.api.filters import described_filters
from pycloudlib.ec2.api.records import Records
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.errors import CloudError, IllegalStateError, InvalidArgumentError, ResourceNotFoundError
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.tags import is_sendable

logger = logging.getLogger(__name__)

KIND = "snapshot"

COMPLETED = "completed"
HOPELESS = frozenset({"error", "recoverable", "recovering"})

SNAPSHOT_TIMEOUT = 3600.0
"""Seconds to wait for a snapshot."""

SNAPSHOT_DELETE_TIMEOUT = 300.0
"""Seconds to delete a snapshot, including retries."""

DELETE_TIMEOUT = 60.0
"""Seconds for which EC2 may still report a snapshot as in use after its image was deregistered."""

MAX_DESCRIPTION_LENGTH = 255

IN_USE = "InvalidSnapshot.InUse"
_NOT_FOUND = "InvalidSnapshot.NotFound"


@dataclass(frozen=True)
class SnapshotDescription:
    """The description of a snapshot at one moment (DescribeSnapshots).

    Args:
        id: the snapshot id, such as "snap-0123456789abcdef0".
        state: "pending", "completed", or "error".
        state_reason: why the snapshot failed; default empty.
        progress: per cent; 100 once completed.
        volume_id: the source volume.
        size_gb: the size of the source volume in GiB.
        description: the description.
        owner_id: the account that owns the snapshot.
        tags: the tags.
    """

    id: str
    state: str
    state_reason: str = ""
    progress: int = 0
    volume_id: str = ""
    size_gb: int = 0
    description: str = ""
    owner_id: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> SnapshotDescription:
        """Parse a snapshot of a DescribeSnapshots or CreateSnapshot response."""
        return cls(
            id=record["SnapshotId"],
            state=record.get("State", ""),
            state_reason=record.get("StateMessage") or "",
            progress=_per_cent(record.get("Progress") or "", record.get("State", "")),
            volume_id=record.get("VolumeId", ""),
            size_gb=record.get("VolumeSize", 0),
            description=record.get("Description") or "",
            owner_id=record.get("OwnerId", ""),
            tags=MappingProxyType({tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}),
        )


class Snapshot:
    """A snapshot of a volume. `Volume.snapshot()` creates one; `EC2.snapshots()` returns existing ones.

    Args:
        description: EC2's description of the snapshot.
        snapshots: the snapshots of its region.
    """

    def __init__(self, description: SnapshotDescription, snapshots: Snapshots) -> None:
        self._seen = description
        self._snapshots = snapshots

    @property
    def id(self) -> str:
        """The snapshot id, such as "snap-0123456789abcdef0"."""
        return self._seen.id

    @property
    def volume_id(self) -> str:
        """The source volume, which may have been deleted since."""
        return self._seen.volume_id

    @property
    def size_gb(self) -> int:
        """The size of the source volume in GiB: the minimum size of a volume from this snapshot."""
        return self._seen.size_gb

    @property
    def description(self) -> str:
        """The description text."""
        return self._seen.description

    @property
    def tags(self) -> dict[str, str]:
        """The tags, as of the latest description; `refresh()` updates them."""
        return dict(self._seen.tags)

    @property
    def state(self) -> str:
        """The current state: "pending", "completed", or "error". Each access calls DescribeSnapshots.

        Raises:
            ResourceNotFoundError: the snapshot no longer exists.
        """
        self.refresh()
        return self._seen.state

    @property
    def progress(self) -> int:
        """The current progress in per cent. Each access calls DescribeSnapshots.

        Raises:
            ResourceNotFoundError: the snapshot no longer exists.
        """
        self.refresh()
        return self._seen.progress

    def refresh(self) -> None:
        """Update the description (DescribeSnapshots).

        Raises:
            ResourceNotFoundError: the snapshot no longer exists.
        """
        self._seen = self._snapshots.describe(self.id)

    def wait(self, timeout: float = SNAPSHOT_TIMEOUT, *, on_progress: Callable[[int], object] | None = None) -> None:
        """Wait until the snapshot is completed.

        Args:
            timeout: seconds; default 3600.
            on_progress: called with each new percentage, in increasing order up to 100; default none.

        Raises:
            IllegalStateError: the snapshot failed; the message has EC2's reason.
            PycloudlibTimeoutError: the snapshot was not completed in time.
        """
        self._wait_by(Deadline.after(timeout), on_progress=on_progress)

    def _wait_by(self, deadline: Deadline, *, on_progress: Callable[[int], object] | None = None) -> None:
        """Wait until the snapshot is completed, by a deadline. See `wait()`."""
        self._seen = self._snapshots.wait_for(self.id, deadline, on_progress=on_progress)

    def delete(self) -> None:
        """Delete the snapshot (DeleteSnapshot). No-op if it is deleted.

        Raises:
            IllegalStateError: an image uses the snapshot.
            CloudError: EC2 rejected the request.
        """
        self._snapshots.delete(self.id)

    def __repr__(self) -> str:
        return f"<Snapshot {self.id} {self._seen.state}>"


class Snapshots:
    """The snapshots of one region.

    Args:
        context: the context of the region.
    """

    def __init__(self, context: RegionContext) -> None:
        self._context = context
        self._records = Records(self._fetch, not_found=_NOT_FOUND)

    def find(self, filters: Mapping[str, object], deadline: Deadline = NEVER) -> list[Snapshot]:
        """Return the account's matching snapshots, sorted by id (DescribeSnapshots).

        Args:
            filters: see `described_filters()`.
            deadline: when to stop waiting for EC2; default never.
        """
        query_filters: Any = described_filters(filters)
        paginator = self._context.client.get_paginator("describe_snapshots")
        pages = responded(
            lambda: list(paginator.paginate(OwnerIds=["self"], Filters=query_filters)),
            what="describe snapshots",
            deadline=deadline,
        )
        descriptions = [SnapshotDescription.of(record) for page in pages for record in page["Snapshots"]]
        return [
            Snapshot(description, self) for description in sorted(descriptions, key=lambda description: description.id)
        ]

    def describe(self, snapshot_id: str, deadline: Deadline = NEVER) -> SnapshotDescription:
        """Return the description of a snapshot (DescribeSnapshots).

        Args:
            snapshot_id: the snapshot id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            ResourceNotFoundError: the snapshot does not exist.
            NoResponseError: EC2 did not respond in time.
        """
        return self._records.get(snapshot_id, deadline)

    def completed(self, snapshot_id: str, deadline: Deadline = NEVER) -> SnapshotDescription:
        """Return the description of a snapshot, which must be completed (DescribeSnapshots).

        Args:
            snapshot_id: the snapshot id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            ResourceNotFoundError: the snapshot does not exist.
            IllegalStateError: the snapshot is not completed.
            NoResponseError: EC2 did not respond in time.
        """
        description = self.describe(snapshot_id, deadline)
        if description.state != COMPLETED:
            raise IllegalStateError(
                f"{snapshot_id} is {description.state} ({description.progress} %): "
                "it must be completed first, see Snapshot.wait()"
            )
        return description

    def create(
        self, volume_id: str, description: str, tags: Mapping[str, str] | None, deadline: Deadline = NEVER
    ) -> Snapshot:
        """Start the creation of a snapshot (CreateSnapshot).

        Args:
            volume_id: the source volume.
            description: the description, at most 255 characters.
            tags: further tags.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            InvalidArgumentError: the description or a tag is invalid.
            NoResponseError: EC2 did not respond in time.
            CloudError: EC2 rejected the request.
        """
        check_description(description)
        client = self._context.client

        def call(idempotency_tag: str) -> list[Any]:
            specifications = self._context.tags_for("snapshot", extra=tags, idempotency_tag=idempotency_tag)
            return [
                client.create_snapshot(VolumeId=volume_id, Description=description, TagSpecifications=specifications)
            ]

        request = CreateRequest(
            kind=KIND,
            id_key="SnapshotId",
            order=UndoOrder.SNAPSHOT,
            call=call,
            find=lambda filters: client.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"],
            delete=lambda record: self.delete(record["SnapshotId"], patience=DELETE_TIMEOUT),
        )
        created = SnapshotDescription.of(create(self._context.ledger, request, deadline))
        self._records.created(created.id)
        logger.info("began the snapshot %s of %s", created.id, volume_id)
        return Snapshot(created, self)

    def wait_for(
        self, snapshot_id: str, deadline: Deadline, *, on_progress: Callable[[int], object] | None = None
    ) -> SnapshotDescription:
        """Wait until a snapshot is completed. See `Snapshot.wait()`."""
        reported = -1

        def report(description: SnapshotDescription) -> None:
            nonlocal reported
            if on_progress is not None and description.progress > reported:
                reported = description.progress
                on_progress(reported)

        return self._records.wait_for(snapshot_id, COMPLETED, hopeless=HOPELESS, deadline=deadline, observe=report)

    def delete(
        self, snapshot_id: str, *, patience: float = 0.0, freed_by: str = "", deadline: Deadline | None = None
    ) -> None:
        """Delete a snapshot (DeleteSnapshot). No-op if it is deleted.

        Args:
            snapshot_id: the snapshot id.
            patience: maximum seconds to wait for EC2 to notice that the snapshot's image is deregistered; default 0.
            freed_by: the image that was just deregistered; default unknown.
            deadline: when to give up; default SNAPSHOT_DELETE_TIMEOUT seconds from now.

        Raises:
            IllegalStateError: an image uses the snapshot.
            CloudError: EC2 rejected the request.
        """
        call = partial(self._context.client.delete_snapshot, SnapshotId=snapshot_id)

        def is_used_for_good(error: CloudError) -> bool:
            users = set(re.findall(r"ami-[0-9a-f]+", str(error)))
            needed_by_others = bool(users and freed_by and freed_by not in users)
            return needed_by_others or bool(self._context.ledger.failed_in(users))

        self._records.delete(
            call,
            snapshot_id,
            passing={IN_USE},
            patience=patience,
            deadline=deadline or Deadline.after(SNAPSHOT_DELETE_TIMEOUT),
            is_hopeless=is_used_for_good,
        )
        self._context.ledger.forget(snapshot_id)

    def _fetch(self, snapshot_id: str) -> SnapshotDescription:
        with translated():
            records = self._context.client.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        if not records:
            raise ResourceNotFoundError(
                message=f"no snapshot {snapshot_id!r} in {self._context.region}",
                resource_id=snapshot_id,
                code=_NOT_FOUND,
                operation="DescribeSnapshots",
            )
        return SnapshotDescription.of(records[0])


def check_description(description: str) -> None:
    """Validate the description of a snapshot or an image.

    Raises:
        InvalidArgumentError: the description is invalid.
    """
    if not is_sendable(description) or len(description) > MAX_DESCRIPTION_LENGTH:
        raise InvalidArgumentError(
            f"the description is {description!r}; it must be a string of at most {MAX_DESCRIPTION_LENGTH} characters, "
            "without control characters"
        )


def _per_cent(text: str, state: str) -> int:
    """Parse EC2's percentage, such as "45%"; initially it is empty."""
    if state == COMPLETED:
        return 100
    number = text.rstrip("%")
    # A snapshot with all data copied is not completed yet.
    return min(int(number), 99) if number.isdigit() else 0
