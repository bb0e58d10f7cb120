"""Volumes: disks that outlive the machine that they are attached to."""

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
from pycloudlib.guest.framing import Run
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

NOTIFY_TIMEOUT = 10.0
"""Seconds that SNS gets at least, also when the snapshot was not completed in time."""


class Volume:
    """A volume. It is made by EC2Instance.add_volume() and EC2.create_volume(); EC2.volumes() finds those there are.

    Args:
        description: what EC2 said of it.
        volumes: those of its region.
        run: runs a command in the instance that it is attached to; None when that one is not known.
    """

    def __init__(self, description: VolumeDescription, volumes: Volumes, run: Run | None = None) -> None:
        self._seen = description
        self._volumes = volumes
        self._run = run

    @property
    def id(self) -> str:
        """Its id, such as "vol-0123456789abcdef0"."""
        return self._seen.id

    @property
    def size_gb(self) -> int:
        """Its size in GiB."""
        return self._seen.size_gb

    @property
    def drive_type(self) -> str:
        """Its type, such as "gp2"."""
        return self._seen.drive_type

    @property
    def availability_zone(self) -> str:
        """The zone that it is in, such as "eu-central-1a"."""
        return self._seen.availability_zone

    @property
    def snapshot_id(self) -> str:
        """The snapshot that it was made of; empty for one that was made empty."""
        return self._seen.snapshot_id

    @property
    def tags(self) -> dict[str, str]:
        """Its tags, as last seen; refresh() asks again."""
        return dict(self._seen.tags)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Where it is attached now: EC2 is asked each time (DescribeVolumes).

        Raises:
            ResourceNotFoundError: EC2 does not know it any more.
        """
        self.refresh()
        return self._seen.attachments

    @property
    def state(self) -> str:
        """Its state now, "creating", "available", "in-use", ...: EC2 is asked each time (DescribeVolumes).

        Raises:
            ResourceNotFoundError: EC2 does not know it any more.
        """
        self.refresh()
        return self._seen.state

    def refresh(self) -> None:
        """Ask EC2 about it (DescribeVolumes).

        Raises:
            ResourceNotFoundError: EC2 does not know it any more.
        """
        self._refresh(NEVER)

    def _refresh(self, deadline: Deadline) -> None:
        self._seen = self._volumes.describe(self.id, deadline)

    def wait(self, timeout: float = VOLUME_TIMEOUT) -> None:
        """Wait until it is made and attached to nothing.

        Args:
            timeout: seconds; default 300.

        Raises:
            IllegalStateError: it failed, or is being deleted.
            PycloudlibTimeoutError: it was not available in time; with the last state seen.
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
        """Take a snapshot of it (CreateSnapshot). What is still in the memory of a running guest is not in it.

        Args:
            description: in words, at most 255 characters; default none.
            tags: further tags; default none.
            on_progress: told the per cent at each change; they only rise, and end with 100.
            notify: an SNS topic that is told when the snapshot has completed, or failed; default none.
            wait: whether to wait until it is completed; default yes. Without waiting nobody can be told anything.
            timeout: seconds; default 3600.

        Raises:
            InvalidArgumentError: an argument that EC2 or SNS would refuse.
            IllegalStateError: the snapshot failed; with EC2's own reason.
            NoResponseError: EC2 or SNS did not respond in time. clean() deletes the snapshot.
            PycloudlibTimeoutError: it was not completed in time. It goes on; clean() deletes it.
            CloudError: EC2 or SNS refused.
        """
        if not wait and (on_progress is not None or notify is not None):
            raise InvalidArgumentError("snapshot(wait=False) can neither call on_progress nor notify: nobody waits")
        if notify is not None:
            region_of_topic(notify)
        deadline = Deadline.after(timeout)
        snapshot = self._volumes.snapshots.create(self.id, description, tags, deadline)
        if not wait:
            return snapshot
        try:
            snapshot.wait_by(deadline, on_progress=on_progress)
        except PycloudlibError as error:
            if notify is not None:
                self._tell_failure(notify, snapshot, error, deadline)
            raise
        if notify is not None:
            self._tell(notify, f"{snapshot.id} has completed", snapshot, "completed", deadline)
        return snapshot

    def guest_device(self, timeout: float = 60.0) -> str:
        """Give the path under which it appears inside the guest, such as "/dev/nvme1n1", as soon as it does.

        Args:
            timeout: seconds; default 60.

        Raises:
            IllegalStateError: it is attached to nothing.
            InvalidArgumentError: it is not known how to ask its instance: take it from instance.volumes().
            PycloudlibTimeoutError: it did not appear in time, or EC2 or the guest did not respond in time.
            SSHError: the guest could not be asked.
        """
        deadline = Deadline.after(timeout)
        run = self._run
        if run is None:
            raise InvalidArgumentError(
                f"{self.id} was not asked for through its instance: take it from instance.volumes()"
            )
        self._refresh(deadline)
        attached = self._seen.attachments
        if not attached:
            raise IllegalStateError(f"{self.id} is attached to no instance")
        return wait_until(
            lambda: device_of_volume(run, self.id, attached[0].device_name, deadline),
            what=f"{self.id} to appear in {attached[0].instance_id}",
            deadline=deadline,
            interval=0.2,
            max_interval=2.0,
        )

    def delete(self) -> None:
        """Delete it (DeleteVolume), and wait until it is gone; one that is gone already is fine.

        Raises:
            IllegalStateError: an instance uses it.
            PycloudlibTimeoutError: it was not gone in time.
            CloudError: EC2 refused.
        """
        self._volumes.delete(self.id)

    def _tell(self, topic_arn: str, subject: str, snapshot: Snapshot, outcome: str, deadline: Deadline) -> None:
        lines = [f"Snapshot: {snapshot.id}", f"Volume: {self.id}", f"Outcome: {outcome}", snapshot.description]
        body = "\n".join(filter(None, lines))
        try:
            publish(self._volumes.session, topic_arn, clipped_subject(subject), body, deadline.at_least(NOTIFY_TIMEOUT))
        except CloudError as error:
            raise CloudError(
                f"{subject}, but {topic_arn} was not told: {error}", code=error.code, operation=error.operation
            ) from error

    def _tell_failure(self, topic_arn: str, snapshot: Snapshot, failure: PycloudlibError, deadline: Deadline) -> None:
        outcome = "was not completed in time" if isinstance(failure, PycloudlibTimeoutError) else "has failed"
        try:
            self._tell(topic_arn, f"{snapshot.id} {outcome}", snapshot, str(failure), deadline)
        except PycloudlibError as error:
            # The failure itself is what shall be raised.
            logger.error("%s", error)

    def __repr__(self) -> str:
        return f"<Volume {self.id} {self._seen.size_gb} GiB {self._seen.drive_type} {self._seen.state}>"
