"""What the records of every noun have in common: the cloud that they are part of."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import ClassVar

from moto.ec2.models import EC2Backend

from pycloudlib.local.machines.base import MachineDriver
from pycloudlib.local.models.life import InstanceLife
from pycloudlib.local.simulated_images import ImageSource
from pycloudlib.local.storage import VolumeStore


@dataclass(frozen=True)
class LocalCloud:
    """What all regions and accounts of a server share.

    Args:
        driver: makes the machines.
        volumes: what is on the volumes.
        catalogue: the disk images.
        max_memory_mib: no machine gets more memory, whatever its instance type.
        max_cpus: nor more CPUs.
        lock: held by whoever reads or changes EC2's records.
    """

    driver: MachineDriver
    volumes: VolumeStore
    catalogue: ImageSource
    max_memory_mib: int
    max_cpus: int
    lock: threading.RLock = field(default_factory=threading.RLock)


class LocalRecords(EC2Backend):
    """moto's records of one account in one region, with this server's cloud behind them."""

    cloud: ClassVar[LocalCloud]

    def __init__(self, region_name: str, account_id: str) -> None:
        self.lives: dict[str, InstanceLife] = {}
        super().__init__(region_name, account_id)
