"""VPCs, subnets, gateways and security groups: what is in one another, and cannot be deleted therefore."""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.ec2.exceptions import EC2ClientError, InvalidCIDRBlockParameterError
from moto.ec2.models.subnets import Subnet
from moto.ec2.models.vpcs import VPC
from moto.ec2.models.vpn_gateway import VPCGatewayAttachment

from pycloudlib.local.models.base import LocalRecords
from pycloudlib.local.models.subnet import LocalSubnet

_SHORTEST_PREFIX, _LONGEST_PREFIX = 16, 28
"""Of a subnet, as of a VPC."""


class VpcRecords(LocalRecords):
    """The VPCs of one account in one region, and what they hold."""

    def create_vpc(self, cidr_block: str, *args: Any, **kwargs: Any) -> VPC:
        """CreateVpc; the host's part of the address is cleared, as EC2 does."""
        return super().create_vpc(_canonical(cidr_block), *args, **kwargs)

    def create_subnet(
        self,
        vpc_id: str,
        cidr_block: str,
        ipv6_cidr_block: str | None = None,
        availability_zone: str | None = None,
        availability_zone_id: str | None = None,
        ipv6_native: bool = False,
        tags: dict[str, dict[str, str]] | None = None,
    ) -> Subnet:
        """CreateSubnet."""
        if cidr_block:
            cidr_block = _canonical(cidr_block)
            if not _SHORTEST_PREFIX <= ipaddress.IPv4Network(cidr_block).prefixlen <= _LONGEST_PREFIX:
                raise EC2ClientError("InvalidSubnet.Range", f"The CIDR '{cidr_block}' is invalid.")
        if ipv6_cidr_block:
            self._require_free_ipv6_block(vpc_id, ipv6_cidr_block)
        subnet = super().create_subnet(
            vpc_id, cidr_block, ipv6_cidr_block, availability_zone, availability_zone_id, ipv6_native, tags
        )
        if not self.get_vpc(vpc_id).is_default:
            subnet.default_for_az = subnet.map_public_ip_on_launch = False
        subnet.__class__ = LocalSubnet  # type: ignore[type-abstract]  # moto names its own class
        return subnet

    def associate_subnet_cidr_block(self, subnet_id: str, ipv6_cidr_block: str) -> dict[str, Any]:
        """AssociateSubnetCidrBlock: an IPv6 block of the VPC's."""
        subnet: Any = self.get_subnet(subnet_id)
        if subnet.ipv6_cidr:
            raise EC2ClientError(
                "SubnetCidrBlockLimitExceeded", f"Subnet {subnet_id} has an IPv6 CIDR block already: {subnet.ipv6_cidr}"
            )
        self._require_free_ipv6_block(subnet.vpc_id, ipv6_cidr_block)
        return super().associate_subnet_cidr_block(subnet_id, ipv6_cidr_block)

    def delete_subnet(self, subnet_id: str) -> Subnet:
        """DeleteSubnet, of one without network interfaces."""
        subnet = self.get_subnet(subnet_id)
        if self._interfaces_in(subnet_id=subnet_id):
            raise _has_dependencies("subnet", subnet_id)
        # On EC2 the associations go with the subnet; else the route table could never be deleted.
        for table in self.route_tables.values():
            gone = [key for key, target in table._associations.items() if target == subnet_id]
            for association_id in gone:
                del table._associations[association_id]
        super().delete_subnet(subnet.id)
        return subnet

    def delete_vpc(self, vpc_id: str) -> VPC:
        """DeleteVpc, of one that holds nothing but what came with it."""
        self.get_vpc(vpc_id)
        gateways = [one for one in self.internet_gateways.values() if one.vpc is not None and one.vpc.id == vpc_id]
        groups = [one for one in self.groups[vpc_id].values() if not one.is_default]
        if gateways or groups or self._interfaces_in(vpc_id=vpc_id):
            raise _has_dependencies("vpc", vpc_id)
        if len(self.describe_route_tables(filters={"vpc-id": [vpc_id]})) > 1:
            raise _has_dependencies("vpc", vpc_id)
        if self.describe_subnets(filters={"vpc-id": [vpc_id]}):
            raise _has_dependencies("vpc", vpc_id)
        # The default group goes with its VPC; nobody else can delete it.
        self.groups.pop(vpc_id, None)
        return super().delete_vpc(vpc_id)

    def attach_internet_gateway(self, internet_gateway_id: str, vpc_id: str) -> VPCGatewayAttachment:
        """AttachInternetGateway: a VPC has one at most."""
        others = [one for one in self.internet_gateways.values() if one.id != internet_gateway_id]
        if any(one.vpc is not None and one.vpc.id == vpc_id for one in others):
            raise EC2ClientError("InvalidParameterValue", f"Network {vpc_id} already has an internet gateway attached")
        return super().attach_internet_gateway(internet_gateway_id, vpc_id)

    def detach_internet_gateway(self, internet_gateway_id: str, vpc_id: str) -> None:
        """DetachInternetGateway, of a VPC without public addresses."""
        if any(eni.public_ips for eni in self._interfaces_in(vpc_id=vpc_id)):
            raise EC2ClientError(
                "DependencyViolation",
                f"Network {vpc_id} has some mapped public address(es). "
                "Please unmap those public address(es) before detaching the gateway.",
            )
        super().detach_internet_gateway(internet_gateway_id, vpc_id)

    def _interfaces_in(self, *, subnet_id: str | None = None, vpc_id: str | None = None) -> list[Any]:
        return [eni for eni in self.enis.values() if subnet_id == eni.subnet.id or vpc_id == eni.subnet.vpc_id]

    def _require_free_ipv6_block(self, vpc_id: str, block: str) -> None:
        wanted = _ipv6_network(block)
        associations: Any = self.get_vpc(vpc_id).get_cidr_block_association_set(ipv6=True)
        blocks = [_ipv6_network(one["cidr_block"]) for one in associations]
        if not any(wanted.subnet_of(one) for one in blocks):
            raise EC2ClientError("InvalidSubnet.Range", f"The CIDR '{block}' is invalid.")
        subnets: list[Any] = self.describe_subnets(filters={"vpc-id": [vpc_id]})
        taken = [_ipv6_network(subnet.ipv6_cidr) for subnet in subnets if subnet.ipv6_cidr]
        if any(wanted.overlaps(one) for one in taken):
            raise EC2ClientError("InvalidSubnet.Conflict", f"The CIDR '{block}' conflicts with another subnet")


def _canonical(cidr_block: str) -> str:
    try:
        return str(ipaddress.IPv4Network(cidr_block, strict=False))
    except ValueError:
        raise InvalidCIDRBlockParameterError(cidr_block) from None


def _ipv6_network(block: str) -> ipaddress.IPv6Network:
    try:
        return ipaddress.IPv6Network(block)
    except ValueError:
        raise InvalidCIDRBlockParameterError(block) from None


def _has_dependencies(kind: str, resource_id: str) -> EC2ClientError:
    return EC2ClientError("DependencyViolation", f"The {kind} '{resource_id}' has dependencies and cannot be deleted.")
