"""A machine whose QEMU ends before it has said anything; a script stands for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import (
    Devices,
    Disk,
    Kernel,
    MachineOwner,
    MachineSpec,
    PowerOffCause,
)
from pycloudlib.local.machines.boot_snapshot import BootSnapshot, IsNeeded
from pycloudlib.local.machines.commands import Command, Destroy, End, Freeze, Grow, Outcome, Start, Stop
from pycloudlib.local.machines.machine import Machine, MachineState
from pycloudlib.local.machines.platforms import X86_64
from pycloudlib.local.machines.qemu_driver import QemuDriver
from pycloudlib.local.machines.qemu_host import QemuHost, QemuOptions
from pycloudlib.local.machines.qemu_interfaces import UserNetwork
from pycloudlib.local.network.attachment import Address, NetworkAttachment
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.waiting import wait_until

ENOUGH = 60.0
SPEC = MachineSpec("i-0123456789abcdef0", "t3.micro", 512, 1)
ENDS_AT_ONCE = """#!/bin/sh
case "$*" in
*-incoming*) echo "load of migration failed" >&2 ;;
*) echo "booted from the beginning" >&2 ;;
esac
exit 1
"""

OUT_OF_ROOM = """#!/bin/sh
echo "vol-1: No space left on device" >&2
exec sleep 600
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


class EmptyDisk(Disk):
    def file(self) -> Path:
        return Path("/dev/null")

    def grow(self, size_gb: int) -> None:
        assert size_gb == 9


class WithBootSnapshot(QemuHost):
    """Has one saved boot, until it is discarded."""

    saved: BootSnapshot | None = None

    def boot_snapshot(self, spec: MachineSpec, is_needed: IsNeeded) -> BootSnapshot | None:
        return self.saved

    def discard(self, boot: BootSnapshot) -> None:
        assert boot == self.saved
        self.saved = None


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WithBootSnapshot:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / X86_64.qemu).write_text(ENDS_AT_ONCE)
    (programs / X86_64.qemu).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    options = QemuOptions(tmp_path / "machines", Accelerator("tcg", ""), ssh_port=22, shutdown_seconds=ENOUGH)
    return WithBootSnapshot(options)


@pytest.fixture
def driver(host: WithBootSnapshot) -> Iterator[QemuDriver]:
    driver = QemuDriver(host, UserNetwork(22))
    yield driver
    driver.close()


def created(driver: QemuDriver, spec: MachineSpec = SPEC) -> tuple[Machine, Owner]:
    def no_metadata() -> InstanceMetadata:
        raise AssertionError

    owner = Owner()
    return driver.create(spec, owner, no_metadata), owner


def start(machine: Machine, spec: MachineSpec = SPEC) -> None:
    interface = NetworkAttachment("eni-1", "02:00:00:00:00:01", (Address("172.31.0.4"),), "172.31.0.0/20")
    machine.submit(Start(spec, Devices((EmptyDisk("vol-1"),), (interface,))))


def why_it_went_off(driver: QemuDriver, spec: MachineSpec = SPEC) -> tuple[PowerOffCause, str] | None:
    machine, owner = created(driver, spec)
    start(machine, spec)
    assert owner.off.wait(ENOUGH)
    return owner.cause


def test_a_machine_that_could_not_go_on_boots_from_the_beginning(
    host: WithBootSnapshot, driver: QemuDriver, tmp_path: Path
) -> None:
    """Even if QEMU found the state unusable, and ended, before its monitor answered."""
    host.saved = BootSnapshot(tmp_path / "state", b"Linux version 6\n")
    assert why_it_went_off(driver) == (PowerOffCause.DIED, "booted from the beginning")
    assert host.saved is None


def test_a_machine_that_ends_without_a_word_from_its_monitor_died(driver: QemuDriver) -> None:
    assert why_it_went_off(driver) == (PowerOffCause.DIED, "booted from the beginning")


def test_machine_without_disk_space_is_stopped_with_a_reason(driver: QemuDriver, tmp_path: Path) -> None:
    (tmp_path / "bin" / X86_64.qemu).write_text(OUT_OF_ROOM)
    cause, detail = why_it_went_off(driver) or (None, "")
    assert cause is PowerOffCause.DIED
    assert detail.startswith("no space left on the disk for ")


@pytest.mark.parametrize("added", ["", "network-config=disabled"])
def test_user_networking_adds_the_images_kernel_arguments(driver: QemuDriver, tmp_path: Path, added: str) -> None:
    (tmp_path / "bin" / X86_64.qemu).write_text('#!/bin/sh\nfor word; do echo "[$word]"; done >&2\nexit 1\n')
    kernel = Kernel(tmp_path / "vmlinuz", arguments="console=ttyS0", user_mode_arguments=added)
    _, words = why_it_went_off(driver, replace(SPEC, kernel=kernel)) or (None, "")
    (arguments,) = [word for word in words.split("[") if word.startswith("console=")]
    assert ("network-config=disabled" in arguments) is bool(added)


@pytest.mark.parametrize("end", [Stop(force=True), Destroy()])
def test_machine_with_a_silent_qemu_is_killed(driver: QemuDriver, tmp_path: Path, end: Command) -> None:
    (tmp_path / "bin" / X86_64.qemu).write_text("#!/bin/sh\nexec sleep 600\n")
    machine, _ = created(driver)
    start(machine)
    assert ended(machine, end).outcome is Outcome.DONE


def saving(host: WithBootSnapshot, driver: QemuDriver, monkeypatch: pytest.MonkeyPatch) -> tuple[Machine, Owner]:
    """A machine that starts, and whose boot is being saved."""
    asked = threading.Event()

    def save(_: MachineSpec, is_needed: IsNeeded) -> None:
        asked.set()
        wait_until(lambda: not is_needed(), what="the machine to be ended", deadline=Deadline.after(ENOUGH))

    monkeypatch.setattr(host, "boot_snapshot", save)
    machine, owner = created(driver)
    start(machine)
    assert asked.wait(ENOUGH)
    return machine, owner


def ended(machine: Machine, command: Command) -> End:
    over, ends = threading.Event(), []

    def note(end: End) -> None:
        ends.append(end)
        over.set()

    machine.submit(command, note)
    assert over.wait(ENOUGH)
    return ends[0]


def test_stop_while_a_boot_is_saved_ends_machine_at_once(
    host: WithBootSnapshot, driver: QemuDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, owner = saving(host, driver, monkeypatch)
    machine.submit(Stop())
    assert owner.off.wait(ENOUGH)
    assert owner.cause == (PowerOffCause.REQUESTED, "")


def test_destroy_while_a_boot_is_saved_ends_machine_at_once(
    host: WithBootSnapshot, driver: QemuDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, owner = saving(host, driver, monkeypatch)
    assert ended(machine, Destroy()).outcome is Outcome.DONE
    assert machine.state is MachineState.GONE
    assert owner.cause is None
    assert not any(host.options.directory.iterdir())


def test_machine_that_is_off_serves_commands_for_its_disks(host: WithBootSnapshot, driver: QemuDriver) -> None:
    machine, _ = created(driver)
    assert ended(machine, Grow(EmptyDisk("vol-1"), 9)).outcome is Outcome.DONE
    overlay = host.options.directory / "nowhere" / "overlay.qcow2"
    end = ended(machine, Freeze(EmptyDisk("vol-1"), overlay))
    assert end.outcome is Outcome.FAILED
    assert "cannot create the disk" in end.detail


def test_console_of_destroyed_machine_is_kept(host: WithBootSnapshot, driver: QemuDriver) -> None:
    machine, owner = created(driver)
    start(machine)
    assert owner.off.wait(ENOUGH)
    (host.options.directory / machine.instance_id / "console.log").write_bytes(b"Linux version 6")
    ended(machine, Destroy())
    assert machine.console() == b"Linux version 6"
