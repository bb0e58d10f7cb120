from __future__ import annotations

import pytest

from pycloudlib.ec2.storage.kinds import KINDS, checked_kind
from pycloudlib.errors import InvalidArgumentError


@pytest.mark.parametrize("drive_type", KINDS)
def test_the_smallest_and_the_largest_size_of_each_type_are_taken_and_no_other(drive_type: str) -> None:
    least, most = KINDS[drive_type].sizes_gb
    for size in (least, most):
        assert checked_kind(size, drive_type, None, has_snapshot=False)["Size"] == size
    for size in (least - 1, most + 1):
        with pytest.raises(
            InvalidArgumentError, match=f"type {drive_type} is {size}; it must be {least} to {most} GiB"
        ):
            checked_kind(size, drive_type, None, has_snapshot=False)


@pytest.mark.parametrize("drive_type", KINDS)
def test_types_that_need_iops_get_the_fewest(drive_type: str) -> None:
    parameters = checked_kind(200, drive_type, None, has_snapshot=False)
    assert parameters.get("Iops") == (100 if drive_type in ("io1", "io2") else None)


def test_iops_are_taken_where_the_type_has_them() -> None:
    assert checked_kind(8, "gp3", 4000, has_snapshot=False)["Iops"] == 4000
    with pytest.raises(InvalidArgumentError, match="type gp2 has no iops"):
        checked_kind(8, "gp2", 4000, has_snapshot=False)
    with pytest.raises(InvalidArgumentError, match="iops of a volume of type gp3 is 10; it must be 3000 to 80000"):
        checked_kind(8, "gp3", 10, has_snapshot=False)


def test_without_a_size_a_snapshot_is_needed() -> None:
    assert "Size" not in checked_kind(None, "gp2", None, has_snapshot=True)
    with pytest.raises(InvalidArgumentError, match="needs a size"):
        checked_kind(None, "gp2", None, has_snapshot=False)


@pytest.mark.parametrize("size", [True, 8.0, "8"])
def test_a_size_is_a_whole_number(size: object) -> None:
    with pytest.raises(InvalidArgumentError, match="it must be 1 to 16384 GiB"):
        checked_kind(size, "gp2", None, has_snapshot=False)
