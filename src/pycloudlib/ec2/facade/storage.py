"""Volumes, snapshots, and notifications."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.storage.notifications import publish
from pycloudlib.ec2.storage.snapshots import Snapshot
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.ec2.storage.volumes import VOLUME_TIMEOUT, Volumes


class StorageCalls(Facade):
    """The methods for volumes, snapshots, and notifications."""

    @cached_property
    def _volumes(self) -> Volumes:
        return Volumes(self._region_context)

    def volumes(self, **filters: object) -> list[Volume]:
        """Return the volumes that match, sorted by id (DescribeVolumes).

        Args:
            **filters: EC2's filters, with underscores for hyphens: `status="available"`, `size=[8, 16]`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html
        """
        return [Volume(found, self._volumes) for found in self._volumes.find(filters)]

    def volume(self, volume_id: str) -> Volume:
        """Return a handle to an existing volume, which `clean()` does not delete (DescribeVolumes).

        Args:
            volume_id: the id, such as "vol-0123456789abcdef0".

        Raises:
            ResourceNotFoundError: the volume does not exist.
        """
        return Volume(self._volumes.describe(volume_id), self._volumes)

    def create_volume(
        self,
        size_gb: int | None = None,
        drive_type: str = "gp2",
        *,
        zone: str | None = None,
        iops: int | None = None,
        snapshot_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Volume:
        """Create a detached volume, which `clean()` deletes (CreateVolume).

        Args:
            size_gb: the size in GiB; default the size of the snapshot.
            drive_type: "gp2" (default), "gp3", "io1", "io2", "st1", "sc1", or "standard".
            zone: the availability zone; default the region's first.
            iops: I/O operations per second, for gp3, io1, and io2; default the minimum of the type.
            snapshot_id: the snapshot with the initial contents; default none, an empty volume.
            tags: further tags; default none.
            wait: whether to wait until the volume is available; default yes.

        Raises:
            InvalidArgumentError: an argument is invalid.
            IllegalStateError: the snapshot is not completed, or the volume failed.
            CloudError: EC2 rejected the request.
        """
        volume_id = self._volumes.create(
            zone=zone or self._volumes.first_zone(),
            size_gb=size_gb,
            drive_type=drive_type,
            iops=iops,
            snapshot_id=snapshot_id,
            tags=tags,
        )
        if wait:
            available = self._volumes.wait_until_available(volume_id, Deadline.after(VOLUME_TIMEOUT))
            return Volume(available, self._volumes)
        return self.volume(volume_id)

    def snapshots(self, **filters: object) -> list[Snapshot]:
        """Return the account's own snapshots that match, sorted by id (DescribeSnapshots).

        Args:
            **filters: EC2's filters, with underscores for hyphens: `volume_id="vol-1"`, `status="completed"`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html
        """
        return self._volumes.snapshots.find(filters)

    def notify(self, topic_arn: str, subject: str, message: str) -> str:
        """Publish a message to an SNS topic (SNS Publish).

        Args:
            topic_arn: the ARN of the topic, in any region, such as "arn:aws:sns:eu-central-1:123456789012:builds".
            subject: the subject line of emails: 1 to 100 printable ASCII characters.
            message: the message: 1 byte to 256 KiB of UTF-8.

        Returns:
            The message id.

        Raises:
            InvalidArgumentError: an argument is invalid.
            ResourceNotFoundError: the topic does not exist.
            CloudError: SNS rejected the request.
        """
        return publish(self._session, topic_arn, subject, message)
