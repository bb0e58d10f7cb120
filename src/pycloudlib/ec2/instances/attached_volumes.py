"""The volumes that are attached to an instance."""

from __future__ import annotations

import logging
import re
import string
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent, ignore_already_attached
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.instances.described import DescribedInstance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.storage.kinds import checked_kind
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.ec2.storage.volumes import VOLUME_TIMEOUT, VolumeDescription, Volumes
from pycloudlib.errors import InvalidArgumentError, PycloudlibError

logger = logging.getLogger(__name__)

DEVICE_LETTERS = string.ascii_lowercase[string.ascii_lowercase.index("f") :]
"""The letters of /dev/sdf to /dev/sdz. See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html"""

_DEVICE = re.compile(r"(?:/dev/)?(?:sd|xvd|hd|vd)(?P<letter>[a-z])\d*")

_NOT_MAPPED_YET = frozenset({"InvalidInstanceAttributeValue", "InvalidParameterValue", "IncorrectState"})
"""ModifyInstanceAttribute's codes for a device that DescribeVolumes has just reported as attached."""


class InstanceWithVolumes(DescribedInstance):
    """An instance with its volumes.

    Args:
        description: EC2's description of the instance.
        context: the cloud's context.
        username: the login user.
        key_pair: the key pair for the login; None to disable logins.
        launched: whether the instance was just launched, so that EC2 may not find it yet; default no.
    """

    def _create_parts(self, context: InstanceContext, *, launched: bool) -> None:
        super()._create_parts(context, launched=launched)
        self._volumes = Volumes(context.region_context)
        self._device_names = _DeviceNames()

    def volumes(self) -> list[Volume]:
        """Return the attached volumes, including the root volume, sorted by id (DescribeVolumes)."""
        return [self._volume(description) for description in self._volumes.find({"attachment.instance-id": self.id})]

    def add_volume(
        self,
        size: int = 8,
        drive_type: str = "gp2",
        *,
        snapshot_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Volume:
        """Create a volume and attach it (CreateVolume, AttachVolume). It is deleted with the instance.

        Use the first free device name of /dev/sdf to /dev/sdz. The guest may use another path; see
        `volume.guest_device()`.

        Args:
            size: GiB; default 8.
            drive_type: "gp2" (default), "gp3", "io1", "io2", "st1", "sc1", or "standard".
            snapshot_id: the snapshot from which to create the volume; default none, for an empty volume.
            tags: further tags; default none.

        Returns:
            The attached volume.

        Raises:
            InvalidArgumentError: an argument is invalid, or no device name is free.
            InstanceStateError: the instance is neither running nor stopped.
            IllegalStateError: the snapshot is not completed yet.
            PycloudlibTimeoutError: the volume was not attached in time. It is deleted.
            CloudError: EC2 rejected the request; nothing is left.
        """
        checked_kind(size, drive_type, None, has_snapshot=False)
        self._require_attachable()
        with self._device_names.reserve(self._mapped_names) as device_name:
            volume_id = self._volumes.create(
                zone=self.availability_zone, size_gb=size, drive_type=drive_type, snapshot_id=snapshot_id, tags=tags
            )
            deadline = Deadline.after(VOLUME_TIMEOUT)
            try:
                self._volumes.wait_until_available(volume_id, deadline)
                attached = self._attach(volume_id, device_name, deadline)
            except BaseException:
                self._discard_or_log(volume_id)
                raise
        return self._volume(attached)

    def remove_volume(self, volume: Volume | str, timeout: float = 300.0) -> None:
        """Detach a volume and delete it (DetachVolume, DeleteVolume).

        Args:
            volume: the volume, or its id. The guest must not have mounted it.
            timeout: seconds to detach and delete the volume; default 300.

        Raises:
            InvalidArgumentError: the volume is not attached to this instance, or is its root volume.
            ResourceNotFoundError: the volume does not exist.
            PycloudlibTimeoutError: the volume was not detached or deleted in time; a NoResponseError if EC2 did not
                respond.
            CloudError: EC2 rejected the request.
        """
        deadline = Deadline.after(timeout)
        volume_id = volume.id if isinstance(volume, Volume) else volume
        attachment = self._volumes.describe(volume_id, deadline).attachment_to(self.id)
        if attachment is None:
            raise InvalidArgumentError(f"{volume_id} is not attached to {self.id}")
        if attachment.device_name == self._record(deadline).get("RootDeviceName"):
            raise InvalidArgumentError(f"{volume_id} is the root volume of {self.id}: it is deleted with the instance")
        self._volumes.detach(volume_id, self.id, deadline)
        self._volumes.delete(volume_id, deadline=deadline)

    def _volume(self, description: VolumeDescription) -> Volume:
        return Volume(description, self._volumes, self.execute)

    def _require_attachable(self) -> None:
        self._refuse_if_deleted("given a volume")
        state = self.state
        if state not in (InstanceState.RUNNING, InstanceState.STOPPED):
            raise self._state_error(f"it cannot be given a volume: it is {state}")

    def _attach(self, volume_id: str, device_name: str, deadline: Deadline) -> VolumeDescription:
        attach = partial(self._context.client.attach_volume, VolumeId=volume_id, InstanceId=self.id, Device=device_name)
        responded(ignore_already_attached(attach), what=f"attach {volume_id} to {self.id}", deadline=deadline)
        self._volumes.wait_until_attached(volume_id, self.id, deadline)
        self._delete_with_instance(device_name, deadline)
        logger.info("attached %s to %s as %s", volume_id, self.id, device_name)
        return self._volumes.describe(volume_id, deadline)

    def _delete_with_instance(self, device_name: str, deadline: Deadline) -> None:
        mapping: Any = [{"DeviceName": device_name, "Ebs": {"DeleteOnTermination": True}}]

        modify = partial(
            self._context.client.modify_instance_attribute, InstanceId=self.id, BlockDeviceMappings=mapping
        )
        what = f"set DeleteOnTermination of {device_name} at {self.id}"
        call_until_consistent(modify, what=what, codes=_NOT_MAPPED_YET, deadline=deadline)

    def _discard_or_log(self, volume_id: str) -> None:
        try:
            self._volumes.discard(volume_id)
        except PycloudlibError as error:
            logger.error("could not delete %s; clean() tries again: %s", volume_id, error)

    def _mapped_names(self) -> list[str]:
        return [mapping.get("DeviceName", "") for mapping in self._record().get("BlockDeviceMappings", [])]

    def _record(self, deadline: Deadline = NEVER) -> Mapping[str, Any]:
        def describe() -> Mapping[str, Any]:
            response = self._context.client.describe_instances(InstanceIds=[self.id])
            record: Mapping[str, Any] = response["Reservations"][0]["Instances"][0]
            return record

        return call_until_consistent(describe, what=f"describe {self.id}", deadline=deadline)


class _DeviceNames:
    """The device names of one instance. Concurrent attachments get different names."""

    def __init__(self) -> None:
        self._reserved: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def reserve(self, mapped: Callable[[], Collection[str]]) -> Iterator[str]:
        """Reserve a name while the context is active; afterward EC2 itself reports it as mapped."""
        with self._lock:
            name = _first_free({*mapped(), *self._reserved})
            self._reserved.add(name)
        try:
            yield name
        finally:
            with self._lock:
                self._reserved.discard(name)


def _first_free(taken: Collection[str]) -> str:
    letters = {match["letter"] for match in map(_DEVICE.fullmatch, taken) if match}
    free = (letter for letter in DEVICE_LETTERS if letter not in letters)
    letter = next(free, None)
    if letter is None:
        raise InvalidArgumentError(
            f"no device name is free: /dev/sd{DEVICE_LETTERS[0]} to /dev/sd{DEVICE_LETTERS[-1]} are all in use; "
            "remove_volume() frees one"
        )
    return f"/dev/sd{letter}"
