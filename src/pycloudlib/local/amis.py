"""The AMIs that stand for the disk images of the catalogue."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from moto.ec2.models.amis import Ami

from pycloudlib.local.images import Image
from pycloudlib.local.machines.base import BootSource

GIB = 1024**3
ROOT_VOLUME_TYPE = "gp3"


class CatalogueAmi(Ami):
    """An AMI whose disk is an image of the catalogue.

    Args:
        backend: the EC2 backend that offers it.
        image: the image.
    """

    def __init__(self, backend: Any, image: Image) -> None:
        super().__init__(
            backend,
            image.image_id,
            name=image.name,
            description=image.description,
            owner_id=image.owner_id,
            public=True,
            virtualization_type="hvm",
            architecture=image.architecture,
            creation_date=datetime.strptime(image.creation_date, "%Y-%m-%dT%H:%M:%S.%fZ"),
            image_location=f"{image.owner_id}/{image.name}",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=image.root_device_name,
            region_name=f"{backend.region_name}a",
            boot_mode="legacy-bios",
        )
        self.size_gb = max(1, math.ceil(image.virtual_size / GIB))
        self.boot_source = BootSource(
            disk=image.disk,
            format=image.format,
            kernel=image.kernel,
            initrd=image.initrd,
            kernel_arguments=image.kernel_arguments,
        )

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The root volume, as large as the image."""
        return [
            {
                "DeviceName": self.root_device_name,
                "Ebs": {
                    "SnapshotId": self.ebs_snapshot.id,
                    "VolumeSize": self.size_gb,
                    "DeleteOnTermination": True,
                    "VolumeType": ROOT_VOLUME_TYPE,
                    "Encrypted": False,
                },
            }
        ]
