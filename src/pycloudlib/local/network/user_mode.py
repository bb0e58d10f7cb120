"""The addresses of machines: their own, and the loopback addresses that lead to them.

A machine has QEMU's user networking, which needs no privileges: one flat network in which the guest has the private
address that EC2 gave its instance, and in which 169.254.169.254 is an address like any other. Machines do not reach
each other that way.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import socket
import threading
from collections.abc import Mapping
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.attachment import Address, NetworkAttachment

METADATA_ADDRESS = "169.254.169.254"
SSH_PORT = 22
LAST_LOOPBACK = "127.255.255.254"
"""An address that nothing listens on but what listens on all of them."""
SHORTEST_PREFIX = 4
"""QEMU takes no shorter prefix, but any dotted mask."""

_ATTEMPTS = 1000


def enclosing_network(address: str) -> str:
    """Name the smallest network that holds an address and the metadata service, as QEMU takes it.

    Raises:
        LocalEC2Error: only the network of all addresses does, in which QEMU forwards no connections.
    """
    bits = int(ipaddress.IPv4Address(address)) ^ int(ipaddress.IPv4Address(METADATA_ADDRESS))
    prefix = 32 - bits.bit_length()
    if prefix == 0:
        raise LocalEC2Error(
            f"machines cannot have addresses below 128.0.0.0, such as {address}: use another CIDR block"
        )
    network = ipaddress.IPv4Network(f"{address}/{prefix}", strict=False)
    if prefix >= SHORTEST_PREFIX:
        return str(network)
    return network.with_netmask


def user_netdev(attachment: NetworkAttachment, *, ssh_port: int, metadata_socket: str) -> dict[str, Any]:
    """Describe an interface's network to QEMU, in the form of QMP's netdev_add.

    Args:
        attachment: the interface.
        ssh_port: port on the attachment's public addresses that leads to port 22 of the guest.
        metadata_socket: path of the Unix socket on which the metadata service answers this guest, without commas or
            spaces; relative to QEMU's working directory.
    """
    subnet = ipaddress.IPv4Network(attachment.subnet)
    return {
        "type": "user",
        "id": f"net-{attachment.interface_id}",
        "ipv6": False,
        "net": enclosing_network(attachment.private_ip),
        "host": str(subnet[1]),
        "dns": str(subnet[2]),
        "dhcpstart": attachment.private_ip,
        # One process per connection: the other form of guestfwd opens a single stream when QEMU starts.
        "guestfwd": [{"str": f"tcp:{METADATA_ADDRESS}:80-cmd:socat - UNIX-CONNECT:{metadata_socket}"}],
        "hostfwd": [{"str": forwarding(address, ssh_port)} for address in attachment.addresses if address.public_ip],
    }


def forwarding(address: Address, ssh_port: int) -> str:
    """Say to QEMU that a public address leads to the sshd at a private one."""
    return f"tcp:{address.public_ip}:{ssh_port}-{address.private_ip}:{SSH_PORT}"


def as_option(netdev: Mapping[str, Any]) -> str:
    """Write what user_netdev() says as the value of QEMU's `-netdev` option."""
    kind, *others = netdev.items()
    return ",".join([kind[1], *(one for name, value in others for one in _options(name, value))])


def _options(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"{name}={'on' if value else 'off'}"]
    if isinstance(value, list):
        return [f"{name}={one['str']}" for one in value]
    return [f"{name}={value}"]


def choose_ssh_port() -> int:
    """Find the port on which every instance's sshd is reached: 22 where it may be bound, else a free high one."""
    if _can_bind(LAST_LOOPBACK, SSH_PORT):
        return SSH_PORT
    with socket.socket() as probe:
        # Bound on all addresses, never listened on: so the port is free on every loopback address.
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def require_ssh_port(port: int) -> None:
    """Refuse a port on which no machine's sshd can be reached.

    Raises:
        LocalEC2Error: something listens on it on all addresses, or it is not for plain users.
    """
    with contextlib.closing(_reusable_socket()) as probe:
        try:
            probe.bind((LAST_LOOPBACK, port))
        except OSError as error:
            raise LocalEC2Error(
                f"instances cannot have their sshd on port {port}: {error.strerror}; choose another ssh_port"
            ) from error


def _reusable_socket() -> socket.socket:
    new = socket.socket()
    new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return new


def _can_bind(address: str, port: int) -> bool:
    with contextlib.closing(_reusable_socket()) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


class LoopbackAddresses:
    """The loopback addresses that instances have as their public ones: all of 127.0.0.0/8 is loopback on Linux.

    They are drawn at random, so that two servers side by side don't meet.

    Args:
        port: an address counts as free when this port can be bound on it; None to take any address.
    """

    def __init__(self, port: int | None) -> None:
        self._port = port
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def allocate(self) -> str:
        """Take an address that is free.

        Raises:
            LocalEC2Error: there is none.
        """
        for _ in range(_ATTEMPTS):
            # 127.0.0.0/16 is left alone: services of the machine itself listen there.
            address = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"  # noqa: S311
            with self._lock:
                if address in self._taken:
                    continue
                self._taken.add(address)
            if self._port is None or _can_bind(address, self._port):
                return address
            self.release(address)
        raise LocalEC2Error(f"no loopback address has port {self._port} free: stop what listens on it on all addresses")

    def release(self, address: str) -> None:
        """Give an address back."""
        with self._lock:
            self._taken.discard(address)
