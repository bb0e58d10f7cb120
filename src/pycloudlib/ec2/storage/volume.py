"""Volumes: disks that can outlive their instance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import NEVER
from pycloudlib.ec2.storage.notifications import clipped_subject, publish, region_of_topic
from pycloudlib.ec2.storage.snapshots import SNAPSHOT_TIMEOUT, Snapshot
from pycloudlib.ec2.storage.volumes import VOLUME_TIMEOUT, Attachment, VolumeDescription, Volumes
from pycloudlib.errors import (
    CloudError,
    IllegalStateError,
    InvalidArgumentError,
    PycloudlibError,
    PycloudlibTimeoutError,
)
from pycloudlib.guest.devices import device_of_volume
from pycloudlib.guest.run import Run
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

NOTIFY_TIMEOUT = 10.0
"""Minimum seconds for SNS to respond, even if the snapshot was not completed in time."""


class Volume:
    """A volume. `EC2Instance.add_volume()` and `EC2.create_volume()` create one; `EC2.volumes()` returns existing ones.

    Args:
        description: EC2's description of the volume.
        volumes: the volumes of its region.
        run: runs a command on the attached instance; default none, if the instance is unknown.
    """

    def __init__(self, description: VolumeDescription, volumes: Volumes, run: Run | None = None) -> None:
        self._seen = description
        self._volumes = volumes
        self._run = run

    @property
    def id(self) -> str:
        """The volume id, such as "vol-0123456789abcdef0"."""
        return self._seen.id

    @property
    def size_gb(self) -> int:
        """The size in GiB."""
        return self._seen.size_gb

    @property
    def drive_type(self) -> str:
        """The volume type, such as "gp2"."""
        return self._seen.drive_type

    @property
    def availability_zone(self) -> str:
        """The availability zone, such as "eu-central-1a"."""
        return self._seen.availability_zone

    @property
    def snapshot_id(self) -> str:
        """The source snapshot; empty if the volume was created empty."""
        return self._seen.snapshot_id

    @property
    def tags(self) -> dict[str, str]:
        """The tags, as of the latest description; `refresh()` updates them."""
        return dict(self._seen.tags)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The current attachments. Each access calls DescribeVolumes.

        Raises:
            ResourceNotFoundError: the volume no longer exists.
        """
        self.refresh()
        return self._seen.attachments

    @property
    def state(self) -> str:
        """The current state: "creating", "available", "in-use", ... Each access calls DescribeVolumes.

        Raises:
            ResourceNotFoundError: the volume no longer exists.
        """
        self.refresh()
        return self._seen.state

    def refresh(self) -> None:
        """Update the description (DescribeVolumes).

        Raises:
            ResourceNotFoundError: the volume no longer exists.
        """
        self._refresh(NEVER)

    def _refresh(self, deadline: Deadline) -> None:
        self._seen = self._volumes.describe(self.id, deadline)

    def wait(self, timeout: float = VOLUME_TIMEOUT) -> None:
        """Wait until the volume is created and detached.

        Args:
            timeout: seconds; default 300.

        Raises:
            IllegalStateError: the volume failed, or is being deleted.
            PycloudlibTimeoutError: the volume was not available in time; the message has the last state.
        """
        self._seen = self._volumes.wait_until_available(self.id, Deadline.after(timeout))

    def snapshot(
        self,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        *,
        on_progress: Callable[[int], object] | None = None,
        notify: str | None = None,
        wait: bool = True,
        timeout: float = SNAPSHOT_TIMEOUT,
    ) -> Snapshot:
        """Create a snapshot of the volume (CreateSnapshot).

        The snapshot lacks data that a running guest has not flushed to the disk.

        Args:
            description: the description, at most 255 characters; default none.
            tags: further tags; default none.
            on_progress: called with each new percentage, in increasing order up to 100; default none.
            notify: the ARN of an SNS topic to notify of the completion or failure; default none.
            wait: whether to wait until the snapshot is completed; default yes. `on_progress` and `notify` require it.
            timeout: seconds; default 3600.

        Raises:
            InvalidArgumentError: an argument is invalid.
            IllegalStateError: the snapshot failed; the message has EC2's reason.
            NoResponseError: EC2 or SNS did not respond in time. `clean()` deletes the snapshot.
            PycloudlibTimeoutError: the snapshot was not completed in time. EC2 continues it; `clean()` deletes it.
            CloudError: EC2 or SNS rejected the request.
        """
        if not wait and (on_progress is not None or notify is not None):
            raise InvalidArgumentError("snapshot(wait=False) supports neither on_progress nor notify")
        if notify is not None:
            region_of_topic(notify)
        deadline = Deadline.after(timeout)
        snapshot = self._volumes.snapshots.create(self.id, description, tags, deadline)
        if not wait:
            return snapshot
        try:
            snapshot._wait_by(deadline, on_progress=on_progress)
        except PycloudlibError as error:
            if notify is not None:
                self._notify_failure(notify, snapshot, error, deadline)
            raise
        if notify is not None:
            self._notify(notify, f"{snapshot.id} has completed", snapshot, "completed", deadline)
        return snapshot

    def guest_device(self, timeout: float = 60.0) -> str:
        """Return the path of the volume inside the guest, such as "/dev/nvme1n1", once it appears.

        Args:
            timeout: seconds; default 60.

        Raises:
            IllegalStateError: the volume is not attached.
            InvalidArgumentError: this object does not know the instance; use a volume of `instance.volumes()`.
            PycloudlibTimeoutError: the device did not appear in time, or EC2 or the guest did not respond in time.
            SSHError: the command in the guest failed.
        """
        deadline = Deadline.after(timeout)
        run = self._run
        if run is None:
            raise InvalidArgumentError(
                f"{self.id} was not described through its instance: get it from instance.volumes()"
            )
        self._refresh(deadline)
        attached = self._seen.attachments
        if not attached:
            raise IllegalStateError(f"{self.id} is not attached to an instance")
        return wait_until(
            lambda: device_of_volume(run, self.id, attached[0].device_name, deadline),
            what=f"{self.id} to appear in {attached[0].instance_id}",
            deadline=deadline,
            interval=0.2,
            max_interval=2.0,
        )

    def delete(self) -> None:
        """Delete the volume, and wait until it is gone (DeleteVolume). No-op if it is deleted.

        Raises:
            IllegalStateError: an instance uses the volume.
            PycloudlibTimeoutError: the volume was not gone in time.
            CloudError: EC2 rejected the request.
        """
        self._volumes.delete(self.id)

    def _notify(self, topic_arn: str, subject: str, snapshot: Snapshot, outcome: str, deadline: Deadline) -> None:
        lines = [f"Snapshot: {snapshot.id}", f"Volume: {self.id}", f"Outcome: {outcome}", snapshot.description]
        body = "\n".join(filter(None, lines))
        try:
            publish(self._volumes.session, topic_arn, clipped_subject(subject), body, deadline.at_least(NOTIFY_TIMEOUT))
        except CloudError as error:
            raise CloudError(
                f"{subject}, but {topic_arn} was not notified: {error}", code=error.code, operation=error.operation
            ) from error

    def _notify_failure(self, topic_arn: str, snapshot: Snapshot, failure: PycloudlibError, deadline: Deadline) -> None:
        outcome = "was not completed in time" if isinstance(failure, PycloudlibTimeoutError) else "has failed"
        try:
            self._notify(topic_arn, f"{snapshot.id} {outcome}", snapshot, str(failure), deadline)
        except PycloudlibError as error:
            # The caller raises the failure itself.
            logger.error("%s", error)

    def __repr__(self) -> str:
        return f"<Volume {self.id} {self._seen.size_gb} GiB {self._seen.drive_type} {self._seen.state}>"
