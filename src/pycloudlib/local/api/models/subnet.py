"""A subnet and its free addresses."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pycloudlib.local.api.moto_adapter import EC2ClientError, Subnet, reserved_ips

FIRST_OWN = 4
"""The index of the first usable address: EC2 reserves the first four addresses and the last one.

https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
"""
_GUESSES = 50
_ASSOCIATED = {"State": "associated"}


class LocalSubnet(Subnet):
    """A subnet in which only network interfaces occupy addresses.

    moto creates the object. `VpcRecords` then sets its class to this one.
    """

    block_public_access_states: Mapping[str, str] = {"InternetGatewayBlockMode": "off"}
    enable_dns64 = False
    map_customer_owned_ip_on_launch = False

    @property
    def subnet_id(self) -> str:
        """The subnet id; moto derives the attribute's name from the class name."""
        return str(self.id)

    @property
    def subnet_arn(self) -> str:
        """The subnet ARN; moto derives the attribute's name from the class name."""
        return self.arn

    @property
    def ipv6_cidr_block_association_set(self) -> list[dict[str, Any]]:
        """The associated IPv6 blocks; moto renders their state as the text of a mapping."""
        return [
            association
            for association in self.ipv6_cidr_block_associations.values()
            if association["ipv6CidrBlockState"] == _ASSOCIATED
        ]

    @property
    def assigned_ipv6_count(self) -> int:
        """The number of IPv6 addresses of an interface whose request has no count (AssignIpv6AddressOnCreation)."""
        return int(bool(self.assign_ipv6_address_on_creation and self.ipv6_cidr))

    def get_available_subnet_ip(self, instance: Any) -> str:
        """Choose a free address for an instance's primary interface."""
        return self.choose()

    def request_ip(self, ip: str, instance: Any) -> None:
        """Reject an address that an instance's primary interface cannot have."""
        self.require_free(ip)

    def del_subnet_ip(self, ip: str) -> None:
        """No-op: an address is free once no interface has it."""

    @property
    def available_ip_address_count(self) -> int:
        """The number of free addresses."""
        return self.cidr.num_addresses - FIRST_OWN - 1 - len(self._taken())

    def choose(self, besides: Collection[str] = ()) -> str:
        """Choose a free address.

        Args:
            besides: further addresses to avoid.

        Raises:
            EC2ClientError: too few addresses are free (InsufficientFreeAddressesInSubnet).
        """
        taken = self._taken() | set(besides)
        free = (address for address in self._candidates() if address not in taken)
        chosen = next(free, None)
        if chosen is None:
            self.require_room(1 + len(besides))
            raise _full(self.id)
        return chosen

    def require_room(self, count: int) -> None:
        """Require a number of free addresses.

        Raises:
            EC2ClientError: too few addresses are free (InsufficientFreeAddressesInSubnet).
        """
        if count > self.available_ip_address_count:
            raise _full(self.id)

    def require_free(self, address: str) -> None:
        """Require an address that a new interface can have.

        Raises:
            EC2ClientError: the address is outside the block or reserved (InvalidParameterValue), or in use
                (InvalidIPAddress.InUse).
        """
        if not _is_address(address) or ipaddress.ip_address(address) not in self.cidr:
            raise EC2ClientError(
                "InvalidParameterValue", f"Address {address} does not fall within the subnet's address range"
            )
        if not self._may_be_used(ipaddress.IPv4Address(address)):
            raise EC2ClientError("InvalidParameterValue", f"Address {address} is in subnet's reserved address range")
        if address in self._taken():
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {address} is in use.")

    @property
    def ipv6_cidr(self) -> str | None:
        """The IPv6 block; None without one."""
        blocks = [
            str(association["ipv6CidrBlock"])
            for association in self.ipv6_cidr_block_associations.values()
            if association["ipv6CidrBlockState"] == _ASSOCIATED
        ]
        return blocks[0] if blocks else None

    def choose_ipv6(self, besides: Collection[str] = ()) -> str:
        """Choose a free IPv6 address.

        Raises:
            EC2ClientError: the subnet has no IPv6 block (InvalidParameterValue).
        """
        block = ipaddress.IPv6Network(self._require_ipv6_cidr())
        taken = self._taken_ipv6() | set(besides)
        while True:
            address = str(block[random.randrange(FIRST_OWN, block.num_addresses - 1)])  # noqa: S311  (no secret)
            if address not in taken:
                return address

    def require_free_ipv6(self, address: str) -> str:
        """Require an IPv6 address that a new interface can have, and return it in compressed form.

        Raises:
            EC2ClientError: the address is outside the IPv6 block (InvalidParameterValue), or in use
                (InvalidIPAddress.InUse).
        """
        block = ipaddress.IPv6Network(self._require_ipv6_cidr())
        if not _is_address(address) or ipaddress.ip_address(address) not in block:
            raise EC2ClientError(
                "InvalidParameterValue", f"Address {address} does not fall within the subnet's address range"
            )
        short = str(ipaddress.IPv6Address(address))
        if short in self._taken_ipv6():
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {address} is in use.")
        return short

    def _require_ipv6_cidr(self) -> str:
        block = self.ipv6_cidr
        if block is None:
            raise EC2ClientError("InvalidParameterValue", f"Subnet {self.id} has no IPv6 CIDR block")
        return block

    def _candidates(self) -> Iterator[str]:
        """Yield random addresses first, as EC2 assigns them, then all addresses in order."""
        network = ipaddress.IPv4Network(str(self.cidr))
        for _ in range(_GUESSES):
            yield str(network[random.randrange(FIRST_OWN, network.num_addresses - 1)])  # noqa: S311  (no secret)
        for number in range(FIRST_OWN, network.num_addresses - 1):
            yield str(network[number])

    def _may_be_used(self, address: ipaddress.IPv4Address) -> bool:
        number = int(address) - int(self.cidr.network_address)
        return FIRST_OWN <= number < self.cidr.num_addresses - 1

    def _interfaces(self) -> list[Any]:
        return [eni for eni in self.ec2_backend.enis.values() if eni.subnet.id == self.id]

    def _taken(self) -> set[str]:
        of_interfaces = {
            address["PrivateIpAddress"] for eni in self._interfaces() for address in eni.private_ip_addresses
        }
        return of_interfaces | (reserved_ips(self) - self._first_three())

    def _first_three(self) -> set[str]:
        return {str(self.cidr[number]) for number in range(FIRST_OWN)}

    def _taken_ipv6(self) -> set[str]:
        return {address for eni in self._interfaces() for address in eni.ipv6_addresses}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _full(subnet_id: str) -> EC2ClientError:
    return EC2ClientError(
        "InsufficientFreeAddressesInSubnet",
        f"There are not enough free addresses in subnet '{subnet_id}' to satisfy the requested number.",
    )
