"""The requested and the supported numbers of addresses of an interface.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AvailableIpPerENI.html
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
"""No instance type supports more addresses on one interface."""


@dataclass(frozen=True)
class AddressCounts:
    """The requested numbers of addresses of a new interface.

    Args:
        ipv4: the number of private IPv4 addresses.
        ipv6: the number of IPv6 addresses.
        public: the number of public IPv4 addresses, each associated with a private one.

    Raises:
        InvalidArgumentError: a number is invalid.
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
    """The limits of an instance type.

    Args:
        instance_type: the instance type, such as "t3.micro".
        interfaces: the maximum number of interfaces, including the primary one.
        ipv4: the maximum number of private IPv4 addresses per interface.
        ipv6: the maximum number of IPv6 addresses per interface.
    """

    instance_type: str
    interfaces: int
    ipv4: int
    ipv6: int

    def check(self, counts: AddressCounts) -> None:
        """Raise if the numbers exceed the limits of an interface.

        Raises:
            InvalidArgumentError: a number exceeds its limit, which the message has.
        """
        for family, requested, limit in (("IPv4", counts.ipv4, self.ipv4), ("IPv6", counts.ipv6, self.ipv6)):
            if requested > limit:
                raise InvalidArgumentError(
                    f"an interface of a {self.instance_type} takes {limit} {family} addresses, not {requested}"
                )


def limits_of(client: EC2Client, instance_type: str) -> InterfaceLimits | None:
    """Return the limits of an instance type (DescribeInstanceTypes).

    Args:
        client: the boto3 EC2 client.
        instance_type: the instance type, such as "t3.micro".

    Returns:
        The limits; None if EC2 does not report them, so that EC2 itself must check.
    """
    names: Any = [instance_type]
    try:
        with translated():
            descriptions = client.describe_instance_types(InstanceTypes=names)["InstanceTypes"]
    except CloudError as error:
        logger.debug("cannot determine the limits of %s: %s", instance_type, error)
        return None
    network = descriptions[0].get("NetworkInfo", {}) if descriptions else {}
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
