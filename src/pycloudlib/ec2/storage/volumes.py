"""Volumes: their descriptions, and the calls on them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
from pycloudlib.ec2.storage.kinds import checked_kind
from pycloudlib.ec2.storage.snapshots import Snapshots
from pycloudlib.errors import (
    CloudError,
    IllegalStateError,
    InstanceStateError,
    InvalidArgumentError,
    PermissionDeniedError,
    PycloudlibError,
    PycloudlibTimeoutError,
    ResourceNotFoundError,
)
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

KIND = "volume"

AVAILABLE = "available"
HOPELESS = frozenset({"deleting", "deleted", "error"})

VOLUME_TIMEOUT = 300.0
"""Seconds to create, attach, detach, or delete a volume."""

IN_USE = "VolumeInUse"
_NOT_FOUND = "InvalidVolume.NotFound"
_NOT_ATTACHED = frozenset({"IncorrectState", "InvalidAttachment.NotFound"})


@dataclass(frozen=True)
class Attachment:
    """The attachment of a volume to an instance.

    Args:
        instance_id: the instance.
        device_name: the device name, such as "/dev/sdf".
        state: "attaching", "attached", "busy", or "detaching".
        delete_on_termination: whether the volume is deleted with the instance; default no.
    """

    instance_id: str
    device_name: str
    state: str
    delete_on_termination: bool = False


@dataclass(frozen=True)
class VolumeDescription:
    """The description of a volume at one moment (DescribeVolumes).

    Args:
        id: the volume id, such as "vol-0123456789abcdef0".
        state: "creating", "available", "in-use", "deleting", or "error".
        size_gb: the size in GiB.
        drive_type: the volume type: "gp2", "gp3", ...
        availability_zone: the availability zone.
        snapshot_id: the source snapshot; empty if the volume was created empty.
        attachments: the attachments; most volumes support only one.
        tags: the tags.
        state_reason: always empty; EC2 gives none for volumes.
    """

    id: str
    state: str
    size_gb: int = 0
    drive_type: str = ""
    availability_zone: str = ""
    snapshot_id: str = ""
    attachments: tuple[Attachment, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    state_reason: str = ""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> VolumeDescription:
        """Parse a volume of a DescribeVolumes or CreateVolume response."""
        attachments = (
            Attachment(
                instance_id=attachment.get("InstanceId", ""),
                device_name=attachment.get("Device", ""),
                state=attachment.get("State", ""),
                delete_on_termination=bool(attachment.get("DeleteOnTermination")),
            )
            for attachment in record.get("Attachments", [])
        )
        return cls(
            id=record["VolumeId"],
            state=record.get("State", ""),
            size_gb=record.get("Size", 0),
            drive_type=record.get("VolumeType", ""),
            availability_zone=record.get("AvailabilityZone", ""),
            snapshot_id=record.get("SnapshotId") or "",
            attachments=tuple(attachment for attachment in attachments if attachment.state != "detached"),
            tags=MappingProxyType({tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}),
        )

    def attachment_to(self, instance_id: str) -> Attachment | None:
        """Return the attachment to an instance; None if there is none."""
        return next((attachment for attachment in self.attachments if attachment.instance_id == instance_id), None)


class Volumes:
    """The volumes of one region.

    Args:
        context: the context of the region.
    """

    def __init__(self, context: RegionContext) -> None:
        self._context = context
        self.session = context.session
        self.snapshots = Snapshots(context)
        self._records = Records(self._fetch, not_found=_NOT_FOUND)

    def find(self, filters: Mapping[str, object], deadline: Deadline = NEVER) -> list[VolumeDescription]:
        """Return the matching volumes, sorted by id (DescribeVolumes).

        Args:
            filters: see `described_filters()`.
            deadline: when to stop waiting for EC2; default never.
        """
        query_filters: Any = described_filters(filters)
        paginator = self._context.client.get_paginator("describe_volumes")
        pages = responded(
            lambda: list(paginator.paginate(Filters=query_filters)), what="describe volumes", deadline=deadline
        )
        descriptions = [VolumeDescription.of(record) for page in pages for record in page["Volumes"]]
        return sorted(descriptions, key=lambda volume: volume.id)

    def describe(self, volume_id: str, deadline: Deadline = NEVER) -> VolumeDescription:
        """Return the description of a volume (DescribeVolumes).

        Args:
            volume_id: the volume id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            ResourceNotFoundError: the volume does not exist.
            NoResponseError: EC2 did not respond in time.
        """
        return self._records.get(volume_id, deadline)

    def create(
        self,
        *,
        zone: str,
        size_gb: int | None,
        drive_type: str,
        iops: int | None = None,
        snapshot_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start the creation of a volume (CreateVolume).

        Args:
            zone: the availability zone.
            size_gb: GiB; None for the size of the snapshot.
            drive_type: "gp2", "gp3", "io1", "io2", "st1", "sc1", or "standard".
            iops: IOPS, for gp3, io1, and io2; default the type's minimum.
            snapshot_id: the source snapshot; default none, for an empty volume.
            tags: further tags; default none.

        Returns:
            The volume id.

        Raises:
            InvalidArgumentError: an argument is invalid.
            IllegalStateError: the snapshot is not completed yet.
            CloudError: EC2 rejected the request.
        """
        parameters = checked_kind(size_gb, drive_type, iops, has_snapshot=snapshot_id is not None)
        if snapshot_id is not None:
            self._expect_room(snapshot_id, size_gb)
            parameters["SnapshotId"] = snapshot_id
        client = self._context.client

        def call(idempotency_tag: str) -> list[Any]:
            specifications = self._context.tags_for("volume", extra=tags, idempotency_tag=idempotency_tag)
            return [
                client.create_volume(
                    AvailabilityZone=zone, TagSpecifications=specifications, ClientToken=idempotency_tag, **parameters
                )
            ]

        request = CreateRequest(
            kind=KIND,
            id_key="VolumeId",
            order=UndoOrder.VOLUME,
            call=call,
            find=lambda filters: client.describe_volumes(Filters=filters)["Volumes"],
            delete=lambda record: self.discard(record["VolumeId"]),
        )
        volume_id: str = create(self._context.ledger, request)["VolumeId"]
        self._records.created(volume_id)
        logger.info("began the volume %s", volume_id)
        return volume_id

    def wait_until_available(self, volume_id: str, deadline: Deadline) -> VolumeDescription:
        """Wait until a volume is created or detached. See `Volume.wait()`."""
        return self._records.wait_for(volume_id, AVAILABLE, hopeless=HOPELESS, deadline=deadline)

    def wait_until_attached(self, volume_id: str, instance_id: str, deadline: Deadline) -> VolumeDescription:
        """Wait until a volume is attached to an instance.

        Raises:
            IllegalStateError: the volume failed, or was detached or deleted meanwhile.
            PycloudlibTimeoutError: the volume was not attached in time.
        """
        last_seen = "nothing yet"

        def on_error(error: PycloudlibError) -> None:
            nonlocal last_seen
            last_seen = str(error)

        def check() -> VolumeDescription | None:
            nonlocal last_seen
            description = self._records.poll(volume_id, deadline, on_error)
            if description is None:
                return None
            attachment = description.attachment_to(instance_id)
            last_seen = attachment.state if attachment else description.state
            if description.state in HOPELESS:
                raise IllegalStateError(
                    f"{volume_id} will never be attached to {instance_id}: it is {description.state}"
                )
            return description if attachment is not None and attachment.state == "attached" else None

        return wait_until(
            check,
            what=f"{volume_id} to be attached to {instance_id}",
            deadline=deadline,
            interval=0.3,
            max_interval=2.0,
            last_seen=lambda: last_seen,
        )

    def detach(self, volume_id: str, instance_id: str, deadline: Deadline) -> None:
        """Detach a volume, and wait until it is available (DetachVolume). No-op if it is not attached.

        Raises:
            PycloudlibTimeoutError: the volume was not detached in time; for example, the guest still has it mounted.
            CloudError: EC2 rejected the request.
        """
        detach = partial(self._context.client.detach_volume, VolumeId=volume_id, InstanceId=instance_id)
        try:
            responded(detach, what=f"detach {volume_id}", deadline=deadline)
        except CloudError as error:
            if error.code not in _NOT_ATTACHED:
                raise
            logger.info("%s is not attached to %s any more", volume_id, instance_id)
        try:
            self.wait_until_available(volume_id, deadline)
        except PycloudlibTimeoutError as error:
            raise PycloudlibTimeoutError(
                f"{error}; unmount the disk in the guest first",
                what=error.what,
                seconds=error.seconds,
                last_seen=error.last_seen,
            ) from error

    def delete(self, volume_id: str, *, patience: float = 0.0, deadline: Deadline | None = None) -> None:
        """Delete a volume, and wait until it is gone (DeleteVolume). No-op if it is deleted.

        Args:
            volume_id: the volume id.
            patience: maximum seconds for an instance that uses it to terminate; default 0.
            deadline: when to give up; default 300 s from now.

        Raises:
            IllegalStateError: an instance uses the volume.
            PycloudlibTimeoutError: the volume was not gone in time.
            CloudError: EC2 rejected the request.
        """
        call = partial(self._context.client.delete_volume, VolumeId=volume_id)
        deadline = deadline or Deadline.after(VOLUME_TIMEOUT)
        if self._records.delete(call, volume_id, passing={IN_USE}, patience=patience, deadline=deadline):
            try:
                self._records.wait_until_gone(volume_id, gone={"deleted"}, deadline=deadline)
            except PermissionDeniedError as error:
                logger.warning(
                    "EC2 accepted the deletion of %s, but does not report whether it is complete: %s", volume_id, error
                )
        self._context.ledger.forget(volume_id)

    def discard(self, volume_id: str) -> None:
        """Detach and delete a volume (DetachVolume, DeleteVolume). No-op if it is deleted.

        Raises:
            IllegalStateError: the volume is attached to an instance that could not be deleted.
            PycloudlibTimeoutError: the volume was not detached or gone in time.
            CloudError: EC2 rejected the request.
        """
        deadline = Deadline.after(VOLUME_TIMEOUT)
        try:
            for attachment in self._attachments_if_permitted(volume_id, deadline):
                self._refuse_if_kept_by(attachment, volume_id)
                self.detach(volume_id, attachment.instance_id, deadline)
        except ResourceNotFoundError:
            logger.info("%s is already deleted", volume_id)
            self._context.ledger.forget(volume_id)
            return
        except InstanceStateError:
            raise
        except IllegalStateError as error:
            # EC2 may be deleting it with its instance meanwhile.
            logger.debug("%s: %s", volume_id, error)
        self.delete(volume_id, patience=deadline.remaining, deadline=deadline)

    def _attachments_if_permitted(self, volume_id: str, deadline: Deadline) -> tuple[Attachment, ...]:
        try:
            return self.describe(volume_id, deadline).attachments
        except PermissionDeniedError as error:
            logger.debug("deleting %s without describing it: %s", volume_id, error)
            return ()

    def _refuse_if_kept_by(self, attachment: Attachment, volume_id: str) -> None:
        if self._context.ledger.failed_in([attachment.instance_id]):
            raise InstanceStateError(
                f"{volume_id} is attached to {attachment.instance_id}, which could not be deleted",
                instance_id=attachment.instance_id,
            )

    def first_zone(self) -> str:
        """Return the first available zone of the region (DescribeAvailabilityZones)."""
        with translated():
            zones = self._context.client.describe_availability_zones()["AvailabilityZones"]
        usable = sorted(zone["ZoneName"] for zone in zones if zone.get("State", AVAILABLE) == AVAILABLE)
        if not usable:
            raise ResourceNotFoundError(message=f"no availability zone in {self._context.region}")
        return usable[0]

    def _expect_room(self, snapshot_id: str, size_gb: int | None) -> None:
        snapshot = self.snapshots.completed(snapshot_id)
        if size_gb is not None and size_gb < snapshot.size_gb:
            raise InvalidArgumentError(
                f"a volume of {size_gb} GiB is too small for {snapshot_id}, which needs {snapshot.size_gb} GiB"
            )

    def _fetch(self, volume_id: str) -> VolumeDescription:
        with translated():
            records = self._context.client.describe_volumes(VolumeIds=[volume_id])["Volumes"]
        if not records:
            raise ResourceNotFoundError(
                message=f"no volume {volume_id!r} in {self._context.region}",
                resource_id=volume_id,
                code=_NOT_FOUND,
                operation="DescribeVolumes",
            )
        return VolumeDescription.of(records[0])
