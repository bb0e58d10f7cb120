"""User-mode networking: guest networks, and the ports of public addresses that forward to guests.

QEMU's user networking needs no privileges. It gives each machine an isolated flat network, in which the guest has the
instance's private address. The network contains 169.254.169.254, too. Machines cannot reach each other.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.attachment import Address, NetworkAttachment
from pycloudlib.local.network.public_addresses import can_bind, reusable_socket

METADATA_ADDRESS = "169.254.169.254"
SSH_PORT = 22
LAST_LOOPBACK = "127.255.255.254"
"""An address on which only wildcard sockets listen."""
SHORTEST_PREFIX = 4
"""The shortest prefix length that QEMU accepts; it accepts any dotted netmask."""


def enclosing_network(address: str) -> str:
    """Return the smallest network, in QEMU's notation, with an address and the metadata service.

    Raises:
        LocalEC2Error: the network would be 0.0.0.0/0, in which QEMU forwards no connections.
    """
    bits = int(ipaddress.IPv4Address(address)) ^ int(ipaddress.IPv4Address(METADATA_ADDRESS))
    prefix = 32 - bits.bit_length()
    if prefix == 0:
        raise LocalEC2Error(
            f"instances on user networking cannot have addresses below 128.0.0.0, such as {address}: "
            "use another CIDR block"
        )
    network = ipaddress.IPv4Network(f"{address}/{prefix}", strict=False)
    if prefix >= SHORTEST_PREFIX:
        return str(network)
    return network.with_netmask


def user_netdev(attachment: NetworkAttachment, *, ssh_port: int, metadata_socket: str) -> dict[str, Any]:
    """Return the arguments of QMP's netdev_add for an interface.

    Args:
        attachment: the interface.
        ssh_port: the port on the attachment's public addresses that forwards to port 22 of the guest.
        metadata_socket: the path of the metadata service's Unix socket, without commas or spaces, relative to QEMU's
            working directory.
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
        # The cmd form starts one process per connection; the other form opens a single stream at QEMU's start.
        "guestfwd": [{"str": f"tcp:{METADATA_ADDRESS}:80-cmd:socat - UNIX-CONNECT:{metadata_socket}"}],
        "hostfwd": [{"str": forwarding(address, ssh_port)} for address in attachment.addresses if address.public_ip],
    }


def forwarding(address: Address, ssh_port: int) -> str:
    """Return QEMU's hostfwd rule from a public address to sshd at a private one."""
    return f"tcp:{address.public_ip}:{ssh_port}-{address.private_ip}:{SSH_PORT}"


def as_option(netdev: Mapping[str, Any]) -> str:
    """Format the result of `user_netdev()` as the value of QEMU's `-netdev` option."""
    kind, *members = netdev.items()
    return ",".join([kind[1], *(option for name, value in members for option in _options(name, value))])


def _options(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"{name}={'on' if value else 'off'}"]
    if isinstance(value, list):
        return [f"{name}={item['str']}" for item in value]
    return [f"{name}={value}"]


def choose_ssh_port() -> int:
    """Return the port that forwards to the sshd of every instance: 22 if bindable, else a free high port."""
    if can_bind(LAST_LOOPBACK, SSH_PORT):
        return SSH_PORT
    with socket.socket() as probe:
        # A successful bind to the wildcard address proves that the port is free on every loopback address.
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def require_ssh_port(port: int) -> None:
    """Require a port that can be bound on loopback addresses.

    Raises:
        LocalEC2Error: another process listens on all addresses, or the port is privileged.
    """
    with contextlib.closing(reusable_socket()) as probe:
        try:
            probe.bind((LAST_LOOPBACK, port))
        except OSError as error:
            raise LocalEC2Error(
                f"instances cannot have their sshd on port {port}: {error.strerror}; choose another ssh_port"
            ) from error
