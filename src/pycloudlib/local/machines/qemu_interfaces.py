"""The network interfaces of QEMU machines, and the networks that connect them."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.errors import MachineError, PycloudlibTimeoutError
from pycloudlib.local.machines.base import MachineSpec
from pycloudlib.local.machines.qemu_devices import QemuDevice, option
from pycloudlib.local.machines.qmp import QMP
from pycloudlib.local.network import user_mode
from pycloudlib.local.network.attachment import NetworkAttachment
from pycloudlib.local.network.faults import NetworkFaults
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.network.metadata_server import MetadataServer
from pycloudlib.local.network.namespaces.capture import Tap
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.topology import Topology
from pycloudlib.waiting import wait_until

FORWARD_SECONDS = 5.0
"""The seconds that another machine may take to release an address."""
JUMBO_MTU = 9001
"""The MTU of a VPC: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html"""
METADATA_SOCKET = "metadata.sock"
"""The socket's file name in the machine's directory."""


class QemuInterface(QemuDevice):
    """A network interface.

    Args:
        attachment: the MAC and the addresses.
    """

    def __init__(self, attachment: NetworkAttachment) -> None:
        super().__init__(attachment.interface_id)
        self._attachment = attachment

    @abstractmethod
    def change(self, attachment: NetworkAttachment, qmp: QMP | None) -> None:
        """Change the addresses, now or from the next start on.

        Raises:
            MachineError: QEMU rejected the change.
        """

    def release(self, qmp: QMP) -> None:
        """Remove the network backend."""
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
    """Called with the complete network after each change of the records; None if they do not affect this one."""
    open_vpc: Callable[[str, int], Entrance] | None = None
    """Returns the entrance to a VPC, given its id and the port of the EC2 API; None without VPC networks."""
    find_tap: Callable[[str], Tap] | None = None
    """Returns the tap of a running machine's interface, given its id; None without VPC networks."""
    faults: NetworkFaults | None = None
    """The network faults; None without VPC networks."""
    host_address: str | None = None
    """The address that the host has for machines; None if security groups have no effect."""

    def __init__(self) -> None:
        self.on_lost: Callable[[str], object] = lambda _: None
        """Called with the reason once all machines have permanently lost their network."""

    def adapt(self, spec: MachineSpec) -> MachineSpec:
        """Return the specification of a machine on this network."""
        return spec

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
            directory: the machine's directory.
            describe: returns the current metadata.
        """

    def forwards_ssh(self, public_ip: str) -> bool:
        """Return whether a public address leads to the guest's sshd now."""
        return True

    @abstractmethod
    def close(self) -> None:
        """End the network's processes and servers, after all machines have ended."""


class UserInterface(QemuInterface):
    """An interface on QEMU's user networking.

    Args:
        attachment: the MAC and the addresses.
        ssh_port: the port on each public address that forwards to sshd.
    """

    def __init__(self, attachment: NetworkAttachment, ssh_port: int) -> None:
        super().__init__(attachment)
        self._ssh_port = ssh_port

    def arguments(self, slot: int) -> list[str]:
        """Return the command-line arguments of the cold-plugged interface."""
        return ["-netdev", user_mode.as_option(self._netdev()), "-device", f"{option(self._device(slot))},romfile="]

    def plug(self, qmp: QMP, slot: int) -> None:
        """Plug it into a running machine."""
        qmp.execute("netdev_add", **self._netdev())
        self._plug_device(qmp, slot)

    def change(self, attachment: NetworkAttachment, qmp: QMP | None) -> None:
        """Change the forwarded public addresses; the guest reads its private ones from its metadata."""
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
    """QEMU's user networking: an isolated network per machine.

    Args:
        ssh_port: the port on each public address that forwards to sshd.
    """

    def __init__(self, ssh_port: int) -> None:
        super().__init__()
        self._ssh_port = ssh_port

    def adapt(self, spec: MachineSpec) -> MachineSpec:
        """Add the kernel arguments by which the image recognizes user networking."""
        return spec if spec.kernel is None else replace(spec, kernel_arguments=spec.kernel.user_mode_arguments)

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
        """No-op: user networking ends with each QEMU process."""


class TapInterface(QemuInterface):
    """An interface with a tap in a VPC's network namespace.

    Args:
        attachment: the MAC and the addresses.
        open_tap: connects the interface to its VPC, and returns the tap's file descriptor.
    """

    def __init__(self, attachment: NetworkAttachment, open_tap: Callable[[NetworkAttachment], int]) -> None:
        super().__init__(attachment)
        self._open_tap = open_tap
        self._fds: list[int] = []

    def arguments(self, slot: int) -> list[str]:
        """Return the command-line arguments of the cold-plugged interface, which name the fds of `take_fds()`."""
        fd = self._open_tap(self._attachment)
        self._fds.append(fd)
        netdev = f"tap,id={self._netdev_id},fd={fd}"
        return ["-netdev", netdev, "-device", f"{option(self._device(slot))},romfile="]

    def take_fds(self) -> list[int]:
        """Return the tap's file descriptor after `arguments()`; the kernel removes a tap with its last descriptor."""
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
        """Record the addresses: the VPC's routes follow the records, not the machine."""
        self._attachment = attachment

    def _device(self, slot: int) -> dict[str, str]:
        return {**super()._device(slot), "host_mtu": str(JUMBO_MTU)}


def _forward(qmp: QMP, line: str) -> None:
    """Forward an address once the machine that had it has released it."""
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
    """Execute a human monitor command that QMP lacks, and parse its text output for errors."""
    output: str = qmp.execute("human-monitor-command", **{"command-line": line})
    if output and not output.rstrip().endswith("removed"):
        raise MachineError(f"{line}: {output.strip()}")


@contextlib.contextmanager
def _short_path(directory: Path) -> Iterator[Path]:
    """Yield a path to a directory that fits a Unix socket address, which is limited to 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
