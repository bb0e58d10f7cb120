"""Saved boots, with a real QEMU that has no machine in it: saving and going on are the same for it."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import MachineError
from pycloudlib.local.machines import boot_snapshot
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import Kernel, MachineSpec
from pycloudlib.local.machines.boot_snapshot import KEPT_BOOTS, BootSnapshot, BootSnapshots, resume
from pycloudlib.local.machines.qemu_command import firmware_uuid
from pycloudlib.local.machines.qmp import QMP, READY

TCG = Accelerator("tcg", "")
NO_MACHINE = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
PRINTED = b"Linux version 6\n"


class Spawner:
    """Starts QEMUs without a machine, in which a guest is ready to be saved at once.

    Args:
        says: what the guest says.
    """

    def __init__(self, says: bytes = b"ready\n") -> None:
        self.says = says
        self.commands: list[Sequence[str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, command: Sequence[str], directory: Path, keep_fds: Sequence[int]) -> subprocess.Popen[bytes]:
        self.commands.append(command)
        (directory / "console.log").write_bytes(PRINTED)
        chardevs = dict(re.findall(r"socket,id=(\w+),fd=(\d+)", " ".join(command)))
        os.write(int(chardevs["host"]), self.says)
        monitor = ["-chardev", f"socket,id=qmp,fd={chardevs['qmp']}", "-mon", "chardev=qmp,mode=control"]
        process = subprocess.Popen(
            [*NO_MACHINE, *monitor], cwd=directory, stderr=subprocess.PIPE, pass_fds=tuple(keep_fds)
        )
        self.processes.append(process)
        return process


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    spawner = Spawner()
    yield spawner
    for process in spawner.processes:
        assert process.poll() is not None
        if process.stderr:
            process.stderr.close()


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    for name in ("vmlinuz", "initrd", "initrd-warm"):
        (tmp_path / name).write_text(name)
    kernel = Kernel(tmp_path / "vmlinuz", tmp_path / "initrd", "console=ttyS0", tmp_path / "initrd-warm")
    return MachineSpec("i-0123456789abcdef0", "t3.micro", 1024, 2, kernel)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "saved"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith(".lock"))


def test_a_boot_is_saved_once_for_all_machines_of_its_like(
    spawner: Spawner, spec: MachineSpec, directory: Path
) -> None:
    boot = BootSnapshots(directory, spawner).get(spec, TCG)
    assert boot is not None
    assert boot.console == PRINTED
    assert boot.state.stat().st_size > 0
    other = BootSnapshots(directory, spawner).get(replace(spec, instance_id="i-0fedcba9876543210"), TCG)
    assert other == boot
    (command,) = spawner.commands
    assert str(spec.kernel and spec.kernel.warm_initrd) in command
    assert spec.instance_id not in " ".join(command)


def test_those_who_ask_at_the_same_time_wait_for_the_one_that_is_made(
    spawner: Spawner, spec: MachineSpec, directory: Path
) -> None:
    boots = BootSnapshots(directory, spawner)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: boots.get(spec, TCG), range(4)))
    assert len(found) == len(spawner.commands) == 1


def test_machines_that_differ_have_one_each(spawner: Spawner, spec: MachineSpec, directory: Path) -> None:
    boots = BootSnapshots(directory, spawner)
    kernel = spec.kernel
    assert kernel is not None
    others = [
        replace(spec, memory_mib=2048),
        replace(spec, cpus=1),
        replace(spec, instance_type="t3.small"),
        replace(spec, kernel=replace(kernel, arguments="quiet")),
    ]
    found = [boots.get(one, TCG) for one in (spec, *others)]
    (kernel.warm_initrd or Path()).write_text("another")
    found.append(boots.get(spec, TCG))
    assert None not in found
    assert len({boot.state for boot in found if boot}) == len(found)


def test_an_image_without_the_initramfs_for_it_boots_from_the_beginning(spawner: Spawner, spec: MachineSpec) -> None:
    boots = BootSnapshots(Path("/nowhere"), spawner)
    assert spec.kernel is not None
    assert boots.get(replace(spec, kernel=None), TCG) is None
    assert boots.get(replace(spec, kernel=replace(spec.kernel, warm_initrd=None)), TCG) is None
    assert spawner.commands == []


def test_a_guest_that_cannot_be_saved_is_tried_once(
    spawner: Spawner, spec: MachineSpec, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spawner.says = b"failed\n"
    boots = BootSnapshots(directory, spawner)
    with caplog.at_level(logging.WARNING):
        assert [boots.get(spec, TCG), boots.get(spec, TCG)] == [None, None]
    assert len(spawner.commands) == 1
    (message,) = caplog.messages
    assert f"{spec.instance_id} boots from the beginning" in message
    assert "could not load cloud-init" in message
    assert names(directory) == []


def test_a_kernel_that_is_gone_is_no_error(
    spawner: Spawner, spec: MachineSpec, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert spec.kernel is not None
    spec.kernel.path.unlink()
    assert BootSnapshots(directory, spawner).get(spec, TCG) is None
    assert "boots from the beginning" in caplog.text


def test_what_was_discarded_is_neither_used_nor_made_again(
    spawner: Spawner, spec: MachineSpec, directory: Path
) -> None:
    boots = BootSnapshots(directory, spawner)
    boot = boots.get(spec, TCG)
    assert boot is not None
    boots.discard(boot)
    assert boots.get(spec, TCG) is None
    assert names(directory) == []
    # The next server tries again.
    assert BootSnapshots(directory, spawner).get(spec, TCG) is not None


def test_what_a_killed_server_was_saving_is_removed(spawner: Spawner, spec: MachineSpec, directory: Path) -> None:
    boots = BootSnapshots(directory, spawner)
    boot = boots.get(spec, TCG)
    assert boot is not None
    key = boot.state.parent.name
    boot.state.parent.rename(directory / f".partial-{key}-killed")
    assert boots.get(spec, TCG) == boot
    assert names(directory) == [key]


def test_those_that_were_used_last_are_kept(spawner: Spawner, spec: MachineSpec, directory: Path) -> None:
    boots = BootSnapshots(directory, spawner)
    first = boots.get(spec, TCG)
    assert first is not None
    for number in range(KEPT_BOOTS):
        old = directory / f"old-{number}"
        old.mkdir()
        os.utime(old, (number, number))
    boots.get(replace(spec, cpus=1), TCG)
    kept = names(directory)
    assert len(kept) == KEPT_BOOTS
    assert first.state.parent.name in kept
    assert "old-1" not in kept


def test_a_server_that_ends_gives_up_what_is_being_saved(spec: MachineSpec, directory: Path) -> None:
    spawner = Spawner(says=b"")
    boots = BootSnapshots(directory, spawner)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(boots.get, spec, TCG)
        boot_snapshot.wait_until(lambda: spawner.processes, what="the machine to start", deadline=Deadline.after(30))
        boots.close()
        assert asked.result(30) is None
    assert names(directory) == []
    assert boots.get(spec, TCG) is None
    assert len(spawner.commands) == 1


def test_what_nobody_waits_for_any_more_is_given_up_and_made_for_the_next_one(
    spawner: Spawner, spec: MachineSpec, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spawner.says = b""
    boots = BootSnapshots(directory, spawner)
    ended = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        saving, waiting = (pool.submit(boots.get, spec, TCG, lambda: not ended.is_set()) for _ in range(2))
        boot_snapshot.wait_until(lambda: spawner.processes, what="the machine to start", deadline=Deadline.after(30))
        ended.set()
        assert (saving.result(30), waiting.result(30)) == (None, None)
    assert names(directory) == []
    assert caplog.messages == []
    spawner.says = b"ready\n"
    assert boots.get(spec, TCG) is not None


def resumed(state: Path, ours: socket.socket, theirs: socket.socket) -> subprocess.Popen[bytes]:
    monitor = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
    command = [*NO_MACHINE, *monitor, *BootSnapshot(state, b"").arguments]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))


@pytest.mark.parametrize("whole", [True, False])
def test_machine_resumes_with_its_own_identity_or_raises(
    whole: bool, spawner: Spawner, spec: MachineSpec, directory: Path
) -> None:
    boot = BootSnapshots(directory, spawner).get(spec, TCG)
    assert boot is not None
    if not whole:
        boot.state.write_bytes(b"no state")
    ours, theirs = socket.socketpair()
    host, guest = socket.socketpair()
    with host, guest, theirs, resumed(boot.state, ours, theirs) as process, closing(QMP(ours)) as qmp:
        theirs.close()
        ready = threading.Event()

        def listen() -> None:
            for event in qmp.events():
                if event is READY:
                    ready.set()
            ready.set()

        listener = threading.Thread(target=listen)
        listener.start()
        assert ready.wait(60)
        plugged: list[str] = []
        try:
            if whole:
                resume(spec.instance_id, qmp, host, lambda: plugged.append(qmp.execute("query-status")["status"]))
                assert plugged == ["paused"]
                assert qmp.execute("query-status")["running"]
                told = json.loads(guest.recv(4096))
                assert told["product_uuid"] == told["product_serial"] == firmware_uuid(spec.instance_id)
                assert len(bytes.fromhex(told["entropy"])) == boot_snapshot.ENTROPY_BYTES
                assert float(told["time"]) > boot.state.stat().st_mtime
            else:
                with pytest.raises(MachineError, match="the machine is gone"):
                    resume(spec.instance_id, qmp, host, lambda: None)
        finally:
            process.kill()
            listener.join()
