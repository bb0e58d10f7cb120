"""The network of RunInstances: subnet, security groups, and addresses.

A launch specifies them for the instance, or for each of its NetworkInterfaces; EC2 rejects a mixture.
See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.vpc import VPC
from pycloudlib.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

OF_EVERY_INTERFACE = {"SubnetId": "SubnetId", "SecurityGroupIds": "Groups"}
"""The instance's parameters that every interface can have, with their names in NetworkInterfaces."""

OF_THE_PRIMARY_INTERFACE = {
    "Ipv6AddressCount": "Ipv6AddressCount",
    "Ipv6Addresses": "Ipv6Addresses",
    "PrivateIpAddress": "PrivateIpAddress",
}
"""The instance's parameters that only its primary interface can have."""

IPV6_CHOICES = ("Ipv6AddressCount", "Ipv6Addresses", "Ipv6PrefixCount", "Ipv6Prefixes")
"""The parameters that choose the IPv6 addresses of an interface."""


def choose_network(
    client: EC2Client, vpc: VPC | None, parameters: Mapping[str, Any], *, enable_ipv6: bool
) -> dict[str, Any]:
    """Return the network parameters that the caller leaves open.

    Args:
        client: the boto3 EC2 client.
        vpc: the VPC to launch into; None for the caller's parameters, or else the default VPC.
        parameters: the caller's parameters of RunInstances.
        enable_ipv6: whether to assign an IPv6 address, if the subnet supports it.

    Returns:
        Further parameters of RunInstances.

    Raises:
        InvalidArgumentError: `vpc` is not a VPC, has no subnet in the requested zone, or does not have the subnet.
    """
    if vpc is not None and not isinstance(vpc, VPC):
        raise InvalidArgumentError(f"vpc is a {type(vpc).__name__}; it must be a VPC from get_or_create_vpc()")
    network = _into(vpc, parameters) if vpc else {}
    subnet_id = network.get("SubnetId") or _subnet_of_caller(parameters)
    if enable_ipv6 and subnet_id and not _requests_ipv6(parameters) and _has_ipv6(client, subnet_id):
        network["Ipv6AddressCount"] = 1
    return network


def network_parameters(callers: Mapping[str, Any], network: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the caller's network parameters with the chosen ones; the caller's values take precedence.

    Args:
        callers: the caller's parameters of RunInstances.
        network: SubnetId, SecurityGroupIds, and Ipv6AddressCount, if known.

    Returns:
        The merged parameters, in one of the two forms that EC2 accepts.
    """
    merged = {**network, **callers}
    if "NetworkInterfaces" not in callers:
        return merged
    interfaces = [dict(interface) for interface in callers["NetworkInterfaces"]]
    for_every_interface = {name: merged.pop(name) for name in OF_EVERY_INTERFACE if name in merged}
    first = {name: merged.pop(name) for name in OF_THE_PRIMARY_INTERFACE if name in merged}
    for position, interface in enumerate(interfaces):
        if "NetworkInterfaceId" in interface:
            # An existing interface keeps its own configuration.
            continue
        specified = {OF_EVERY_INTERFACE[name]: value for name, value in for_every_interface.items()}
        if interface.get("DeviceIndex", position) == 0:
            specified |= {OF_THE_PRIMARY_INTERFACE[name]: value for name, value in first.items()}
        interfaces[position] = specified | interface
    return {**merged, "NetworkInterfaces": interfaces}


def _into(vpc: VPC, parameters: Mapping[str, Any]) -> dict[str, Any]:
    zone = parameters.get("Placement", {}).get("AvailabilityZone")
    subnet_id = _subnet_of_caller(parameters)
    if subnet_id is not None and subnet_id not in vpc.subnets.values():
        raise InvalidArgumentError(
            f"{vpc.id} ({vpc.name}) has no subnet {subnet_id}; it has {', '.join(vpc.subnets.values()) or 'none'}"
        )
    network = vpc.network_parameters(None if subnet_id else zone)
    return {**network, "SubnetId": subnet_id} if subnet_id else network


def _subnet_of_caller(parameters: Mapping[str, Any]) -> str | None:
    interfaces: Sequence[Mapping[str, Any]] = parameters.get("NetworkInterfaces", ())
    named = [parameters.get("SubnetId"), *(interface.get("SubnetId") for interface in interfaces)]
    return next(filter(None, named), None)


def _requests_ipv6(parameters: Mapping[str, Any]) -> bool:
    interfaces: Sequence[Mapping[str, Any]] = parameters.get("NetworkInterfaces", ())
    return any(choice in specification for specification in (parameters, *interfaces[:1]) for choice in IPV6_CHOICES)


def _has_ipv6(client: EC2Client, subnet_id: str) -> bool:
    with translated():
        subnets = client.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [subnet_id]}])["Subnets"]
    blocks = subnets[0].get("Ipv6CidrBlockAssociationSet", []) if subnets else []
    return any(block.get("Ipv6CidrBlockState", {}).get("State") == "associated" for block in blocks)
