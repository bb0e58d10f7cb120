"""What the records of every noun have in common: the cloud that they are part of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from pycloudlib.local.api import moto_adapter
from pycloudlib.local.api.models.instance_controller import InstanceController
from pycloudlib.local.api.models.instance_types import MachineSizes
from pycloudlib.local.api.models.records_lock import RecordsLock
from pycloudlib.local.api.moto_adapter import EC2Backend
from pycloudlib.local.api.shared_responses import SharedResponses
from pycloudlib.local.images.distributions import SELF
from pycloudlib.local.images.simulated import ImageSource
from pycloudlib.local.machines.driver import MachineDriver
from pycloudlib.local.storage.volumes import VolumeStore


@dataclass(frozen=True)
class LocalCloud:
    """What all regions and accounts of a server share.

    Args:
        driver: makes the machines.
        volumes: what is on the volumes.
        catalogue: the disk images.
        max_memory_mib: no machine gets more memory, whatever its instance type.
        max_cpus: nor more CPUs.
        spot_notice_seconds: from the notice of an interruption until the end of a spot instance.
        lock: held by whoever reads or changes EC2's records.
    """

    driver: MachineDriver
    volumes: VolumeStore
    catalogue: ImageSource
    max_memory_mib: int
    max_cpus: int
    spot_notice_seconds: float = 120.0
    lock: RecordsLock = field(default_factory=RecordsLock)

    @cached_property
    def sizes(self) -> MachineSizes:
        """The size of each instance type's machines."""
        return MachineSizes(self.max_memory_mib, self.max_cpus)

    @cached_property
    def shared_responses(self) -> SharedResponses:
        """The latest responses to requests that list records."""
        return SharedResponses(self.lock)


class LocalRecords(EC2Backend):
    """moto's records of one account in one region, with this server's cloud behind them."""

    cloud: ClassVar[LocalCloud]

    def __init__(self, region_name: str, account_id: str) -> None:
        self.controllers: dict[str, InstanceController] = {}
        super().__init__(region_name, account_id)


def known_regions() -> list[str]:
    """Return the names of all regions."""
    return moto_adapter.known_regions(SELF)
