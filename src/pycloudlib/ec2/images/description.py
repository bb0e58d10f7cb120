"""The description of an AMI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pycloudlib.ec2.images.publishers import DEBIAN_DAILY_OWNER, DEBIAN_OWNER, UBUNTU_OWNERS
from pycloudlib.tags import USERNAME

_SERIAL = re.compile(r"-(\d{8}(?:\.\d+)?(?:-\d+$)?)(?:-|$)")
"""The build date in an image's name: "20240423", "20240423.1", or Debian's "20240423-1726"."""

DEFAULT_USERNAME = "ubuntu"

_USERNAMES_BY_OWNER = {
    **dict.fromkeys(UBUNTU_OWNERS, "ubuntu"),
    DEBIAN_OWNER: "admin",
    DEBIAN_DAILY_OWNER: "admin",
}

_USERNAMES_BY_NAME = {
    "ubuntu": "ubuntu",
    "debian-": "admin",
    "al20": "ec2-user",
    "amzn": "ec2-user",
    "RHEL-": "ec2-user",
    "suse-": "ec2-user",
    "AlmaLinux OS ": "ec2-user",
    "CentOS Stream ": "ec2-user",
    "Fedora-Cloud-Base-": "fedora",
    "Rocky-": "rocky",
}


@dataclass(frozen=True)
class ImageDescription:
    """The description of an AMI at one moment (DescribeImages).

    Args:
        image_id: the AMI id, such as "ami-0123456789abcdef0".
        name: the name; default empty.
        owner_id: the account that owns the image.
        state: "pending", "available" (launchable), "failed", ...
        state_reason: EC2's reason for the state; empty if EC2 gives none.
        creation_date: ISO 8601, UTC.
        architecture: "x86_64", "arm64", ...
        description: the description.
        root_device_name: the root device, such as "/dev/xvda"; empty if EC2 does not report it.
        root_size_gb: the size of the root volume in GiB, the minimum for a launch; 0 if EC2 does not report it.
        snapshot_ids: the ids of the image's snapshots.
        tags: the tags.
    """

    image_id: str
    name: str = ""
    owner_id: str = ""
    state: str = "available"
    state_reason: str = ""
    creation_date: str = ""
    architecture: str = ""
    description: str = ""
    root_device_name: str = ""
    root_size_gb: int = 0
    snapshot_ids: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ImageDescription:
        """Parse an image of a DescribeImages response."""
        root = record.get("RootDeviceName") or ""
        disks = {mapping.get("DeviceName"): mapping.get("Ebs", {}) for mapping in record.get("BlockDeviceMappings", [])}
        return cls(
            image_id=record["ImageId"],
            name=record.get("Name") or "",
            owner_id=record.get("OwnerId") or "",
            state=record.get("State") or "",
            state_reason=record.get("StateReason", {}).get("Message") or "",
            creation_date=record.get("CreationDate") or "",
            architecture=record.get("Architecture") or "",
            description=record.get("Description") or "",
            root_device_name=root,
            root_size_gb=disks.get(root, {}).get("VolumeSize") or 0,
            snapshot_ids=tuple(disk["SnapshotId"] for disk in disks.values() if disk.get("SnapshotId")),
            tags=MappingProxyType({tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}),
        )

    @property
    def id(self) -> str:
        """The AMI id, such as "ami-0123456789abcdef0"."""
        return self.image_id

    @property
    def username(self) -> str | None:
        """The login user, according to the tag of snapshot(), the image's owner, or its name; None if unknown."""
        if self.tags.get(USERNAME):
            return self.tags[USERNAME]
        if self.owner_id in _USERNAMES_BY_OWNER:
            return _USERNAMES_BY_OWNER[self.owner_id]
        users = (user for beginning, user in _USERNAMES_BY_NAME.items() if self.name.startswith(beginning))
        return next(users, None)

    @property
    def serial(self) -> str | None:
        """The build date in the name; None if the name has none."""
        match = _SERIAL.search(self.name)
        return match[1] if match else None
