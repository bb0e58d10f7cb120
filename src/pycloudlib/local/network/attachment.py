"""The attachment of a machine's interface to a network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """An address of an interface.

    Args:
        private_ip: the guest's address.
        public_ip: the loopback address that forwards to the guest's sshd; None without one.
    """

    private_ip: str
    public_ip: str | None = None


@dataclass(frozen=True)
class NetworkAttachment:
    """A machine's interface and its addresses.

    Args:
        interface_id: the network interface.
        mac: the MAC address.
        addresses: the IPv4 addresses, the primary one first, which the guest gets by DHCP.
        subnet: the IPv4 subnet, such as "172.31.0.0/20".
        ipv6_addresses: the IPv6 addresses; default none.
        ipv6_subnet: the IPv6 subnet, such as "2600:1f13:0:1::/64"; None without IPv6.
    """

    interface_id: str
    mac: str
    addresses: tuple[Address, ...]
    subnet: str
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_subnet: str | None = None

    @property
    def private_ip(self) -> str:
        """The primary IPv4 address."""
        return self.addresses[0].private_ip

    @property
    def private_addresses(self) -> tuple[str, ...]:
        """All addresses of the guest, IPv4 and IPv6."""
        return (*(address.private_ip for address in self.addresses), *self.ipv6_addresses)
