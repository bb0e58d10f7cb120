"""How many addresses an interface shall have, and how many it can have.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AvailableIpPerENI.html
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.faults import translated
from pycloudlib.errors import CloudError, InvalidArgumentError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

MAX_ADDRESSES = 256
"""No type of instance takes more on one interface."""


@dataclass(frozen=True)
class AddressCounts:
    """How many addresses a new interface shall have.

    Args:
        ipv4: private IPv4 addresses.
        ipv6: IPv6 addresses.
        public: public IPv4 addresses, each leading to one of the private ones.

    Raises:
        InvalidArgumentError: there can be no such interface.
    """

    ipv4: int
    ipv6: int
    public: int

    def __post_init__(self) -> None:
        _check_count("ipv4_address_count", self.ipv4, lowest=1)
        _check_count("ipv6_address_count", self.ipv6, lowest=0)
        _check_count("ipv4_public_ip_count", self.public, lowest=0)
        if self.public > self.ipv4:
            raise InvalidArgumentError(
                f"{self.public} public addresses need as many private ones; ipv4_address_count is {self.ipv4}"
            )


@dataclass(frozen=True)
class InterfaceLimits:
    """What a type of instance can have.

    Args:
        instance_type: such as "t3.micro".
        interfaces: interfaces, the primary one among them.
        ipv4: private IPv4 addresses on each.
        ipv6: IPv6 addresses on each.
    """

    instance_type: str
    interfaces: int
    ipv4: int
    ipv6: int

    def check(self, counts: AddressCounts) -> None:
        """Refuse more addresses than an interface can have.

        Raises:
            InvalidArgumentError: says how many it can have.
        """
        for what, wanted, possible in (("IPv4", counts.ipv4, self.ipv4), ("IPv6", counts.ipv6, self.ipv6)):
            if wanted > possible:
                raise InvalidArgumentError(
                    f"an interface of a {self.instance_type} takes {possible} {what} addresses, not {wanted}"
                )


def limits_of(client: EC2Client, instance_type: str) -> InterfaceLimits | None:
    """Tell what a type of instance can have (DescribeInstanceTypes).

    Args:
        client: the boto3 EC2 client.
        instance_type: such as "t3.micro".

    Returns:
        None if EC2 does not tell; then it is left to EC2 to refuse.
    """
    wanted: Any = [instance_type]
    try:
        with translated():
            found = client.describe_instance_types(InstanceTypes=wanted)["InstanceTypes"]
    except CloudError as error:
        logger.debug("no limits of %s: %s", instance_type, error)
        return None
    network = found[0].get("NetworkInfo", {}) if found else {}
    if "MaximumNetworkInterfaces" not in network:
        return None
    return InterfaceLimits(
        instance_type,
        interfaces=network["MaximumNetworkInterfaces"],
        ipv4=network.get("Ipv4AddressesPerInterface", MAX_ADDRESSES),
        ipv6=network.get("Ipv6AddressesPerInterface", MAX_ADDRESSES),
    )


def _check_count(name: str, count: object, *, lowest: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not lowest <= count <= MAX_ADDRESSES:
        raise InvalidArgumentError(f"{name} is {count!r}; it must be a whole number from {lowest} to {MAX_ADDRESSES}")
