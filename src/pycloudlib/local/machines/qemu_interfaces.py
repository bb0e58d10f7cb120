"""The network interfaces of a QEMU machine, and what connects them."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.errors import MachineError, PycloudlibTimeoutError
from pycloudlib.local.machines.qemu_devices import QemuDevice, option
from pycloudlib.local.machines.qmp import QMP
from pycloudlib.local.network import user_mode
from pycloudlib.local.network.attachment import NetworkAttachment
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.metadata_server import MetadataServer
from pycloudlib.local.network.topology import Topology
from pycloudlib.waiting import wait_until

FORWARD_SECONDS = 5.0
"""How long another machine may take to release an address."""
JUMBO_MTU = 9001
"""As in a VPC: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html"""
METADATA_SOCKET = "metadata.sock"
"""In the machine's directory."""


class QemuInterface(QemuDevice):
    """A network interface.

    Args:
        attachment: its MAC and addresses.
    """

    def __init__(self, attachment: NetworkAttachment) -> None:
        super().__init__(attachment.interface_id)
        self._attachment = attachment

    @abstractmethod
    def change(self, attachment: NetworkAttachment, qmp: QMP | None) -> None:
        """Change the addresses, now or from the next start on.

        Raises:
            MachineError: QEMU refused.
        """

    def release(self, qmp: QMP) -> None:
        """Remove its network backend."""
        qmp.execute("netdev_del", id=self._netdev_id)

    @property
    def _netdev_id(self) -> str:
        return f"net-{self.resource_id}"

    def _device(self, slot: int) -> dict[str, str]:
        return {
            "driver": "virtio-net-pci",
            "id": self.device_id,
            "netdev": self._netdev_id,
            "mac": self._attachment.mac,
            "bus": f"port{slot}",
        }

    def _plug_device(self, qmp: QMP, slot: int) -> None:
        try:
            qmp.execute("device_add", **self._device(slot))
        except BaseException:
            self.release(qmp)
            raise


class QemuNetwork(ABC):
    """Connects the interfaces of a server's machines."""

    topology_listener: Callable[[Topology], None] | None = None
    """Called with the whole network of the records whenever it has changed; None if the records do not affect it."""

    def __init__(self) -> None:
        self.on_lost: Callable[[str], object] = lambda _: None
        """Called with the reason when all machines have lost their network for good."""

    @abstractmethod
    def interface(self, attachment: NetworkAttachment) -> QemuInterface:
        """Return an interface for a machine, not connected yet."""

    @abstractmethod
    def serve_metadata(
        self, instance_id: str, directory: Path, describe: Callable[[], InstanceMetadata]
    ) -> AbstractContextManager[object]:
        """Serve a machine's metadata inside the context.

        Args:
            instance_id: the machine's instance.
            directory: the machine's.
            describe: returns the current metadata.
        """

    @abstractmethod
    def close(self) -> None:
        """End what it runs, after all machines."""


class UserInterface(QemuInterface):
    """An interface on QEMU's user networking.

    Args:
        attachment: its MAC and addresses.
        ssh_port: port on each public address that leads to sshd.
    """

    def __init__(self, attachment: NetworkAttachment, ssh_port: int) -> None:
        super().__init__(attachment)
        self._ssh_port = ssh_port

    def arguments(self, slot: int) -> list[str]:
        """Return the command-line arguments with which a machine has it from the start."""
        return ["-netdev", user_mode.as_option(self._netdev()), "-device", f"{option(self._device(slot))},romfile="]

    def plug(self, qmp: QMP, slot: int) -> None:
        """Plug it into a running machine."""
        qmp.execute("netdev_add", **self._netdev())
        self._plug_device(qmp, slot)

    def change(self, attachment: NetworkAttachment, qmp: QMP | None) -> None:
        """Change the public addresses that lead to it; the guest reads the private ones from its metadata."""
        before = {address for address in self._attachment.addresses if address.public_ip}
        after = {address for address in attachment.addresses if address.public_ip}
        self._attachment = attachment
        if qmp is None:
            return
        for address in before - after:
            _execute_hmp(qmp, f"hostfwd_remove {self._netdev_id} tcp:{address.public_ip}:{self._ssh_port}")
        for address in after - before:
            _forward(qmp, f"hostfwd_add {self._netdev_id} {user_mode.forwarding(address, self._ssh_port)}")

    def _netdev(self) -> dict[str, Any]:
        return user_mode.user_netdev(self._attachment, ssh_port=self._ssh_port, metadata_socket=METADATA_SOCKET)


class UserNetwork(QemuNetwork):
    """QEMU's user networking: each machine alone in a network of its own.

    Args:
        ssh_port: port on each public address that leads to sshd.
    """

    def __init__(self, ssh_port: int) -> None:
        super().__init__()
        self._ssh_port = ssh_port

    def interface(self, attachment: NetworkAttachment) -> QemuInterface:
        """Return an interface for a machine, not connected yet."""
        return UserInterface(attachment, self._ssh_port)

    @contextlib.contextmanager
    def serve_metadata(
        self, instance_id: str, directory: Path, describe: Callable[[], InstanceMetadata]
    ) -> Iterator[None]:
        """Serve a machine's metadata on a Unix socket in its directory, which only its QEMU connects to."""
        with _short_path(directory) as short, MetadataServer(short / METADATA_SOCKET, describe):
            yield

    def close(self) -> None:
        """Do nothing: user networking ends with each QEMU."""


class TapInterface(QemuInterface):
    """An interface whose tap is in a VPC's network namespace.

    Args:
        attachment: its MAC and addresses.
        open_tap: connects the interface to its VPC and returns its tap's file descriptor.
    """

    def __init__(self, attachment: NetworkAttachment, open_tap: Callable[[NetworkAttachment], int]) -> None:
        super().__init__(attachment)
        self._open_tap = open_tap
        self._fds: list[int] = []

    def arguments(self, slot: int) -> list[str]:
        """Return the command-line arguments with which a machine has it from the start; they name take_fds()."""
        fd = self._open_tap(self._attachment)
        self._fds.append(fd)
        netdev = f"tap,id={self._netdev_id},fd={fd}"
        return ["-netdev", netdev, "-device", f"{option(self._device(slot))},romfile="]

    def take_fds(self) -> list[int]:
        """Return the tap's file descriptor after arguments(): the tap is gone when nobody has it open."""
        fds, self._fds = self._fds, []
        return fds

    def plug(self, qmp: QMP, slot: int) -> None:
        """Plug it into a running machine."""
        fd = self._open_tap(self._attachment)
        try:
            qmp.pass_fd(self._netdev_id, fd)
        finally:
            os.close(fd)
        qmp.execute("netdev_add", type="tap", id=self._netdev_id, fd=self._netdev_id)
        self._plug_device(qmp, slot)

    def change(self, attachment: NetworkAttachment, qmp: QMP | None) -> None:
        """Take note of the addresses: the VPC's routes follow the records, not the machine."""
        self._attachment = attachment

    def _device(self, slot: int) -> dict[str, str]:
        return {**super()._device(slot), "host_mtu": str(JUMBO_MTU)}


def _forward(qmp: QMP, line: str) -> None:
    """Forward an address, as soon as the machine that had it before has released it."""
    refusals: list[MachineError] = []

    def forwarded() -> bool:
        try:
            _execute_hmp(qmp, line)
        except MachineError as error:
            refusals.append(error)
            return False
        return True

    try:
        wait_until(forwarded, what=line, deadline=Deadline.after(FORWARD_SECONDS))
    except PycloudlibTimeoutError:
        raise refusals[-1] from None


def _execute_hmp(qmp: QMP, line: str) -> None:
    """Execute a command that QMP lacks; the answer is prose."""
    told: str = qmp.execute("human-monitor-command", **{"command-line": line})
    if told and not told.rstrip().endswith("removed"):
        raise MachineError(f"{line}: {told.strip()}")


@contextlib.contextmanager
def _short_path(directory: Path) -> Iterator[Path]:
    """Give a path to a directory that is short enough for a Unix socket, whose addresses have 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
