"""Volumes and their snapshots, and notifications about them."""

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
    """What is asked about volumes and snapshots."""

    @cached_property
    def _volumes(self) -> Volumes:
        return Volumes(self._scope)

    def volumes(self, **filters: object) -> list[Volume]:
        """List the volumes that match, by id (DescribeVolumes).

        Args:
            **filters: EC2's, with underscores for hyphens: `status="available"`, `size=[8, 16]`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html
        """
        return [Volume(found, self._volumes) for found in self._volumes.find(filters)]

    def volume(self, volume_id: str) -> Volume:
        """Give a volume that exists already; clean() leaves it alone.

        Args:
            volume_id: such as "vol-0123456789abcdef0".

        Raises:
            ResourceNotFoundError: there is none.
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
        """Make a volume that is attached to nothing (CreateVolume); clean() deletes it.

        Args:
            size_gb: GiB; default as many as the snapshot needs.
            drive_type: "gp2" (default), "gp3", "io1", "io2", "st1", "sc1" or "standard".
            zone: the availability zone; default the first one of the region.
            iops: operations a second, for gp3, io1 and io2; default as few as the type allows.
            snapshot_id: what it holds in the beginning; default nothing.
            tags: further tags; default none.
            wait: whether to wait until it is available; default yes.

        Raises:
            InvalidArgumentError: EC2 would refuse an argument.
            IllegalStateError: the snapshot is not completed yet, or the volume failed.
            CloudError: EC2 refused.
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
        """List one's own snapshots of volumes that match, by id (DescribeSnapshots).

        Args:
            **filters: EC2's, with underscores for hyphens: `volume_id="vol-1"`, `status="completed"`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html
        """
        return self._volumes.snapshots.find(filters)

    def notify(self, topic_arn: str, subject: str, message: str) -> str:
        """Tell all subscribers of an SNS topic something (SNS Publish).

        Args:
            topic_arn: the topic, in any region: "arn:aws:sns:eu-central-1:123456789012:builds".
            subject: 1 to 100 printable ASCII characters; the subject of e-mails.
            message: 1 byte to 256 KiB of UTF-8.

        Returns:
            The message's id.

        Raises:
            InvalidArgumentError: SNS would refuse one of them.
            ResourceNotFoundError: there is no such topic.
            CloudError: SNS refused.
        """
        return publish(self._session, topic_arn, subject, message)
