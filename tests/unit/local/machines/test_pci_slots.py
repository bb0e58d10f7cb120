"""The slots of a machine, with devices that note what is done to them and a QEMU that is only a name."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.hardware import HardwareOffError
from pycloudlib.local.machines.pci_slots import RNG_SLOT, SLOTS, PciSlots
from pycloudlib.local.machines.qemu_devices import QemuDevice
from pycloudlib.local.machines.qmp import QMP

SOME_QEMU = cast("QMP", object())


class NotingDevice(QemuDevice):
    def __init__(
        self, resource_id: str, *, faults: dict[str, Exception] | None = None, can_disconnect: bool = True
    ) -> None:
        super().__init__(resource_id)
        self.can_disconnect = can_disconnect
        self.faults = faults or {}
        self.done: list[Any] = []

    def _note(self, what: str) -> None:
        if what.split("@", maxsplit=1)[0] in self.faults:
            raise self.faults[what.split("@", maxsplit=1)[0]]
        self.done.append(what)

    def arguments(self, slot: int) -> list[str]:
        return [f"{self.resource_id}@{slot}"]

    def plug(self, qmp: QMP, slot: int) -> None:
        self._note(f"plug@{slot}")

    def unplug(self, qmp: QMP) -> None:
        self._note("unplug")

    def release(self, qmp: QMP) -> None:
        self._note("release")


@pytest.fixture
def slots() -> PciSlots:
    slots = PciSlots()
    slots.fill(NotingDevice("root"), NotingDevice("primary"), [])
    return slots


def test_root_disk_and_primary_interface_have_the_first_slots(slots: PciSlots) -> None:
    slots.fill(NotingDevice("root"), NotingDevice("primary"), [NotingDevice("data")])
    assert slots.arguments() == ["root@0", "primary@1", f"data@{RNG_SLOT + 1}"]


def test_device_plugged_without_qemu_is_there_at_the_next_start(slots: PciSlots) -> None:
    data = NotingDevice("data")
    slots.plug(data, None)
    assert data.done == []
    assert "data@3" in slots.arguments()


def test_device_is_plugged_into_qemu(slots: PciSlots) -> None:
    data = NotingDevice("data")
    slots.plug(data, SOME_QEMU)
    assert data.done == ["plug@3"]
    slots.plug(NotingDevice("data", faults={"plug": MachineError("twice")}), SOME_QEMU)


def test_all_devices_are_plugged_into_qemu_that_started_without(slots: PciSlots) -> None:
    devices = [NotingDevice("root"), NotingDevice("primary"), NotingDevice("data")]
    slots.fill(devices[0], devices[1], devices[2:])
    slots.plug_all(SOME_QEMU)
    assert [device.done for device in devices] == [["plug@0"], ["plug@1"], ["plug@3"]]


def test_device_is_free_when_the_guest_has_released_it(slots: PciSlots) -> None:
    data = NotingDevice("data")
    slots.plug(data, SOME_QEMU)
    assert not slots.unplug("data", SOME_QEMU)
    assert not slots.unplug("data", SOME_QEMU)
    assert slots.released("dev-other", SOME_QEMU) is None
    assert slots.released("dev-data", SOME_QEMU) == "data"
    assert data.done == ["plug@3", "unplug", "release"]
    assert slots.unplug("data", SOME_QEMU)


def test_device_that_qemu_keeps_open_is_free_all_the_same(slots: PciSlots) -> None:
    slots.plug(NotingDevice("data", faults={"release": MachineError("in use")}), SOME_QEMU)
    slots.unplug("data", SOME_QEMU)
    assert slots.released("dev-data", SOME_QEMU) == "data"


def test_device_is_not_free_yet_when_qemu_ends_meanwhile(slots: PciSlots) -> None:
    slots.plug(NotingDevice("data", faults={"release": HardwareOffError("gone")}), SOME_QEMU)
    slots.unplug("data", SOME_QEMU)
    with pytest.raises(HardwareOffError):
        slots.released("dev-data", SOME_QEMU)
    slots.went_off()
    assert slots.device("data") is None


def test_device_that_cannot_be_unplugged_stays(slots: PciSlots) -> None:
    slots.plug(NotingDevice("data", faults={"unplug": MachineError("busy")}), SOME_QEMU)
    with pytest.raises(MachineError, match="busy"):
        slots.unplug("data", SOME_QEMU)
    assert "data@3" in slots.arguments()


def test_forced_unplug_disconnects_before_the_guest_releases(slots: PciSlots) -> None:
    data = NotingDevice("data")
    slots.plug(data, SOME_QEMU)
    assert slots.unplug("data", SOME_QEMU, force=True)
    assert data.done == ["plug@3", "unplug", "release"]
    assert slots.released("dev-data", SOME_QEMU) == "data"
    assert data.done == ["plug@3", "unplug", "release"]
    slots.plug(NotingDevice("other"), None)
    assert slots.arguments()[2:] == ["other@3"]


def test_forced_unplug_disconnects_a_device_in_release(slots: PciSlots) -> None:
    data = NotingDevice("data")
    slots.plug(data, SOME_QEMU)
    assert not slots.unplug("data", SOME_QEMU)
    assert slots.unplug("data", SOME_QEMU, force=True)
    assert data.done == ["plug@3", "unplug", "unplug", "release"]


def test_forced_unplug_of_a_disk_repeats_the_request(slots: PciSlots) -> None:
    data = NotingDevice("data", can_disconnect=False)
    slots.plug(data, SOME_QEMU)
    assert not slots.unplug("data", SOME_QEMU, force=True)
    assert not slots.unplug("data", SOME_QEMU, force=True)
    assert data.done == ["plug@3", "unplug", "unplug"]
    assert slots.released("dev-data", SOME_QEMU) == "data"
    assert data.done == ["plug@3", "unplug", "unplug", "release"]


def test_disk_stays_in_release_if_the_request_cannot_be_repeated(slots: PciSlots) -> None:
    data = NotingDevice("data", can_disconnect=False)
    slots.plug(data, SOME_QEMU)
    assert not slots.unplug("data", SOME_QEMU)
    data.faults["unplug"] = MachineError("already in the process of unplug")
    assert not slots.unplug("data", SOME_QEMU, force=True)
    assert slots.released("dev-data", SOME_QEMU) == "data"


def test_forced_unplug_disconnects_without_the_guest(slots: PciSlots) -> None:
    data = NotingDevice("data", faults={"unplug": MachineError("guest is busy")})
    slots.plug(data, SOME_QEMU)
    assert slots.unplug("data", SOME_QEMU, force=True)
    assert data.done == ["plug@3", "release"]


def test_forced_unplug_keeps_the_device_when_qemu_ends_meanwhile(slots: PciSlots) -> None:
    slots.plug(NotingDevice("data", faults={"unplug": HardwareOffError("gone")}), SOME_QEMU)
    with pytest.raises(HardwareOffError):
        slots.unplug("data", SOME_QEMU, force=True)
    assert slots.unplug("data", None, force=True)
    assert slots.arguments() == ["root@0", "primary@1"]


def test_device_is_not_plugged_again_before_the_guest_has_released_it(slots: PciSlots) -> None:
    slots.plug(NotingDevice("data"), SOME_QEMU)
    slots.unplug("data", SOME_QEMU, force=True)
    with pytest.raises(MachineError, match="has not released data since it was detached by force"):
        slots.plug(NotingDevice("data"), SOME_QEMU)
    assert slots.released("dev-data", SOME_QEMU) == "data"
    slots.plug(NotingDevice("data"), SOME_QEMU)


def test_released_devices_are_free_when_qemu_ends(slots: PciSlots) -> None:
    slots.plug(NotingDevice("data"), SOME_QEMU)
    slots.unplug("data", SOME_QEMU)
    slots.went_off()
    assert slots.arguments() == ["root@0", "primary@1"]


def test_slot_is_kept_over_a_restart_and_reused_after_unplugging(slots: PciSlots) -> None:
    slots.plug(NotingDevice("first"), SOME_QEMU)
    slots.plug(NotingDevice("second"), SOME_QEMU)
    slots.went_off()
    assert slots.unplug("first", None)
    assert slots.arguments()[2:] == ["second@4"]
    slots.plug(NotingDevice("third"), None)
    assert slots.arguments()[2:] == ["second@4", "third@3"]


@pytest.mark.parametrize("fault", [MachineError("QEMU refused"), PermissionError("no such luck")])
def test_device_that_cannot_be_plugged_takes_no_slot(slots: PciSlots, fault: Exception) -> None:
    with pytest.raises(type(fault)):
        slots.plug(NotingDevice("data", faults={"plug": fault}), SOME_QEMU)
    assert slots.arguments() == ["root@0", "primary@1"]
    slots.plug(NotingDevice("other"), SOME_QEMU)
    assert slots.arguments()[2:] == ["other@3"]


def test_machine_without_a_free_slot_takes_no_more_devices(slots: PciSlots) -> None:
    for number in range(SLOTS - 3):
        slots.plug(NotingDevice(f"data{number}"), None)
    with pytest.raises(MachineError, match="no slot is free for one-too-many: a machine has 16"):
        slots.plug(NotingDevice("one-too-many"), None)


def test_unplugging_what_is_not_there_is_a_no_op(slots: PciSlots) -> None:
    assert slots.unplug("data", SOME_QEMU)
