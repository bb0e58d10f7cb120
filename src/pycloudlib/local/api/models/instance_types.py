"""Instance types: EC2's descriptions of them, and the sizes of their machines.

moto has EC2's own descriptions of almost all types. This module describes the rest of botocore's types, as far as a
launch needs it.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from botocore.model import StringShape

from pycloudlib.local.api.moto_adapter import INSTANCE_TYPES, EC2ClientError, add_instance_type, get_service_model
from pycloudlib.local.machines.base import DiskBus

logger = logging.getLogger(__name__)

DEFAULT_INSTANCE_TYPE = "m1.small"
"""The instance type of a RunInstances request without InstanceType."""

# https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html
_FURTHER = {
    "cc1.4xlarge": (16, 23.0),
    "cc2.8xlarge": (32, 60.5),
    "cg1.4xlarge": (16, 22.5),
    "cr1.8xlarge": (32, 244.0),
    "dl1.24xlarge": (96, 768.0),
    "f1.2xlarge": (8, 122.0),
    "f1.4xlarge": (16, 244.0),
    "f1.16xlarge": (64, 976.0),
    "g2.2xlarge": (8, 15.0),
    "g2.8xlarge": (32, 60.0),
    "g3.4xlarge": (16, 122.0),
    "g3.8xlarge": (32, 244.0),
    "g3.16xlarge": (64, 488.0),
    "g3s.xlarge": (4, 30.5),
    "g4ad.xlarge": (4, 16.0),
    "g4ad.2xlarge": (8, 32.0),
    "g4ad.4xlarge": (16, 64.0),
    "g4ad.8xlarge": (32, 128.0),
    "g4ad.16xlarge": (64, 256.0),
    "hi1.4xlarge": (16, 60.5),
    "hs1.8xlarge": (16, 117.0),
    "i3.metal": (72, 512.0),
    "m9g.metal-24xl": (96, 384.0),
    "m9gd.metal-24xl": (96, 384.0),
    "p2.xlarge": (4, 61.0),
    "p2.8xlarge": (32, 488.0),
    "p2.16xlarge": (64, 732.0),
    "p3.2xlarge": (8, 61.0),
    "p3.8xlarge": (32, 244.0),
    "p3.16xlarge": (64, 488.0),
    "p6e-gb200.36xlarge": (144, 960.0),
    "u-6tb1.metal": (448, 6144.0),
    "u-9tb1.112xlarge": (448, 9216.0),
    "u-12tb1.112xlarge": (448, 12288.0),
    "u-18tb1.112xlarge": (448, 18432.0),
    "u-24tb1.112xlarge": (448, 24576.0),
    "u-9tb1.metal": (448, 9216.0),
    "u-12tb1.metal": (448, 12288.0),
    "u-18tb1.metal": (448, 18432.0),
    "u-24tb1.metal": (448, 24576.0),
    "u7ib-12tb.224xlarge": (896, 12288.0),
    "u7inh-32tb.480xlarge": (1920, 32768.0),
}
"""The number of vCPUs, and the memory in GiB, of the types that moto lacks."""

_XEN_FAMILIES = {"cc1", "cc2", "cg1", "cr1", "f1", "g2", "g3", "g3s", "hi1", "hs1", "p2", "p3"}
"""The families of `_FURTHER` on Xen. https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-nitro-instances.html"""

_PATTERN_TYPES = {False: "m5.large", True: "m6g.large"}
"""The types whose descriptions serve as patterns for the missing ones; True for arm64."""

_SIZES = {"nano": 2, "micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4}
_ARM_FAMILY = re.compile(r"(a1|t4g|[a-z]+[0-9]+g[a-z]*|.*-gb[0-9]+)")
_MIB = 1024
_DEFAULT_GIB_PER_CPU = 4.0
_METAL_CPUS = 96


@cache
def add_further_types() -> None:
    """Add descriptions of the types that botocore names and moto lacks. Call it before the first request."""
    for name in sorted(named_by_botocore() - set(INSTANCE_TYPES)):
        add_instance_type(name, _description(name))


def named_by_botocore() -> frozenset[str]:
    """Return the names of all instance types in botocore's model."""
    shape = get_service_model("ec2").shape_for("InstanceType")
    assert isinstance(shape, StringShape)  # noqa: S101  (so says EC2's model)
    return frozenset(shape.enum)


def all_types() -> Collection[str]:
    """Return the names of all instance types."""
    add_further_types()
    return INSTANCE_TYPES.keys()


def describe_type(instance_type: str | None) -> Mapping[str, Any]:
    """Return EC2's description of an instance type; None for the default type.

    Raises:
        EC2ClientError: the type is unknown (InvalidParameterValue).
    """
    add_further_types()
    description: Mapping[str, Any] | None = INSTANCE_TYPES.get(instance_type or DEFAULT_INSTANCE_TYPE)
    if description is None:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
    return description


def check_architecture(instance_type: str | None, architecture: str) -> None:
    """Reject an instance type that does not support the architecture of an image.

    Raises:
        EC2ClientError: the architectures do not match (InvalidParameterValue).
    """
    supported = describe_type(instance_type)["ProcessorInfo"]["SupportedArchitectures"]
    if architecture in supported:
        return
    raise EC2ClientError(
        "InvalidParameterValue",
        f"The architecture '{','.join(supported)}' of the specified instance type does not match the architecture "
        f"'{architecture}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, "
        "and try again. You can use 'describe-instance-types' or 'describe-images' to discover the architecture of the "
        "instance type or AMI.",
    )


def disk_bus(instance_type: str | None) -> DiskBus:
    """Return the disk bus of an instance type's machines; None for the default type.

    EBS volumes are NVMe devices on Nitro only.
    https://docs.aws.amazon.com/ebs/latest/userguide/nvme-ebs-volumes.html
    """
    on_nitro = describe_type(instance_type)["EbsInfo"]["NvmeSupport"] == "required"
    return DiskBus.NVME if on_nitro else DiskBus.VIRTIO


def cpu_options(instance_type: str | None, requested: Mapping[str, Any]) -> dict[str, int]:
    """Return the CoreCount and ThreadsPerCore of an instance.

    Args:
        instance_type: the instance type; None for the default type.
        requested: CpuOptions of the request, with both members or none.

    Raises:
        EC2ClientError: one member is missing (InvalidParameterCombination), or the type does not support a value
            (InvalidParameterValue).
    """
    cpus = describe_type(instance_type)["VCpuInfo"]
    threads = int(cpus.get("DefaultThreadsPerCore", 1))
    cores = int(cpus.get("DefaultCores", max(1, int(cpus["DefaultVCpus"]) // threads)))
    if not requested:
        return {"CoreCount": cores, "ThreadsPerCore": threads}
    if requested.get("CoreCount") is None or requested.get("ThreadsPerCore") is None:
        raise EC2ClientError("InvalidParameterCombination", "CpuOptions must have both CoreCount and ThreadsPerCore")
    for name, valid in (
        ("CoreCount", cpus.get("ValidCores", [cores])),
        ("ThreadsPerCore", cpus.get("ValidThreadsPerCore", [threads])),
    ):
        if int(requested[name]) not in valid:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Invalid value '{requested[name]}' for CpuOptions.{name}. Valid for {instance_type}: "
                f"{', '.join(str(count) for count in valid)}",
            )
    return {"CoreCount": int(requested["CoreCount"]), "ThreadsPerCore": int(requested["ThreadsPerCore"])}


class MachineSizes:
    """The size of each instance type's machines: that of the type, capped at a limit.

    Args:
        max_memory_mib: the limit of memory in MiB.
        max_cpus: the limit of virtual CPUs.
    """

    def __init__(self, max_memory_mib: int, max_cpus: int) -> None:
        self._max_memory_mib = max_memory_mib
        self._max_cpus = max_cpus
        self._reported: set[str] = set()

    def size(self, instance_type: str | None, cpu: Mapping[str, int]) -> tuple[int, int]:
        """Return the memory in MiB and the number of CPUs; log once per type if the limits apply.

        Args:
            instance_type: the instance type; None for the default type.
            cpu: CoreCount and ThreadsPerCore.
        """
        memory_mib = int(describe_type(instance_type)["MemoryInfo"]["SizeInMiB"])
        cpus = cpu["CoreCount"] * cpu["ThreadsPerCore"]
        capped = min(memory_mib, self._max_memory_mib), min(cpus, self._max_cpus)
        name = instance_type or DEFAULT_INSTANCE_TYPE
        if capped != (memory_mib, cpus) and name not in self._reported:
            self._reported.add(name)
            logger.info(
                "%s has %d MiB and %d CPUs on EC2; its machines have %d MiB and %d CPUs here",
                name,
                memory_mib,
                cpus,
                *capped,
            )
        return capped


def _description(name: str) -> dict[str, Any]:
    family, _, size = name.partition(".")
    arm = _ARM_FAMILY.fullmatch(family) is not None
    cpus, memory_gib = _FURTHER.get(name) or _guessed(size)
    threads = 1 if arm else 2
    cores = max(1, cpus // threads)
    description: dict[str, Any] = copy.deepcopy(INSTANCE_TYPES[_PATTERN_TYPES[arm]])
    if family in _XEN_FAMILIES:
        description["Hypervisor"] = "xen"
        description["EbsInfo"]["NvmeSupport"] = "unsupported"
    return {
        **description,
        "InstanceType": name,
        "BareMetal": "metal" in size,
        "MemoryInfo": {"SizeInMiB": int(memory_gib * _MIB)},
        "VCpuInfo": {
            "DefaultVCpus": cpus,
            "DefaultCores": cores,
            "DefaultThreadsPerCore": threads,
            "ValidCores": list(range(2, cores + 1, 2)) or [1],
            "ValidThreadsPerCore": list(range(1, threads + 1)),
        },
    }


def _guessed(size: str) -> tuple[int, float]:
    """Guess the vCPUs and the memory in GiB of a type that only botocore knows."""
    number = re.search(r"([0-9]+)xl", size)
    cpus = 4 * int(number[1]) if number else _SIZES.get(size, _METAL_CPUS)
    return cpus, cpus * _DEFAULT_GIB_PER_CPU
