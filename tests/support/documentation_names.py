"""The names that the documentation's blocks of Python use without defining them, with their types."""

from typing import Any

from pycloudlib import EC2, VPC, EC2Instance, Fleet, ImageType, KeyPair
from pycloudlib.ec2.storage.snapshots import Snapshot
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.errors import BootTimeoutError, FleetError
from pycloudlib.local import LocalEC2

ec2: EC2
fis: Any
fleet: Fleet
follower: EC2Instance
image_id: str
instance: EC2Instance
leader: EC2Instance
local: LocalEC2
snapshot: Snapshot
volume: Volume
vpc: VPC

__all__ = [
    "EC2",
    "VPC",
    "BootTimeoutError",
    "EC2Instance",
    "Fleet",
    "FleetError",
    "ImageType",
    "KeyPair",
    "LocalEC2",
    "ec2",
    "fis",
    "fleet",
    "follower",
    "image_id",
    "instance",
    "leader",
    "local",
    "snapshot",
    "volume",
    "vpc",
]
