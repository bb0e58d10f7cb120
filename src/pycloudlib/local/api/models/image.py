"""An AMI, backed by a disk image of the catalog or by snapshots."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from pycloudlib.local.api.models.block_devices import BlockDevice, RequestedDevices
from pycloudlib.local.api.models.snapshots import COPIED_FROM, LocalSnapshot
from pycloudlib.local.api.moto_adapter import Ami
from pycloudlib.local.images.catalog import Image
from pycloudlib.local.images.distributions import OWNER_ALIASES
from pycloudlib.local.machines.base import Kernel
from pycloudlib.local.machines.uefi_variables import UefiVariables
from pycloudlib.local.storage.volumes import BaseDisk

GIB = 1024**3
ROOT_VOLUME_TYPE = "gp3"


@dataclass(frozen=True)
class ImageOptions:
    """Options of CreateImage, RegisterImage, and CopyImage.

    Args:
        name: the name of the image.
        description: the description of the image.
        image_tags: tags of the image.
        snapshot_tags: tags of each snapshot of the image.
        devices: block device mappings that override the instance's.
        with_tags: whether a copy gets the tags of its source; default no.
    """

    name: str
    description: str
    image_tags: dict[str, str]
    snapshot_tags: dict[str, str]
    devices: RequestedDevices
    with_tags: bool = False


@dataclass(frozen=True)
class ImageTraits:
    """The machine properties that an image requires.

    Args:
        architecture: "x86_64", "i386" or "arm64".
        root_device_name: the name of the root device.
        boot_mode: "legacy-bios", "uefi", or "uefi-preferred"; None for unspecified.
        virtualization_type: "hvm" or "paravirtual"; default "hvm".
        ena_support: whether the guest supports the Elastic Network Adapter; default yes.
        imds_support: "v2.0" to require IMDSv2; None for unspecified.
        uefi_data: the initial UEFI variables of instances; None for none (default).
    """

    architecture: str
    root_device_name: str
    boot_mode: str | None
    virtualization_type: str = "hvm"
    ena_support: bool = True
    imds_support: str | None = None
    uefi_data: str | None = None

    @property
    def has_secure_boot(self) -> bool:
        """Whether instances have Secure Boot: the image has a platform key."""
        return self.uefi_data is not None and UefiVariables.from_uefi_data(self.uefi_data).has_platform_key


class LocalAmi(Ami):
    """An AMI whose volumes are snapshots in the server's store.

    Args:
        backend: the EC2 backend that records the image.
        image_id: the id of the image.
        name: the name of the image.
        description: the description of the image.
        traits: the machine properties that the image requires.
        devices: the volumes of the image, each with a snapshot and a size.
        owner_id: the account that owns the image; None for the backend's account.
        created: the creation time; None for now.
        public: whether all accounts have launch permission; default no.
    """

    def __init__(
        self,
        backend: Any,
        image_id: str,
        *,
        name: str,
        description: str,
        traits: ImageTraits,
        devices: Iterable[BlockDevice],
        owner_id: str | None = None,
        created: datetime | None = None,
        public: bool = False,
    ) -> None:
        owner = owner_id or backend.account_id
        self._disabled = False
        self.platform_details, self.usage_operation = "Linux/UNIX", "RunInstances"
        self.deregistration_protection = "disabled"
        super().__init__(
            _without_snapshots(owner),
            image_id,
            name=name,
            description=description,
            owner_id=owner,
            public=public,
            virtualization_type=traits.virtualization_type,
            architecture=traits.architecture,
            creation_date=created,
            image_location=f"{owner}/{name}",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=traits.root_device_name,
            boot_mode=traits.boot_mode,  # type: ignore[arg-type]  # moto hands it on
        )
        self.ec2_backend = backend
        self.traits = traits
        self.devices = tuple(devices)
        self.ena_support = traits.ena_support
        self.imds_support = traits.imds_support
        self.uefi_data = traits.uefi_data
        self.deprecation_time: str | None = None
        self.source_image_id: str | None = None
        self.source_image_region: str | None = None

    @property
    def state(self) -> str:
        """The image state: pending until all snapshots are completed, failed if one failed."""
        states = {snapshot.status for snapshot in self._snapshots()}
        if "error" in states:
            return "failed"
        if "pending" in states:
            return "pending"
        return "disabled" if self._disabled else "available"

    @state.setter
    def state(self, state: str) -> None:
        self._disabled = state == "disabled"

    @property
    def state_reason(self) -> dict[str, str] | None:
        """The reason for a failure; None without one."""
        failed = next((snapshot for snapshot in self._snapshots() if snapshot.status == "error"), None)
        if failed is None:
            return None
        return {"Code": "Server.InternalError", "Message": failed.state_message or "a snapshot failed"}

    @property
    def snapshot_ids(self) -> tuple[str, ...]:
        """The ids of the image's snapshots."""
        return tuple(device.snapshot_id for device in self.devices if device.snapshot_id)

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The block device mappings, as DescribeImages returns them."""
        return [device.described() for device in self.devices]

    @property
    def is_deprecated(self) -> bool:
        """Whether the deprecation time has passed."""
        if self.deprecation_time is None:
            return False
        return as_time(self.deprecation_time) <= datetime.now(timezone.utc)

    def _snapshots(self) -> list[LocalSnapshot]:
        snapshots = self.ec2_backend.snapshots
        return [snapshots[snapshot_id] for snapshot_id in self.snapshot_ids if snapshot_id in snapshots]


class CatalogueAmi(LocalAmi):
    """An AMI whose disk is a disk image of the catalog.

    Args:
        backend: the EC2 backend that records the AMI.
        image: the disk image.
    """

    def __init__(self, backend: Any, image: Image) -> None:
        size_gb = max(1, math.ceil(image.virtual_size / GIB))
        snapshot_id = f"snap-{image.image_id.removeprefix('ami-')}"
        root = BlockDevice(image.root_device_name, size_gb, snapshot_id, ROOT_VOLUME_TYPE, delete_on_termination=True)
        super().__init__(
            backend,
            image.image_id,
            name=image.name,
            description=image.description,
            traits=ImageTraits(
                image.architecture, image.root_device_name, image.boot_mode, uefi_data=image.uefi_data or None
            ),
            devices=[root],
            owner_id=image.owner_id,
            created=datetime.strptime(image.creation_date, "%Y-%m-%dT%H:%M:%S.%fZ"),
            public=True,
        )
        self.deprecation_time = image.deprecation_time or None
        self.owner_alias = OWNER_ALIASES.get(image.owner_id)
        backend.cloud.volumes.offer(snapshot_id, BaseDisk(image.disk, image.format))
        backend.snapshots[snapshot_id] = LocalSnapshot(
            backend,
            snapshot_id,
            volume_id=COPIED_FROM,
            size_gb=size_gb,
            description=f"Snapshot of {image.name}",
            kernel=_kernel(image),
            owner_id=image.owner_id,
            status="completed",
        )


def _kernel(image: Image) -> Kernel | None:
    if image.kernel is None:
        return None
    return Kernel(
        image.kernel,
        image.initrd,
        image.kernel_arguments,
        image.warm_initrd,
        image.user_mode_arguments,
        same_as=image.disk if image.has_boot_loader else None,
    )


def as_time(text: str) -> datetime:
    """Parse a timestamp in EC2's format."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _without_snapshots(account_id: str) -> Any:
    """Return a stub backend that keeps moto's Ami from creating a volume and a snapshot."""
    return SimpleNamespace(
        account_id=account_id,
        create_volume=lambda **_: SimpleNamespace(id=""),
        create_snapshot=lambda *_, **__: None,
        delete_volume=lambda _: None,
    )
