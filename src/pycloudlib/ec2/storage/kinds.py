"""The types of volumes, and what each of them allows.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import InvalidArgumentError


@dataclass(frozen=True)
class VolumeKind:
    """What CreateVolume allows for one type of volumes.

    Args:
        sizes_gb: from how many GiB to how many.
        iops: from how many operations a second to how many; None where they cannot be chosen.
        needs_iops: whether EC2 wants to be told how many.
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
"""By the name that EC2 has for them."""


def checked_kind(size_gb: int | None, drive_type: str, iops: int | None, *, has_snapshot: bool) -> dict[str, Any]:
    """Give the parameters of CreateVolume that say what kind of volume is meant.

    Args:
        size_gb: GiB; None for those of the snapshot.
        drive_type: one of KINDS.
        iops: operations a second; None for as few as the type allows.
        has_snapshot: whether it is made of a snapshot.

    Raises:
        InvalidArgumentError: EC2 would refuse one of them; says what is allowed.
    """
    if drive_type not in KINDS:
        raise InvalidArgumentError(f"drive_type is {drive_type!r}; allowed are {', '.join(KINDS)}")
    kind = KINDS[drive_type]
    parameters: dict[str, Any] = {"VolumeType": drive_type}
    if size_gb is None and not has_snapshot:
        raise InvalidArgumentError("a volume needs a size, or a snapshot that it is made of")
    if size_gb is not None:
        _expect_within(f"the size of a volume of type {drive_type}", size_gb, kind.sizes_gb, "GiB")
        parameters["Size"] = size_gb
    if iops is not None:
        if kind.iops is None:
            raise InvalidArgumentError(f"a volume of type {drive_type} takes no iops")
        _expect_within(f"iops of a volume of type {drive_type}", iops, kind.iops, "operations a second")
        parameters["Iops"] = iops
    elif kind.needs_iops and kind.iops is not None:
        parameters["Iops"] = kind.iops[0]
    return parameters


def _expect_within(what: str, number: object, limits: tuple[int, int], unit: str) -> None:
    # A bool is an int for Python, but nobody's size.
    if not isinstance(number, int) or isinstance(number, bool) or not limits[0] <= number <= limits[1]:
        raise InvalidArgumentError(f"{what} is {number!r}; it must be {limits[0]} to {limits[1]} {unit}")
