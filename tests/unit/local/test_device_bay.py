"""The slots of a machine, with devices that note what is done to them and a QEMU that is only a name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.device_bay import RNG_SLOT, SLOTS, DeviceBay
from pycloudlib.local.machines.qemu_devices import QemuDevice
from pycloudlib.local.machines.qmp import QMP

SOME_QEMU = cast("QMP", object())


class NotingDevice(QemuDevice):
    def __init__(self, resource_id: str, *, fault: Exception | None = None) -> None:
        super().__init__(resource_id)
        self.fault = fault
        self.done: list[Any] = []

    def arguments(self, slot: int) -> list[str]:
        return [f"{self.resource_id}@{slot}"]

    def plug(self, qmp: QMP, slot: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.done.append(("plug", slot))

    def unplug(self, qmp: QMP) -> None:
        self.done.append("unplug")

    def release(self, qmp: QMP) -> None:
        self.done.append("release")


class Owner:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def device_attached(self, device: QemuDevice) -> None:
        self.told.append(("attached", device.resource_id))

    def device_detached(self, device: QemuDevice) -> None:
        self.told.append(("detached", device.resource_id))

    def device_failed(self, resource_id: str, detail: str) -> None:
        self.told.append(("failed", detail))


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def bay(owner: Owner) -> Iterator[DeviceBay]:
    bay = DeviceBay(owner, "i-1")
    bay.fill(NotingDevice("root"), NotingDevice("primary"), [])
    yield bay
    bay.close()


def test_the_root_disk_and_the_primary_interface_have_the_first_slots(bay: DeviceBay) -> None:
    bay.fill(NotingDevice("root"), NotingDevice("primary"), [NotingDevice("data")])
    assert bay.arguments() == ["root@0", "primary@1", f"data@{RNG_SLOT + 1}"]


def test_a_device_for_a_machine_that_is_off_is_there_at_its_next_start(bay: DeviceBay, owner: Owner) -> None:
    data = NotingDevice("data")
    bay.attach(data)
    bay.catch_up()
    assert owner.told == [("attached", "data")]
    assert data.done == []
    assert "data@3" in bay.arguments()


def test_a_device_is_plugged_into_a_machine_that_runs(bay: DeviceBay, owner: Owner) -> None:
    data = NotingDevice("data")
    bay.arguments()
    bay.ready(SOME_QEMU)
    bay.attach(data)
    bay.catch_up()
    assert data.done == [("plug", 3)]
    assert owner.told == [("attached", "data")]


def test_a_device_that_is_asked_for_while_the_machine_starts_is_plugged_when_it_has(
    bay: DeviceBay, owner: Owner
) -> None:
    data = NotingDevice("data")
    bay.arguments()
    bay.attach(data)
    assert owner.told == []
    bay.ready(SOME_QEMU)
    bay.catch_up()
    assert data.done == [("plug", 3)]


def test_a_device_that_the_machine_was_started_with_meanwhile_is_not_plugged_again(
    bay: DeviceBay, owner: Owner
) -> None:
    data = NotingDevice("data")
    bay.hold()
    bay.attach(data)
    bay.fill(NotingDevice("root"), NotingDevice("primary"), [data])
    assert "data@3" in bay.arguments()
    bay.ready(SOME_QEMU)
    bay.catch_up()
    assert data.done == []
    assert owner.told == [("attached", "data")]


def test_what_was_asked_for_is_done_though_the_machine_goes(bay: DeviceBay) -> None:
    done = threading.Event()
    bay.hold()
    bay.do(lambda qmp: done.set())
    bay.close()
    assert done.wait(60)


def test_a_device_is_free_when_the_guest_has_let_go_of_it(bay: DeviceBay, owner: Owner) -> None:
    data = NotingDevice("data")
    bay.ready(SOME_QEMU)
    bay.attach(data)
    bay.detach("data")
    bay.catch_up()
    assert owner.told == [("attached", "data")]
    bay.deleted("dev-data")
    bay.catch_up()
    assert data.done == [("plug", 3), "unplug", "release"]
    assert owner.told[-1] == ("detached", "data")


def test_what_the_guest_was_asked_to_let_go_of_is_free_when_its_machine_ends(bay: DeviceBay, owner: Owner) -> None:
    bay.ready(SOME_QEMU)
    bay.attach(NotingDevice("data"))
    bay.detach("data")
    bay.catch_up()
    bay.ended()
    bay.catch_up()
    assert owner.told == [("attached", "data"), ("detached", "data")]
    assert bay.arguments() == ["root@0", "primary@1"]


def test_a_slot_is_kept_over_a_restart_and_given_away_after_a_detachment(bay: DeviceBay) -> None:
    bay.ready(SOME_QEMU)
    bay.attach(NotingDevice("first"))
    bay.attach(NotingDevice("second"))
    bay.catch_up()
    bay.ended()
    bay.detach("first")
    bay.catch_up()
    assert bay.arguments()[2:] == ["second@4"]
    bay.ended()
    bay.attach(NotingDevice("third"))
    bay.catch_up()
    assert bay.arguments()[2:] == ["second@4", "third@3"]


@pytest.mark.parametrize("fault", [MachineError("QEMU refused"), PermissionError("no such luck")])
def test_a_device_that_cannot_be_plugged_is_told_and_takes_no_slot(
    bay: DeviceBay, owner: Owner, fault: Exception
) -> None:
    bay.ready(SOME_QEMU)
    bay.attach(NotingDevice("data", fault=fault))
    bay.catch_up()
    assert owner.told == [("failed", str(fault))]
    bay.ended()
    assert bay.arguments() == ["root@0", "primary@1"]


def test_a_machine_without_a_free_slot_takes_no_more_devices(bay: DeviceBay, owner: Owner) -> None:
    for number in range(SLOTS - 3):
        bay.attach(NotingDevice(f"data{number}"))
    bay.attach(NotingDevice("one-too-many"))
    bay.catch_up()
    assert owner.told[-1] == ("failed", "no slot is free for one-too-many: a machine has 16")


def test_the_next_start_waits_for_what_is_being_done(bay: DeviceBay) -> None:
    begun, may_end, order = threading.Event(), threading.Event(), []

    def task(_: QMP | None) -> None:
        begun.set()
        may_end.wait(60)
        order.append("task")

    bay.do(task)
    assert begun.wait(60)
    starting = threading.Thread(target=lambda: order.extend(bay.arguments()))
    starting.start()
    starting.join(0.1)
    may_end.set()
    starting.join()
    assert order == ["task", "root@0", "primary@1"]


def test_detaching_what_is_not_there_changes_nothing(bay: DeviceBay, owner: Owner) -> None:
    bay.detach("data")
    bay.deleted("dev-data")
    bay.catch_up()
    assert owner.told == []


def test_a_task_that_fails_does_not_keep_the_next_one_from_being_done(bay: DeviceBay, owner: Owner) -> None:
    def fail(_: QMP | None) -> None:
        raise ZeroDivisionError

    bay.do(fail)
    bay.attach(NotingDevice("data"))
    bay.catch_up()
    assert owner.told == [("attached", "data")]
