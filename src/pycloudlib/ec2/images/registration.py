"""Creation of an image from the snapshot of a root volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.images.catalogue import IMAGE_TIMEOUT, Images
from pycloudlib.ec2.storage.snapshots import Snapshot
from pycloudlib.errors import InvalidArgumentError

ARCHITECTURES = ("x86_64", "arm64", "i386")
BOOT_MODES = ("legacy-bios", "uefi", "uefi-preferred")


@dataclass(frozen=True)
class Registration:
    """The options for creating an image from a snapshot (RegisterImage). See `EC2.register_image()`.

    Raises:
        InvalidArgumentError: the architecture or the boot mode is unknown.
    """

    name: str
    description: str = ""
    architecture: str = "x86_64"
    root_device_name: str = "/dev/xvda"
    ena: bool = True
    boot_mode: str | None = None
    uefi_data: str | None = None
    tags: Mapping[str, str] | None = None
    timeout: float = IMAGE_TIMEOUT

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise InvalidArgumentError(f"architecture is {self.architecture!r}; allowed are {', '.join(ARCHITECTURES)}")
        if self.boot_mode is not None and self.boot_mode not in BOOT_MODES:
            raise InvalidArgumentError(f"boot_mode is {self.boot_mode!r}; allowed are {', '.join(BOOT_MODES)}")

    def of(self, snapshot: Snapshot | str, images: Images) -> str:
        """Create the image, and wait until it is available; delete it if it is not available in time.

        Args:
            snapshot: the snapshot, or its id.
            images: the images of the snapshot's region.

        Returns:
            The AMI id.

        Raises:
            InvalidArgumentError: an argument is invalid.
            ResourceNotFoundError: the snapshot does not exist.
            IllegalStateError: the snapshot is not completed, or the image failed.
            CloudError: EC2 rejected the request.
        """
        deadline = Deadline.after(self.timeout)
        snapshot_id = snapshot.id if isinstance(snapshot, Snapshot) else snapshot
        completed = images.snapshots.completed(snapshot_id, deadline)
        image_id = images.register(self.name, self.description, self.tags, self._parameters(completed.id), deadline)
        images.wait_or_delete(image_id, deadline)
        return image_id

    def _parameters(self, snapshot_id: str) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "Architecture": self.architecture,
            "RootDeviceName": self.root_device_name,
            "VirtualizationType": "hvm",
            "EnaSupport": self.ena,
            "BlockDeviceMappings": [{"DeviceName": self.root_device_name, "Ebs": {"SnapshotId": snapshot_id}}],
        }
        if self.boot_mode is not None:
            parameters["BootMode"] = self.boot_mode
        if self.uefi_data is not None:
            parameters["UefiData"] = self.uefi_data
        return parameters
