"""The base of all records classes: the cloud that the records are part of."""

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
    """The state that all regions and accounts of a server share.

    Args:
        driver: creates the machines.
        volumes: stores the contents of the volumes.
        catalogue: the disk images.
        max_memory_mib: upper limit of a machine's memory in MiB, whatever its instance type.
        max_cpus: upper limit of a machine's CPUs, whatever its instance type.
        spot_notice_seconds: seconds between an interruption notice and the interruption; default 120.
        lock: guards EC2's records; every reader and writer holds it.
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
        """The latest responses to requests that describe records."""
        return SharedResponses(self.lock)


class LocalRecords(EC2Backend):
    """moto's records of one account in one region, backed by this server's cloud."""

    cloud: ClassVar[LocalCloud]

    def __init__(self, region_name: str, account_id: str) -> None:
        self.controllers: dict[str, InstanceController] = {}
        super().__init__(region_name, account_id)


def known_regions() -> list[str]:
    """Return the names of all regions."""
    return moto_adapter.known_regions(SELF)
