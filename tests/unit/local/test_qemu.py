"""A machine whose QEMU ends before it has said anything; a script stands for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import (
    Address,
    Devices,
    Disk,
    MachineOwner,
    MachineSpec,
    NetworkAttachment,
    PowerOffCause,
)
from pycloudlib.local.machines.qemu import QemuMachine
from pycloudlib.local.machines.qemu_command import QEMU
from pycloudlib.local.machines.qemu_driver import QemuDriver, QemuOptions
from pycloudlib.local.machines.saved_boot import SavedBoot, Wanted
from pycloudlib.local.metadata import InstanceMetadata
from pycloudlib.waiting import wait_until

ENOUGH = 60.0
ENDS_AT_ONCE = """#!/bin/sh
case "$*" in
*-incoming*) echo "load of migration failed" >&2 ;;
*) echo "booted from the beginning" >&2 ;;
esac
exit 1
"""


class Owner(MachineOwner):
    def __init__(self) -> None:
        self.off = threading.Event()
        self.cause: tuple[PowerOffCause, str] | None = None

    def machine_running(self) -> None:
        raise AssertionError

    def machine_off(self, cause: PowerOffCause, detail: str) -> None:
        self.cause = (cause, detail)
        self.off.set()

    def disk_attached(self, volume_id: str) -> None: ...

    def disk_detached(self, volume_id: str) -> None: ...

    def interface_attached(self, interface_id: str) -> None: ...

    def interface_detached(self, interface_id: str) -> None: ...

    def device_failed(self, resource_id: str, detail: str) -> None: ...


class EmptyDisk(Disk):
    def file(self) -> Path:
        return Path("/dev/null")


class WithSavedBoot(QemuDriver):
    """Has one saved boot, until it is discarded."""

    saved: SavedBoot | None = None

    def saved_boot(self, spec: MachineSpec, wanted: Wanted) -> SavedBoot | None:
        return self.saved

    def discard(self, boot: SavedBoot) -> None:
        assert boot == self.saved
        self.saved = None


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WithSavedBoot]:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / QEMU).write_text(ENDS_AT_ONCE)
    (programs / QEMU).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    options = QemuOptions(tmp_path / "machines", Accelerator("tcg", ""), ssh_port=22, shutdown_seconds=ENOUGH)
    driver = WithSavedBoot(options)
    yield driver
    driver.close()


def created(driver: QemuDriver) -> tuple[QemuMachine, Owner]:
    def no_metadata() -> InstanceMetadata:
        raise AssertionError

    owner = Owner()
    return driver.create(MachineSpec("i-0123456789abcdef0", "t3.micro", 512, 1), owner, no_metadata), owner


def start(machine: QemuMachine) -> None:
    interface = NetworkAttachment("eni-1", "02:00:00:00:00:01", (Address("172.31.0.4"),), "172.31.0.0/20")
    machine.start(Devices((EmptyDisk("vol-1"),), (interface,)))


def why_it_went_off(driver: QemuDriver) -> tuple[PowerOffCause, str] | None:
    machine, owner = created(driver)
    start(machine)
    assert owner.off.wait(ENOUGH)
    return owner.cause


def test_a_machine_that_could_not_go_on_boots_from_the_beginning(driver: WithSavedBoot, tmp_path: Path) -> None:
    """Even if QEMU found the state unusable, and ended, before its monitor answered."""
    driver.saved = SavedBoot(tmp_path / "state", b"Linux version 6\n")
    assert why_it_went_off(driver) == (PowerOffCause.DIED, "booted from the beginning")
    assert driver.saved is None


def test_a_machine_that_ends_without_a_word_from_its_monitor_died(driver: WithSavedBoot) -> None:
    assert why_it_went_off(driver) == (PowerOffCause.DIED, "booted from the beginning")


@pytest.mark.parametrize("end", [QemuMachine.destroy, QemuMachine.stop])
def test_a_machine_that_is_ended_while_its_boot_is_saved_is_off_at_once(
    end: Callable[[QemuMachine], None], driver: WithSavedBoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def save(_: MachineSpec, wanted: Wanted) -> None:
        asked.set()
        wait_until(lambda: not wanted(), what="the machine to be ended", timeout=ENOUGH)

    monkeypatch.setattr(driver, "saved_boot", save)
    machine, owner = created(driver)
    start(machine)
    assert asked.wait(ENOUGH)
    end(machine)
    assert owner.off.wait(ENOUGH)
    assert owner.cause == (PowerOffCause.REQUESTED, "")
