"""The volume types and their limits.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import InvalidArgumentError


@dataclass(frozen=True)
class VolumeKind:
    """The limits of a volume type (CreateVolume).

    Args:
        sizes_gb: the minimum and maximum size in GiB.
        iops: the minimum and maximum IOPS; default none: the type has no such parameter.
        needs_iops: whether EC2 requires the IOPS; default no.
    """

    sizes_gb: tuple[int, int]
    iops: tuple[int, int] | None = None
    needs_iops: bool = False


KINDS = {
    "gp2": VolumeKind((1, 16384)),
    "gp3": VolumeKind((1, 65536), iops=(3000, 80000)),
    "io1": VolumeKind((4, 16384), iops=(100, 64000), needs_iops=True),
    "io2": VolumeKind((4, 65536), iops=(100, 256000), needs_iops=True),
    "st1": VolumeKind((125, 16384)),
    "sc1": VolumeKind((125, 16384)),
    "standard": VolumeKind((1, 1024)),
}
"""Keyed by EC2's name of the type."""


def checked_kind(size_gb: int | None, drive_type: str, iops: int | None, *, has_snapshot: bool) -> dict[str, Any]:
    """Return the parameters of CreateVolume for the volume type.

    Args:
        size_gb: GiB; None for the size of the snapshot.
        drive_type: one of KINDS.
        iops: IOPS; None for the type's minimum.
        has_snapshot: whether the volume is created from a snapshot.

    Raises:
        InvalidArgumentError: an argument is invalid; the message says what is allowed.
    """
    if drive_type not in KINDS:
        raise InvalidArgumentError(f"drive_type is {drive_type!r}; allowed are {', '.join(KINDS)}")
    kind = KINDS[drive_type]
    parameters: dict[str, Any] = {"VolumeType": drive_type}
    if size_gb is None and not has_snapshot:
        raise InvalidArgumentError("a volume needs a size or a snapshot")
    if size_gb is not None:
        _expect_within(f"the size of a volume of type {drive_type}", size_gb, kind.sizes_gb, "GiB")
        parameters["Size"] = size_gb
    if iops is not None:
        if kind.iops is None:
            raise InvalidArgumentError(f"a volume of type {drive_type} has no iops")
        _expect_within(f"iops of a volume of type {drive_type}", iops, kind.iops, "operations a second")
        parameters["Iops"] = iops
    elif kind.needs_iops and kind.iops is not None:
        parameters["Iops"] = kind.iops[0]
    return parameters


def _expect_within(what: str, number: object, limits: tuple[int, int], unit: str) -> None:
    # A bool is an int in Python, but not a valid size.
    if not isinstance(number, int) or isinstance(number, bool) or not limits[0] <= number <= limits[1]:
        raise InvalidArgumentError(f"{what} is {number!r}; it must be {limits[0]} to {limits[1]} {unit}")
