"""EC2's volume types: their sizes, IOPS, and throughput.

See https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html
"""

from __future__ import annotations

from dataclasses import dataclass

from pycloudlib.local.api.moto_adapter import EC2ClientError

DEFAULT_VOLUME_TYPE = "gp2"


@dataclass(frozen=True)
class VolumeType:
    """The limits of a volume type.

    Args:
        size: the minimum and maximum size in GiB.
        iops: the minimum and maximum of a requested IOPS value; None if a request must not set it.
        iops_per_gb: the maximum IOPS per GiB.
        default_iops: the default IOPS; None if a request must set it, or if the type has none.
        throughput: the minimum and maximum of a requested throughput in MiB/s; None if a request must not set it.
    """

    size: tuple[int, int]
    iops: tuple[int, int] | None = None
    iops_per_gb: int = 0
    default_iops: int | None = None
    throughput: tuple[int, int] | None = None


VOLUME_TYPES = {
    "standard": VolumeType((1, 1024)),
    "gp2": VolumeType((1, 16384)),
    "gp3": VolumeType((1, 65536), (3000, 80000), 500, 3000, (125, 2000)),
    "io1": VolumeType((4, 16384), (100, 64000), 50),
    "io2": VolumeType((4, 65536), (100, 256000), 1000),
    "st1": VolumeType((125, 16384)),
    "sc1": VolumeType((125, 16384)),
}

_GP2_IOPS = (100, 16000)
_GP2_IOPS_PER_GB = 3
_THROUGHPUT_PER_IOPS = 0.25


@dataclass(frozen=True)
class Performance:
    """The performance of a volume.

    Args:
        volume_type: the volume type.
        iops: I/O operations per second; None if the type has none.
        throughput: MiB/s; None if the type has none.
    """

    volume_type: str
    iops: int | None
    throughput: int | None


def performance_of(volume_type: str, size_gb: int, iops: int | None, throughput: int | None) -> Performance:
    """Return the performance of a volume.

    Args:
        volume_type: the volume type.
        size_gb: the size in GiB.
        iops: the requested IOPS; None for the type's default.
        throughput: the requested throughput in MiB/s; None for the type's default.

    Raises:
        EC2ClientError: the type is unknown, or a value is beyond the limits of the type.
    """
    limits = VOLUME_TYPES.get(volume_type)
    if limits is None:
        raise _invalid(
            f"Value ({volume_type}) for parameter volumeType is invalid. Allowed values: {', '.join(VOLUME_TYPES)}"
        )
    _check_size(volume_type, limits, size_gb)
    checked_iops = _checked_iops(volume_type, limits, size_gb, iops)
    return Performance(volume_type, checked_iops, _checked_throughput(volume_type, limits, checked_iops, throughput))


def _check_size(volume_type: str, limits: VolumeType, size_gb: int) -> None:
    smallest, largest = limits.size
    if not smallest <= size_gb <= largest:
        too, bound = ("small", f"minimum is {smallest}") if size_gb < smallest else ("large", f"maximum is {largest}")
        raise _invalid(f"Volume of {size_gb}GiB is too {too} for volume type {volume_type}; {bound}GiB.")


def _checked_iops(volume_type: str, limits: VolumeType, size_gb: int, iops: int | None) -> int | None:
    if volume_type == "gp2" and iops is None:
        minimum, maximum = _GP2_IOPS
        return min(maximum, max(minimum, _GP2_IOPS_PER_GB * size_gb))
    if limits.iops is None:
        if iops is not None:
            raise EC2ClientError(
                "InvalidParameterCombination", f"The parameter iops is not supported for {volume_type} volumes."
            )
        return None
    requested = limits.default_iops if iops is None else iops
    if requested is None:
        raise EC2ClientError("MissingParameter", f"The parameter iops must be specified for {volume_type} volumes.")
    _check_limits(f"Volume iops of {requested}", requested, limits.iops)
    if iops is not None and requested > max(limits.default_iops or 0, size_gb * limits.iops_per_gb):
        raise _invalid(
            f"Iops to volume size ratio of {requested / size_gb:f} is too high; "
            f"maximum is {limits.iops_per_gb:f} iops per GiB."
        )
    return requested


def _checked_throughput(volume_type: str, limits: VolumeType, iops: int | None, throughput: int | None) -> int | None:
    if limits.throughput is None:
        if throughput is not None:
            raise EC2ClientError(
                "InvalidParameterCombination", f"The parameter throughput is not supported for {volume_type} volumes."
            )
        return None
    requested = limits.throughput[0] if throughput is None else throughput
    _check_limits(f"Volume throughput of {requested}", requested, limits.throughput)
    if requested > (iops or 0) * _THROUGHPUT_PER_IOPS:
        raise _invalid(
            f"Throughput (MiBps) to iops ratio of {requested / (iops or 1):f} is too high; "
            f"maximum is {_THROUGHPUT_PER_IOPS:f} MiBps per iops."
        )
    return requested


def _check_limits(subject: str, value: int, limits: tuple[int, int]) -> None:
    minimum, maximum = limits
    if value < minimum:
        raise _invalid(f"{subject} is too low; minimum is {minimum}.")
    if value > maximum:
        raise _invalid(f"{subject} is too high; maximum is {maximum}.")


def _invalid(reason: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", reason)
