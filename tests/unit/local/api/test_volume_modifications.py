"""The progress of ModifyVolume, which takes a while on EC2."""

from __future__ import annotations

from typing import Any

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.moto_adapter import EC2ClientError
from pycloudlib.waiting import wait_until

LONG = 3600.0
SHORT = 0.3


@pytest.fixture
def volume(records: LocalEC2Backend) -> Any:
    return records.create_volume(2, "us-east-1a")


def test_growing_volume_is_optimized_in_its_new_size(records: LocalEC2Backend, volume: Any) -> None:
    records.cloud.driver.optimize_seconds = LONG
    records.modify_volume(volume.id, target_size=3)
    (modification,) = records.describe_volumes_modifications([volume.id])
    assert (volume.size, modification.modification_state) == (3, "optimizing")
    assert modification.progress < 100
    assert modification.end_time is None


def test_volume_that_is_optimized_cannot_be_modified(records: LocalEC2Backend, volume: Any) -> None:
    records.cloud.driver.optimize_seconds = LONG
    records.modify_volume(volume.id, target_volume_type="gp3")
    with pytest.raises(EC2ClientError) as refused:
        records.modify_volume(volume.id, target_size=3)
    assert refused.value.code == "IncorrectModificationState"


def test_progress_rises_until_completed(records: LocalEC2Backend, volume: Any) -> None:
    records.cloud.driver.optimize_seconds = SHORT
    records.modify_volume(volume.id, target_size=3)
    (modification,) = records.describe_volumes_modifications([volume.id])
    seen = []

    def completed() -> bool:
        seen.append(modification.progress)
        return modification.modification_state == "completed"

    wait_until(completed, what="the modification", deadline=Deadline.after(60), interval=0.01)
    assert seen == sorted(seen)
    assert modification.progress == 100
    assert modification.end_time > modification.start_time
