"""VPCs and their contents, with the dependencies that prevent deletion."""

from __future__ import annotations

import ipaddress
from typing import Any

from pycloudlib.local.api.models.gateways import GatewayRecords
from pycloudlib.local.api.models.routes import LocalRoute
from pycloudlib.local.api.models.subnet import LocalSubnet
from pycloudlib.local.api.moto_adapter import (
    VPC,
    EC2ClientError,
    InvalidCIDRBlockParameterError,
    Route,
    SecurityGroupRule,
    Subnet,
    VPCGatewayAttachment,
    change_class,
    remove_acl_associations,
    remove_subnet_associations,
)

_SHORTEST_PREFIX, _LONGEST_PREFIX = 16, 28
"""The limits of a subnet's prefix length; a VPC has the same."""

# https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
_NOT_OF_A_VPC = tuple(
    ipaddress.IPv4Network(block) for block in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
)


class VpcRecords(GatewayRecords):
    """The VPCs of one account in one region, and their contents."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._default_dhcp_options_id = ""
        super().__init__(region_name, account_id)

    def create_default_vpc(self) -> VPC:
        """Create the default VPC, with an internet gateway and a default route to it (CreateDefaultVpc).

        Unlike on EC2, its default security group allows SSH from the host, where security groups take effect:
        otherwise, an instance that is launched without a VPC or a group would be unreachable.
        """
        vpc: VPC = super().create_default_vpc()
        if self.cloud.driver.host_address is not None:
            self._allow_ssh(vpc.id, self.cloud.driver.host_address)
        gateway = self.create_internet_gateway()
        self.attach_internet_gateway(gateway.id, vpc.id)
        (table,) = self.describe_route_tables(filters={"vpc-id": [vpc.id]})
        self.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
        return vpc

    def _allow_ssh(self, vpc_id: str, address: str) -> None:
        group = self.get_default_security_group(vpc_id)
        assert group is not None  # noqa: S101  (every new VPC has one)
        source = {"CidrIp": f"{address}/32", "Description": "the host"}
        group.add_ingress_rule(SecurityGroupRule(self, "tcp", group.id, "22", "22", source, is_egress=False))

    def create_vpc(self, cidr_block: str, *args: Any, **kwargs: Any) -> VPC:
        """Create a VPC with the region's default DHCP options (CreateVpc).

        As on EC2, the host bits of the CIDR block are cleared.
        """
        block = _canonical(cidr_block)
        if any(ipaddress.IPv4Network(block).overlaps(reserved) for reserved in _NOT_OF_A_VPC):
            raise EC2ClientError("InvalidVpc.Range", f"The CIDR '{block}' is invalid.")
        vpc: VPC = super().create_vpc(block, *args, **kwargs)
        vpc.dhcp_options = self._default_dhcp_options()
        return vpc

    def delete_dhcp_options_set(self, options_id: str | None) -> None:
        """Delete DHCP options that no VPC uses (DeleteDhcpOptions)."""
        for options in self.describe_dhcp_options([str(options_id)]):
            if any(vpc.dhcp_options is options for vpc in self.vpcs.values()):
                raise _has_dependencies("dhcpOptions", options.id)
            del self.dhcp_options_sets[options.id]

    def modify_vpc_attribute(self, vpc_id: str, attr_name: str, attr_value: str) -> None:
        """Change an attribute of a VPC, on which the public host names depend (ModifyVpcAttribute)."""
        super().modify_vpc_attribute(vpc_id, attr_name, attr_value)
        for interface in self._interfaces_in(vpc_id=vpc_id):
            interface.public_names_changed()

    def delete_route_table(self, route_table_id: str) -> None:
        """Delete a route table that is neither associated nor the main one (DeleteRouteTable)."""
        if self.get_route_table(route_table_id).main_association_id:
            raise _has_dependencies("routeTable", route_table_id)
        super().delete_route_table(route_table_id)

    def disassociate_route_table(self, association_id: str) -> str | None:
        """Remove an association other than that of the main route table (DisassociateRouteTable).

        Raises:
            EC2ClientError: the association is unknown, or that of the main route table.
        """
        if any(table.main_association_id == association_id for table in self.route_tables.values()):
            raise EC2ClientError(
                "InvalidParameterValue", f"cannot disassociate the main route table association {association_id}"
            )
        removed: str | None = super().disassociate_route_table(association_id)
        return removed

    def replace_route_table_association(self, association_id: str, route_table_id: str) -> str:
        """Associate another route table with a subnet, or make it the main one (ReplaceRouteTableAssociation).

        Raises:
            EC2ClientError: the association or the route table is unknown.
        """
        if all(association_id not in table.all_associations_ids for table in self.route_tables.values()):
            raise EC2ClientError(
                "InvalidAssociationID.NotFound", f"The association ID '{association_id}' does not exist"
            )
        return str(super().replace_route_table_association(association_id, route_table_id))

    def create_route(
        self,
        route_table_id: str,
        destination_cidr_block: str | None,
        destination_ipv6_cidr_block: str | None = None,
        destination_prefix_list_id: str | None = None,
        *args: Any,
        **targets: Any,
    ) -> Route:
        """Create a route to an existing target (CreateRoute).

        As on EC2, the host bits of the destination are cleared. moto also calls this for the local routes of a new
        route table or CIDR block.
        """
        self._require_route(destination_prefix_list_id, targets.get("nat_gateway_id"))
        route: Route = super().create_route(
            route_table_id,
            _canonical_or_none(destination_cidr_block),
            destination_ipv6_cidr_block,
            destination_prefix_list_id,
            *args,
            **targets,
        )
        change_class(route, LocalRoute)
        return route

    def replace_route(
        self,
        route_table_id: str,
        destination_cidr_block: Any,
        destination_ipv6_cidr_block: str | None = None,
        destination_prefix_list_id: str | None = None,
        nat_gateway_id: str | None = None,
        *args: Any,
        **targets: Any,
    ) -> Route:
        """Replace the target of a route with an existing target (ReplaceRoute)."""
        self._require_route(destination_prefix_list_id, nat_gateway_id)
        return super().replace_route(
            route_table_id,
            _canonical_or_none(destination_cidr_block),
            destination_ipv6_cidr_block,
            destination_prefix_list_id,
            nat_gateway_id,
            *args,
            **targets,
        )

    def delete_route(
        self,
        route_table_id: str,
        destination_cidr_block: Any,
        destination_ipv6_cidr_block: str | None = None,
        destination_prefix_list_id: str | None = None,
    ) -> Route:
        """Delete a route other than a local one (DeleteRoute)."""
        destination = _canonical_or_none(destination_cidr_block)
        requested = destination or destination_ipv6_cidr_block
        # Local routes belong to the VPC's associated blocks; disassociating a block deletes its routes.
        if requested in _associated_blocks(self.get_vpc(self.get_route_table(route_table_id).vpc_id)):
            raise EC2ClientError(
                "InvalidParameterValue", f"cannot remove local route {requested} in route table {route_table_id}"
            )
        return super().delete_route(
            route_table_id, destination, destination_ipv6_cidr_block, destination_prefix_list_id
        )

    def _require_route(self, prefix_list_id: str | None, nat_gateway_id: str | None) -> None:
        """Reject unknown ids that moto treats as missing."""
        if nat_gateway_id and nat_gateway_id not in self.nat_gateways:
            raise EC2ClientError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat_gateway_id}' does not exist")
        if prefix_list_id and prefix_list_id not in self.managed_prefix_lists:
            raise EC2ClientError(
                "InvalidPrefixListID.NotFound", f"The prefix list ID '{prefix_list_id}' does not exist"
            )

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
        """Create a subnet (CreateSubnet).

        Raises:
            EC2ClientError: a CIDR block or the availability zone is invalid.
        """
        if cidr_block is not None:
            cidr_block = _canonical(cidr_block)
            if not _SHORTEST_PREFIX <= ipaddress.IPv4Network(cidr_block).prefixlen <= _LONGEST_PREFIX:
                raise EC2ClientError("InvalidSubnet.Range", f"The CIDR '{cidr_block}' is invalid.")
            self._require_other_than_host(cidr_block)
        if ipv6_cidr_block:
            ipv6_cidr_block = self._require_free_ipv6_block(vpc_id, ipv6_cidr_block)
        zone = self._zone_of_subnet(availability_zone, availability_zone_id)
        subnet = super().create_subnet(vpc_id, cidr_block, ipv6_cidr_block, zone, None, ipv6_native, tags)
        if not self.get_vpc(vpc_id).is_default:
            subnet.default_for_az = subnet.map_public_ip_on_launch = False
        change_class(subnet, LocalSubnet)
        return subnet

    def _require_other_than_host(self, block: str) -> None:
        host = self.cloud.driver.host_address
        if host is not None and ipaddress.IPv4Address(host) in ipaddress.IPv4Network(block):
            raise EC2ClientError(
                "InvalidSubnet.Range",
                f"The CIDR '{block}' is invalid. It contains {host}, the address at which "
                "the instances of a local EC2 see the host.",
            )

    def _zone_of_subnet(self, name: str | None, zone_id: str | None) -> str:
        """Return the name of the requested zone; default the region's first.

        Raises:
            EC2ClientError: the zone is unknown (InvalidParameterValue), or both parameters are given
                (InvalidParameterCombination).
        """
        if name and zone_id:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "The parameters availabilityZone and availabilityZoneId cannot be used together",
            )
        zones = {zone.name: zone.zone_id for zone in self.describe_availability_zones()}
        if not name and not zone_id:
            return str(min(zones))
        for zone_name, id_of_zone in zones.items():
            if name == zone_name or zone_id == id_of_zone:
                return str(zone_name)
        parameter = "availabilityZone" if name else "availabilityZoneId"
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({name or zone_id}) for parameter {parameter} is invalid. Subnets can currently only be created in "
            f"the following availability zones: {', '.join(zones if name else zones.values())}.",
        )

    def associate_vpc_cidr_block(
        self, vpc_id: str, cidr_block: str, amazon_provided_ipv6_cidr_block: bool
    ) -> dict[str, Any]:
        """Associate an IPv4 or an Amazon-provided IPv6 block with a VPC (AssociateVpcCidrBlock)."""
        if not cidr_block and not amazon_provided_ipv6_cidr_block:
            raise EC2ClientError("MissingParameter", "Either 'cidrBlock' or 'ipv6CidrBlock' should be provided.")
        block = _canonical(cidr_block) if cidr_block else cidr_block
        return super().associate_vpc_cidr_block(vpc_id, block, amazon_provided_ipv6_cidr_block)

    def associate_subnet_cidr_block(self, subnet_id: str, ipv6_cidr_block: str) -> dict[str, Any]:
        """Associate an IPv6 block of the VPC with a subnet (AssociateSubnetCidrBlock)."""
        subnet: Any = self.get_subnet(subnet_id)
        if subnet.ipv6_cidr:
            raise EC2ClientError(
                "SubnetCidrBlockLimitExceeded", f"Subnet {subnet_id} has an IPv6 CIDR block already: {subnet.ipv6_cidr}"
            )
        block = self._require_free_ipv6_block(subnet.vpc_id, ipv6_cidr_block)
        return super().associate_subnet_cidr_block(subnet_id, block)

    def delete_subnet(self, subnet_id: str) -> Subnet:
        """Delete a subnet without network interfaces (DeleteSubnet)."""
        subnet = self.get_subnet(subnet_id)
        if self._interfaces_in(subnet_id=subnet_id):
            raise _has_dependencies("subnet", subnet_id)
        # As on EC2, delete the associations with the subnet: they would block DeleteRouteTable and DeleteNetworkAcl.
        remove_subnet_associations(self.route_tables.values(), subnet_id)
        remove_acl_associations(self.network_acls.values(), subnet_id)
        super().delete_subnet(subnet.id)
        return subnet

    def delete_vpc(self, vpc_id: str) -> VPC:
        """Delete a VPC that contains only its defaults (DeleteVpc)."""
        self.get_vpc(vpc_id)
        gateways = [
            gateway
            for gateway in self.internet_gateways.values()
            if gateway.vpc is not None and gateway.vpc.id == vpc_id
        ]
        groups = [group for group in self.groups[vpc_id].values() if not group.is_default]
        if gateways or groups or self._interfaces_in(vpc_id=vpc_id):
            raise _has_dependencies("vpc", vpc_id)
        if len(self.describe_route_tables(filters={"vpc-id": [vpc_id]})) > 1:
            raise _has_dependencies("vpc", vpc_id)
        if self.describe_subnets(filters={"vpc-id": [vpc_id]}):
            raise _has_dependencies("vpc", vpc_id)
        acls = [acl for acl in self.network_acls.values() if acl.vpc_id == vpc_id]
        if not all(acl.default for acl in acls):
            raise _has_dependencies("vpc", vpc_id)
        # Delete the VPC's own defaults, which no other action deletes; its DHCP options stay.
        self.groups.pop(vpc_id, None)
        for table in self.describe_route_tables(filters={"vpc-id": [vpc_id]}):
            del self.route_tables[table.id]
        for acl in acls:
            del self.network_acls[acl.id]
        self.get_vpc(vpc_id).dhcp_options = None
        return super().delete_vpc(vpc_id)

    def attach_internet_gateway(self, internet_gateway_id: str, vpc_id: str) -> VPCGatewayAttachment:
        """Attach an internet gateway to a VPC without one (AttachInternetGateway)."""
        other_gateways = [other for other in self.internet_gateways.values() if other.id != internet_gateway_id]
        if any(other.vpc is not None and other.vpc.id == vpc_id for other in other_gateways):
            raise EC2ClientError("InvalidParameterValue", f"Network {vpc_id} already has an internet gateway attached")
        return super().attach_internet_gateway(internet_gateway_id, vpc_id)

    def detach_internet_gateway(self, internet_gateway_id: str, vpc_id: str) -> None:
        """Detach an internet gateway from a VPC without public addresses (DetachInternetGateway)."""
        if any(eni.public_ips for eni in self._interfaces_in(vpc_id=vpc_id)):
            raise EC2ClientError(
                "DependencyViolation",
                f"Network {vpc_id} has some mapped public address(es). "
                "Please unmap those public address(es) before detaching the gateway.",
            )
        super().detach_internet_gateway(internet_gateway_id, vpc_id)

    def _default_dhcp_options(self) -> Any:
        if self._default_dhcp_options_id not in self.dhcp_options_sets:
            domain = "ec2.internal" if self.region_name == "us-east-1" else f"{self.region_name}.compute.internal"
            names: Any = [domain]  # a list, whatever moto's annotation says
            options = self.create_dhcp_options(["AmazonProvidedDNS"], names)
            self._default_dhcp_options_id = options.id
        return self.dhcp_options_sets[self._default_dhcp_options_id]

    def _interfaces_in(self, *, subnet_id: str | None = None, vpc_id: str | None = None) -> list[Any]:
        return [eni for eni in self.enis.values() if subnet_id == eni.subnet.id or vpc_id == eni.subnet.vpc_id]

    def _require_free_ipv6_block(self, vpc_id: str, block: str) -> str:
        """Require an IPv6 block that a new subnet of the VPC can have, and return it in canonical form."""
        network = _ipv6_network(block)
        associations: Any = self.get_vpc(vpc_id).get_cidr_block_association_set(ipv6=True)
        blocks = [_ipv6_network(association["cidr_block"]) for association in associations]
        if not any(network.subnet_of(vpc_block) for vpc_block in blocks):
            raise EC2ClientError("InvalidSubnet.Range", f"The CIDR '{block}' is invalid.")
        subnets: list[Any] = self.describe_subnets(filters={"vpc-id": [vpc_id]})
        taken = [_ipv6_network(subnet.ipv6_cidr) for subnet in subnets if subnet.ipv6_cidr]
        if any(network.overlaps(taken_block) for taken_block in taken):
            raise EC2ClientError("InvalidSubnet.Conflict", f"The CIDR '{block}' conflicts with another subnet")
        return str(network)


def _canonical(cidr_block: str) -> str:
    try:
        return str(ipaddress.IPv4Network(cidr_block, strict=False))
    except ValueError:
        raise InvalidCIDRBlockParameterError(cidr_block) from None


def _associated_blocks(vpc: Any) -> set[str]:
    return {
        association["cidr_block"]
        for ipv6 in (False, True)
        for association in vpc.get_cidr_block_association_set(ipv6=ipv6)
        if association["cidr_block_state"]["state"] == "associated"
    }


def _canonical_or_none(cidr_block: str | None) -> Any:
    return _canonical(cidr_block) if cidr_block else None


def _ipv6_network(block: str) -> ipaddress.IPv6Network:
    try:
        return ipaddress.IPv6Network(block)
    except ValueError:
        raise InvalidCIDRBlockParameterError(block) from None


def _has_dependencies(kind: str, resource_id: str) -> EC2ClientError:
    return EC2ClientError("DependencyViolation", f"The {kind} '{resource_id}' has dependencies and cannot be deleted.")
