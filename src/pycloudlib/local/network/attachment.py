"""An interface of a machine, as the network sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    """An address of an interface.

    Args:
        private_ip: the address that the guest has.
        public_ip: the loopback address that leads to the guest's sshd; None for none.
    """

    private_ip: str
    public_ip: str | None = None


@dataclass(frozen=True)
class NetworkAttachment:
    """An interface of a machine and the addresses it answers to.

    Args:
        interface_id: the network interface.
        mac: its hardware address.
        addresses: its IPv4 addresses, the primary one first; the guest gets that one by DHCP.
        subnet: the subnet of those addresses, such as "172.31.0.0/20".
        ipv6_addresses: its IPv6 addresses; default none.
        ipv6_subnet: their subnet, such as "2600:1f13:0:1::/64"; None without IPv6.
    """

    interface_id: str
    mac: str
    addresses: tuple[Address, ...]
    subnet: str
    ipv6_addresses: tuple[str, ...] = ()
    ipv6_subnet: str | None = None

    @property
    def private_ip(self) -> str:
        """The primary address."""
        return self.addresses[0].private_ip

    @property
    def private_addresses(self) -> tuple[str, ...]:
        """All addresses that the guest has, IPv4 and IPv6."""
        return (*(address.private_ip for address in self.addresses), *self.ipv6_addresses)
