"""EBS snapshots: layers shared by volumes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

from pycloudlib.errors import PycloudlibError
from pycloudlib.local.api.models.encryption import key_arn
from pycloudlib.local.api.models.volumes import VolumeRecords
from pycloudlib.local.api.moto_adapter import (
    EC2ClientError,
    InvalidSnapshotInUse,
    Snapshot,
    random_snapshot_id,
    regional_backends,
    utcnow,
)
from pycloudlib.local.machines.base import Kernel
from pycloudlib.local.storage.volumes import TakeSnapshot, VolumeStore

logger = logging.getLogger(__name__)

COPIED_FROM = "vol-ffffffff"
"""The volume id of copied snapshots: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html"""


class LocalSnapshot(Snapshot):
    """A snapshot whose contents are in the server's store.

    Args:
        backend: the EC2 backend that records the snapshot.
        snapshot_id: the id of the snapshot.
        volume_id: the id of the source volume.
        size_gb: the size of the source volume in GiB.
        description: the description of the snapshot.
        kernel: the kernel that a machine boots from the snapshot; None if it has a boot loader.
        encrypted: whether the snapshot is encrypted; default no.
        kms_key_id: the ARN of the KMS key; None for an unencrypted snapshot.
        owner_id: the account that owns the snapshot; None for the backend's account.
        status: the initial status: "pending" (default), or "completed" for a catalog image's snapshot.
    """

    def __init__(
        self,
        backend: Any,
        snapshot_id: str,
        *,
        volume_id: str,
        size_gb: int,
        description: str,
        kernel: Kernel | None,
        encrypted: bool = False,
        kms_key_id: str | None = None,
        owner_id: str | None = None,
        status: str = "pending",
    ) -> None:
        volume = SimpleNamespace(id=volume_id, size=size_gb)
        super().__init__(backend, snapshot_id, volume, description, encrypted, owner_id=owner_id)
        self.kernel = kernel
        self.kms_key_id = kms_key_id
        self.status = status
        self.state_message: str | None = None
        self.completion_time: datetime | None = self.start_time if status == "completed" else None
        self._store: VolumeStore = backend.cloud.volumes

    @property
    def state(self) -> str:
        """The status, under the name of DescribeSnapshots."""
        return self.status

    @property
    def progress(self) -> str:
        """The progress in percent, such as "40%"."""
        return "100%" if self.status == "completed" else f"{self._store.progress(self.id)}%"

    @property
    def status_message(self) -> str | None:
        """The reason for a failure; None without one."""
        return self.state_message

    def finish(self, error: Exception | None) -> None:
        """Record the outcome of the snapshot: an error, or None for success."""
        self.status = "error" if error else "completed"
        self.state_message = str(error) if error else None
        self.completion_time = None if error else utcnow()

    def check_completed(self) -> None:
        """Reject the use of a snapshot that is not completed.

        Raises:
            EC2ClientError: the snapshot is not completed (IncorrectState).
        """
        if self.status != "completed":
            raise EC2ClientError("IncorrectState", f"Snapshot is in invalid state - {self.status}")


class SnapshotRecords(VolumeRecords):
    """The snapshots of one account in one region."""

    snapshots: dict[str, LocalSnapshot]  # type: ignore[assignment]

    def create_snapshot(
        self, volume_id: str, description: str, owner_id: str | None = None, from_ami: str | None = None
    ) -> LocalSnapshot:
        """Take a snapshot of a volume's current contents (CreateSnapshot)."""
        snapshot, take = self.prepare_snapshot(volume_id, description)
        machine = self.machine_of(self.get_volume(volume_id))
        take(machine.submit if machine else None, partial(self.snapshot_taken, snapshot))
        return snapshot

    def prepare_snapshot(self, volume_id: str, description: str) -> tuple[LocalSnapshot, TakeSnapshot]:
        """Record a snapshot to be taken later.

        Returns:
            The snapshot, and the function that takes it, whose callback must call `snapshot_taken`.
        """
        volume: Any = self.get_volume(volume_id)
        snapshot = LocalSnapshot(
            self,
            random_snapshot_id(),
            volume_id=volume.id,
            size_gb=volume.target_size,
            description=description or "",
            kernel=volume.kernel,
            encrypted=volume.encrypted,
            kms_key_id=volume.kms_key_id,
        )
        take = self.cloud.volumes.snapshot(snapshot.id, volume.id)
        self.snapshots[snapshot.id] = snapshot
        return snapshot, take

    def snapshot_taken(self, snapshot: LocalSnapshot, error: Exception | None) -> None:
        """Record the outcome of a snapshot: an error, or None for success."""
        with self.cloud.lock:
            if error is not None:
                logger.warning("%s: %s", snapshot.id, error)
            snapshot.finish(error)

    def copy_snapshot(
        self, source_snapshot_id: str, source_region: str, description: str, kms_key_id: str | None
    ) -> LocalSnapshot:
        """Copy a snapshot within or between regions; the copies share contents (CopySnapshot)."""
        source: Any = self.records_of_region(source_region).get_snapshot(source_snapshot_id)
        source.check_completed()
        text = f"[Copied {source.id} from {source_region}] {source.description}".strip()
        return self.copy_of(source, text if description is None else description)

    def copy_of(self, source: LocalSnapshot, description: str) -> LocalSnapshot:
        """Copy a snapshot of any region, without checking its state."""
        encrypted = source.encrypted or self.ebs_encryption_by_default
        snapshot = LocalSnapshot(
            self,
            random_snapshot_id(),
            volume_id=COPIED_FROM,
            size_gb=source.volume_size,
            description=description,
            kernel=source.kernel,
            encrypted=encrypted,
            kms_key_id=key_arn(None, self.region_name, self.account_id) if encrypted else None,
        )
        self.snapshots[snapshot.id] = snapshot
        try:
            self.cloud.volumes.copy_snapshot(snapshot.id, source.id, partial(self.snapshot_taken, snapshot))
        except PycloudlibError as error:
            self.snapshot_taken(snapshot, error)
        return snapshot

    def records_of_region(self, region: str) -> Any:
        """Return the account's records of a region.

        Raises:
            EC2ClientError: the region is unknown.
        """
        regions = regional_backends(self.account_id)
        if region not in regions.regions:
            raise EC2ClientError("InvalidParameterValue", f"Invalid source region - {region}")
        return regions[region]

    def get_snapshot(self, snapshot_id: str) -> LocalSnapshot:
        """Return a snapshot.

        Raises:
            EC2ClientError: the id is unknown or malformed.
        """
        if not str(snapshot_id).startswith("snap-"):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({snapshot_id}) for parameter snapshotId is invalid. Expected: 'snap-...'.",
            )
        snapshot = self.snapshots.get(snapshot_id)
        if snapshot is None:
            raise EC2ClientError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
        return snapshot

    def described_snapshots(self, snapshot_ids: Sequence[str], owner_ids: Sequence[str]) -> list[LocalSnapshot]:
        """Return snapshots by id, or by owner; default the account's own (DescribeSnapshots)."""
        if snapshot_ids:
            return [self.get_snapshot(snapshot_id) for snapshot_id in snapshot_ids]
        owners = {self.account_id if owner == "self" else owner for owner in owner_ids or ["self"]}
        return [snapshot for snapshot in self.snapshots.values() if snapshot.owner_id in owners]

    def delete_snapshot(self, snapshot_id: str) -> LocalSnapshot:
        """Delete a snapshot that no AMI uses (DeleteSnapshot).

        Raises:
            EC2ClientError: the id is unknown, another account owns the snapshot, or an AMI uses it.
        """
        snapshot = self.get_snapshot(snapshot_id)
        if snapshot.owner_id != self.account_id:
            raise EC2ClientError("OperationNotPermitted", f"You do not own the snapshot '{snapshot_id}'.")
        for ami in self.amis.values():
            if snapshot_id in getattr(ami, "snapshot_ids", ()):
                raise InvalidSnapshotInUse(snapshot_id, ami.id)
        del self.snapshots[snapshot_id]
        self.cloud.volumes.delete_snapshot(snapshot_id)
        return snapshot
