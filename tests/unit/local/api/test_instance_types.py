"""Instance types, and the size of the machines that stand for them."""

from __future__ import annotations

import pytest

from pycloudlib.local.api.models.instance_types import MachineSizes, all_types, cpu_options, describe_type, disk_bus
from pycloudlib.local.machines.base import DiskBus


@pytest.fixture
def sizes() -> MachineSizes:
    return MachineSizes(max_memory_mib=4096, max_cpus=3)


@pytest.mark.parametrize(
    ("instance_type", "cpu", "expected"),
    [
        ("t3.small", {}, (2048, 2)),
        ("t3.small", {"CoreCount": 1, "ThreadsPerCore": 1}, (2048, 1)),
        ("m5.2xlarge", {}, (4096, 3)),
        ("m5.2xlarge", {"CoreCount": 2, "ThreadsPerCore": 1}, (4096, 2)),
        (None, {}, (1740, 1)),
    ],
)
def test_machine_has_the_types_size_up_to_the_limits(
    sizes: MachineSizes, instance_type: str | None, cpu: dict[str, int], expected: tuple[int, int]
) -> None:
    assert sizes.size(instance_type, cpu_options(instance_type, cpu)) == expected


@pytest.mark.parametrize(
    ("instance_type", "cpus", "memory_gib"),
    [("i3.metal", 72, 512), ("u-24tb1.112xlarge", 448, 24576), ("g4ad.xlarge", 4, 16), ("m9g.metal-24xl", 96, 384)],
)
def test_types_that_only_botocore_names_have_their_size(instance_type: str, cpus: int, memory_gib: int) -> None:
    described = describe_type(instance_type)
    assert described["VCpuInfo"]["DefaultVCpus"] == cpus
    assert described["MemoryInfo"]["SizeInMiB"] == memory_gib * 1024


def test_every_type_has_what_a_launch_asks_for() -> None:
    for name in all_types():
        cpu = cpu_options(name, {})
        assert cpu["CoreCount"] * cpu["ThreadsPerCore"] == describe_type(name)["VCpuInfo"]["DefaultVCpus"]
        assert describe_type(name)["ProcessorInfo"]["SupportedArchitectures"]


@pytest.mark.parametrize(
    ("instance_type", "bus"),
    [
        ("t3.micro", DiskBus.NVME),
        ("m5.metal", DiskBus.NVME),
        ("i3.metal", DiskBus.NVME),
        ("t2.small", DiskBus.VIRTIO),
        ("i3.large", DiskBus.VIRTIO),
        ("p3.2xlarge", DiskBus.VIRTIO),
        (None, DiskBus.VIRTIO),
    ],
)
def test_volumes_are_nvme_disks_on_nitro_only(instance_type: str | None, bus: DiskBus) -> None:
    assert disk_bus(instance_type) is bus
    assert (describe_type(instance_type).get("Hypervisor") == "xen") is (bus is DiskBus.VIRTIO)
