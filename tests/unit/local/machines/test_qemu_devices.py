"""Devices given to a real QEMU whose guest has not begun to run."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.errors import MachineError
from pycloudlib.local import qemu_img
from pycloudlib.local.machines import qemu_interfaces
from pycloudlib.local.machines.base import DiskBus
from pycloudlib.local.machines.qemu_devices import QemuDisk
from pycloudlib.local.machines.qemu_interfaces import UserInterface
from pycloudlib.local.machines.qmp import QMP, READY
from pycloudlib.local.network.attachment import Address, NetworkAttachment
from pycloudlib.local.network.public_addresses import PublicAddresses
from pycloudlib.local.network.user_mode import choose_ssh_port
from pycloudlib.local.storage.volumes import QcowStore

VOLUME = "vol-0123456789abcdef0"
ENI = "eni-0123456789abcdef0"


@pytest.fixture
def qmp(tmp_path: Path) -> Iterator[QMP]:
    ours, theirs = socket.socketpair()
    command = ["qemu-system-x86_64", "-S", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"]
    command += ["-device", "pcie-root-port,id=port3,chassis=4", "-device", "pcie-root-port,id=port4,chassis=5"]
    command += ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
    with theirs:
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=tmp_path)
    qmp, ready = QMP(ours), threading.Event()

    def follow() -> None:
        for event in qmp.events():
            if event is READY:
                ready.set()

    follower = threading.Thread(target=follow)
    follower.start()
    assert ready.wait(60)
    yield qmp
    qmp.execute("quit")
    process.wait(60)
    follower.join()
    qmp.close()


@pytest.fixture
def store(tmp_path: Path) -> QcowStore:
    store = QcowStore(tmp_path / "volumes")
    store.create(VOLUME, 1, None)
    return store


@pytest.fixture
def attachment() -> NetworkAttachment:
    public_ip = PublicAddresses(None).allocate()
    return NetworkAttachment(ENI, "02:00:00:00:00:01", (Address("172.31.0.5", public_ip),), "172.31.0.0/20")


def listens(address: str | None, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address or "", port)) == 0


@pytest.mark.parametrize("bus", DiskBus)
def test_the_guest_of_a_plugged_disk_sees_the_volume_id(qmp: QMP, store: QcowStore, bus: DiskBus) -> None:
    QemuDisk(store.disk(VOLUME), bus).plug(qmp, 3)
    serial = qmp.execute("qom-get", path=f"/machine/peripheral/dev-{VOLUME}", property="serial")
    assert serial == "vol0123456789abcdef0"


def test_a_disk_that_was_frozen_is_written_to_elsewhere(qmp: QMP, store: QcowStore, tmp_path: Path) -> None:
    disk = QemuDisk(store.disk(VOLUME), DiskBus.NVME)
    disk.plug(qmp, 3)
    disk.freeze(qmp, str(tmp_path / "first.qcow2"))
    disk.freeze(qmp, str(tmp_path / "second.qcow2"))
    written = {node["node-name"]: node["file"] for node in qmp.execute("query-named-block-nodes") if not node["ro"]}
    assert written[f"{VOLUME}-2"] == str(tmp_path / "second.qcow2")
    assert VOLUME not in written


def test_failed_freeze_reports_the_reason(qmp: QMP, store: QcowStore, tmp_path: Path) -> None:
    disk = QemuDisk(store.disk(VOLUME), DiskBus.NVME)
    disk.plug(qmp, 3)
    with pytest.raises(MachineError, match="No such file or directory"):
        disk.freeze(qmp, str(tmp_path / "nowhere" / "overlay.qcow2"))


def size_in_guest(qmp: QMP) -> int:
    (device,) = qmp.execute("query-block")
    return int(device["inserted"]["image"]["virtual-size"])


def test_virtio_disk_grows_while_its_machine_is_on(qmp: QMP, store: QcowStore, tmp_path: Path) -> None:
    disk = QemuDisk(store.disk(VOLUME), DiskBus.VIRTIO)
    disk.plug(qmp, 3)
    disk.grow(qmp, 3)
    assert size_in_guest(qmp) == 3 * qemu_img.GIB
    disk.freeze(qmp, str(tmp_path / "overlay.qcow2"))
    disk.grow(qmp, 4)
    assert size_in_guest(qmp) == 4 * qemu_img.GIB


def test_nvme_disk_keeps_its_size_while_its_machine_is_on(qmp: QMP, store: QcowStore) -> None:
    disk = QemuDisk(store.disk(VOLUME), DiskBus.NVME)
    disk.plug(qmp, 3)
    with pytest.raises(MachineError, match=f"{VOLUME} cannot grow while its machine is on"):
        disk.grow(qmp, 3)
    assert size_in_guest(qmp) == qemu_img.GIB


def test_a_disk_for_which_there_is_no_slot_leaves_its_file_free(qmp: QMP, store: QcowStore) -> None:
    with pytest.raises(MachineError, match="port9"):
        QemuDisk(store.disk(VOLUME), DiskBus.NVME).plug(qmp, 9)
    assert qemu_img.inspect(store.disk(VOLUME).file()).format == "qcow2"


def test_the_public_address_of_a_plugged_interface_answers(qmp: QMP, attachment: NetworkAttachment) -> None:
    port = choose_ssh_port()
    UserInterface(attachment, port).plug(qmp, 3)
    assert listens(attachment.addresses[0].public_ip, port)


def test_an_interface_whose_addresses_change_answers_at_the_new_one(qmp: QMP, attachment: NetworkAttachment) -> None:
    port = choose_ssh_port()
    interface = UserInterface(attachment, port)
    interface.plug(qmp, 3)
    other = replace(attachment, addresses=(Address("172.31.0.5", PublicAddresses(None).allocate()),))
    interface.change(other, qmp)
    assert listens(other.addresses[0].public_ip, port)
    assert not listens(attachment.addresses[0].public_ip, port)


def test_an_interface_that_changes_while_the_machine_is_off_has_its_new_address_at_the_next_start(
    attachment: NetworkAttachment,
) -> None:
    interface = UserInterface(attachment, 22)
    interface.change(replace(attachment, addresses=(Address("172.31.0.5", "127.1.2.3"),)), None)
    assert "hostfwd=tcp:127.1.2.3:22-172.31.0.5:22" in interface.arguments(3)[1]


def test_an_address_is_taken_over_when_the_machine_before_lets_go_of_it(
    qmp: QMP, attachment: NetworkAttachment
) -> None:
    with socket.socket() as before:
        before.bind(("127.0.0.1", 0))
        before.listen()
        port = before.getsockname()[1]
        interface = UserInterface(attachment, port)
        interface.plug(qmp, 3)
        other = replace(attachment, addresses=(Address("172.31.0.5", "127.0.0.1"),))
        change = threading.Thread(target=interface.change, args=(other, qmp))
        change.start()
    change.join()
    assert listens("127.0.0.1", port)


def test_an_address_that_stays_taken_is_refused(
    qmp: QMP, attachment: NetworkAttachment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_interfaces, "FORWARD_SECONDS", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        interface = UserInterface(attachment, taken.getsockname()[1])
        interface.plug(qmp, 3)
        with pytest.raises(MachineError, match="hostfwd_add"):
            interface.change(replace(attachment, addresses=(Address("172.31.0.5", "127.0.0.1"),)), qmp)
