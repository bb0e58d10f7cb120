"""The devices of a QEMU machine: on its command line, and plugged while it runs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import MachineError, PycloudlibTimeoutError
from pycloudlib.local import network
from pycloudlib.local.machines.base import Disk, NetworkAttachment
from pycloudlib.local.machines.qmp import QMP
from pycloudlib.waiting import wait_until

FORWARD_SECONDS = 5.0
"""How long another machine may take to let go of an address."""


class QemuDevice(ABC):
    """A device in one of the machine's slots, and what is behind it.

    Args:
        resource_id: the volume or network interface.
    """

    def __init__(self, resource_id: str) -> None:
        self.resource_id = resource_id

    @property
    def device_id(self) -> str:
        """What QEMU calls it."""
        return f"dev-{self.resource_id}"

    @abstractmethod
    def arguments(self, slot: int) -> list[str]:
        """The command-line arguments with which a machine has it from the start."""

    @abstractmethod
    def plug(self, qmp: QMP, slot: int) -> None:
        """Give it to a machine that runs.

        Raises:
            MachineError: QEMU refused.
            LocalEC2Error: what is behind it cannot be made.
        """

    def unplug(self, qmp: QMP) -> None:
        """Ask the guest to let go of it; QEMU tells with DEVICE_DELETED when it has.

        Raises:
            MachineError: QEMU refused.
        """
        qmp.execute("device_del", id=self.device_id)

    @abstractmethod
    def release(self, qmp: QMP) -> None:
        """Take away what was behind it, when the guest has let go of it.

        Raises:
            MachineError: QEMU refused.
        """


class QemuDisk(QemuDevice):
    """A volume: an NVMe disk, as on Nitro.

    Args:
        disk: the volume.
    """

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.volume_id)
        self.disk = disk
        self._top = disk.volume_id
        self._overlays = 0

    def arguments(self, slot: int) -> list[str]:
        """The command-line arguments with which a machine has it from the start."""
        self._top = self.disk.volume_id
        return ["-blockdev", json.dumps(self._node()), "-device", _option(self._device(slot))]

    def plug(self, qmp: QMP, slot: int) -> None:
        """Give it to a machine that runs."""
        self._top = self.disk.volume_id
        qmp.execute("blockdev-add", **self._node())
        try:
            qmp.execute("device_add", **self._device(slot))
        except BaseException:
            self.release(qmp)
            raise

    def release(self, qmp: QMP) -> None:
        """Take its file away; the overlays on it go by themselves."""
        qmp.execute("blockdev-del", **{"node-name": self.disk.volume_id})

    def freeze(self, qmp: QMP, overlay: str) -> None:
        """Let everything that is written from now on go to a new overlay.

        Raises:
            MachineError: QEMU refused, for want of room or otherwise.
        """
        self._overlays += 1
        top = f"{self.disk.volume_id}-{self._overlays}"
        qmp.execute(
            "blockdev-snapshot-sync",
            **{
                "node-name": self._top,
                "snapshot-file": overlay,
                "snapshot-node-name": top,
                "format": "qcow2",
            },
        )
        self._top = top

    def _node(self) -> dict[str, Any]:
        # Machines are thrown away: what the host has not written yet need not survive the host.
        lasting = {"cache": {"no-flush": True}, "discard": "unmap"}
        file = {"driver": "file", "filename": str(self.disk.file()), **lasting}
        return {"driver": "qcow2", "node-name": self.disk.volume_id, "file": file, **lasting}

    def _device(self, slot: int) -> dict[str, str]:
        return {
            "driver": "nvme",
            "id": self.device_id,
            "drive": self.disk.volume_id,
            "serial": self.disk.volume_id.replace("-", ""),
            "bus": f"port{slot}",
        }


@dataclass(frozen=True)
class Forwarding:
    """How a machine's interfaces are reached from outside.

    Args:
        ssh_port: port on every public address that leads to sshd.
        metadata_socket: where its metadata service listens, relative to its directory.
    """

    ssh_port: int
    metadata_socket: str


class QemuInterface(QemuDevice):
    """A network interface.

    Args:
        attachment: its addresses.
        forwarding: how it is reached.
    """

    def __init__(self, attachment: NetworkAttachment, forwarding: Forwarding) -> None:
        super().__init__(attachment.interface_id)
        self._attachment = attachment
        self._forwarding = forwarding

    def arguments(self, slot: int) -> list[str]:
        """The command-line arguments with which a machine has it from the start."""
        return ["-netdev", network.as_option(self._netdev()), "-device", f"{_option(self._device(slot))},romfile="]

    def plug(self, qmp: QMP, slot: int) -> None:
        """Give it to a machine that runs."""
        qmp.execute("netdev_add", **self._netdev())
        try:
            qmp.execute("device_add", **self._device(slot))
        except BaseException:
            self.release(qmp)
            raise

    def release(self, qmp: QMP) -> None:
        """Take its network away."""
        qmp.execute("netdev_del", id=self._netdev_id)

    def change(self, attachment: NetworkAttachment, qmp: QMP | None) -> None:
        """Have other addresses, now or from the next start on.

        Raises:
            MachineError: QEMU refused.
        """
        before = {address for address in self._attachment.addresses if address.public_ip}
        after = {address for address in attachment.addresses if address.public_ip}
        self._attachment = attachment
        if qmp is None:
            return
        port = self._forwarding.ssh_port
        for address in before - after:
            _by_hand(qmp, f"hostfwd_remove {self._netdev_id} tcp:{address.public_ip}:{port}")
        for address in after - before:
            _forward(qmp, f"hostfwd_add {self._netdev_id} {network.forwarding(address, port)}")

    @property
    def _netdev_id(self) -> str:
        return f"net-{self.resource_id}"

    def _netdev(self) -> dict[str, Any]:
        return network.user_netdev(
            self._attachment,
            ssh_port=self._forwarding.ssh_port,
            metadata_socket=self._forwarding.metadata_socket,
        )

    def _device(self, slot: int) -> dict[str, str]:
        return {
            "driver": "virtio-net-pci",
            "id": self.device_id,
            "netdev": self._netdev_id,
            "mac": self._attachment.mac,
            "bus": f"port{slot}",
        }


def _option(device: dict[str, str]) -> str:
    driver = device["driver"]
    return ",".join([driver, *(f"{name}={value}" for name, value in device.items() if name != "driver")])


def _forward(qmp: QMP, line: str) -> None:
    """Let an address lead here, as soon as the machine that it led to before has let go of it."""
    refusals: list[MachineError] = []

    def forwarded() -> bool:
        try:
            _by_hand(qmp, line)
        except MachineError as error:
            refusals.append(error)
            return False
        return True

    try:
        wait_until(forwarded, what=line, timeout=FORWARD_SECONDS)
    except PycloudlibTimeoutError:
        raise refusals[-1] from None


def _by_hand(qmp: QMP, line: str) -> None:
    """Tell QEMU what QMP has no command for. It answers in prose."""
    told: str = qmp.execute("human-monitor-command", **{"command-line": line})
    if told and not told.rstrip().endswith("removed"):
        raise MachineError(f"{line}: {told.strip()}")
