"""The network records as a `Topology`, the input of network drivers and of the reachability analysis."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.models.gateways import LocalNatGateway
from pycloudlib.local.api.models.interface import LocalInterface
from pycloudlib.local.api.models.interfaces import local_interface
from pycloudlib.local.api.models.routes import is_active, target_of
from pycloudlib.local.api.moto_adapter import EC2Backend, SecurityGroupRule, existing_backends, regional_backends
from pycloudlib.local.images.distributions import SELF
from pycloudlib.local.network.document import to_document
from pycloudlib.local.network.topology import (
    AclEntry,
    GroupRule,
    Interface,
    NatGateway,
    NetworkAcl,
    Peering,
    Route,
    RouteTable,
    SecurityGroup,
    Subnet,
    Topology,
    Traffic,
    Vpc,
)

_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "all": "-1"}
_ALL = -1
_OFF = {"stopped", "terminated"}


def topology() -> Topology:
    """Return the current network of all accounts and regions."""
    with LocalRecords.cloud.lock.reading():
        return _topology()


def on_change(listener: Callable[[Topology], None]) -> Callable[[], None]:
    """Report the network at once, and after each change.

    The response to a request that changes the network follows the report. Without a listener, nothing is computed.

    Args:
        listener: receives one report at a time, in the order of the changes. It must not change the records.

    Returns:
        A function that ends the reports.
    """
    return LocalRecords.cloud.lock.watch(_topology, listener)


def default_vpc_id(region: str) -> str | None:
    """Return the default VPC of the local account in a region, created with the first use of the region.

    Returns:
        None if it was deleted.
    """
    with LocalRecords.cloud.lock:
        vpc = regional_backends(SELF)[region].get_default_vpc()
        return str(vpc.id) if vpc is not None else None


def network_document() -> dict[str, Any]:
    """Return the network as a JSON document: the topology, and the names of resources by id."""
    with LocalRecords.cloud.lock.reading():
        names = dict(name for records in existing_backends() for name in _names(records))
        topology = _topology()
    return {"topology": to_document(topology), "names": names}


def _names(records: EC2Backend) -> Iterator[tuple[str, str]]:
    subnets = [subnet for of_zone in records.subnets.values() for subnet in of_zone.values()]
    instances = [controller.instance for controller in getattr(records, "controllers", {}).values()]
    for resource in (*records.vpcs.values(), *subnets, *instances, *records.enis.values()):
        name = next((tag["value"] for tag in resource.get_tags() if tag["key"] == "Name"), None)
        if name:
            yield resource.id, name
    for groups in records.groups.values():
        yield from ((group.id, group.name) for group in groups.values())


def _topology() -> Topology:
    backends = existing_backends()
    vpcs = {vpc_id: vpc for records in backends for vpc_id, vpc in _vpcs(records)}
    peerings = {
        peering.id: Peering(peering.id, (peering.vpc.id, peering.peer_vpc.id))
        for records in backends
        for peering in records.vpc_pcxs.values()
        if is_active(peering) and {peering.vpc.id, peering.peer_vpc.id} <= set(vpcs)
    }
    return Topology(vpcs, peerings)


def _vpcs(records: EC2Backend) -> Iterator[tuple[str, Vpc]]:
    interfaces = [local_interface(eni) for eni in records.enis.values()]
    subnets = [subnet for of_zone in records.subnets.values() for subnet in of_zone.values()]
    attached: list[Any] = [gateway for gateway in records.internet_gateways.values() if gateway.vpc is not None]
    gateways = {gateway.vpc.id: gateway.id for gateway in attached}
    for vpc in records.vpcs.values():
        acls = [acl for acl in records.network_acls.values() if acl.vpc_id == vpc.id]
        tables = [table for table in records.route_tables.values() if table.vpc_id == vpc.id]
        groups = records.groups.get(vpc.id) or {}
        yield (
            vpc.id,
            Vpc(
                vpc_id=vpc.id,
                cidrs=vpc_blocks(vpc, ipv6=False),
                ipv6_cidrs=vpc_blocks(vpc, ipv6=True),
                subnets={subnet.id: _subnet(subnet, acls, tables) for subnet in subnets if subnet.vpc_id == vpc.id},
                interfaces={
                    interface.id: _interface(interface) for interface in interfaces if interface.subnet.vpc_id == vpc.id
                },
                groups={group.id: _group(group, records) for group in groups.values()},
                acls={acl.id: _acl(acl) for acl in acls},
                route_tables={table.id: RouteTable(table.id, _routes(records, table)) for table in tables},
                nat_gateways={gateway.nat_gateway_id: gateway for gateway in _nat_gateways(records, vpc.id)},
                internet_gateway_id=gateways.get(vpc.id),
                egress_only_gateway_ids=frozenset(
                    gateway.id for gateway in records.egress_only_internet_gateways.values() if gateway.vpc_id == vpc.id
                ),
                dns_support=_is_true(vpc.enable_dns_support),
                dns_hostnames=_is_true(vpc.enable_dns_hostnames),
                dhcp_options=_dhcp_options(vpc),
            ),
        )


def _dhcp_options(vpc: Any) -> dict[str, tuple[str, ...]]:
    """Return the DHCP options of a VPC; none if it has the options "default"."""
    configurations = vpc.dhcp_options.dhcp_configurations if vpc.dhcp_options else []
    return {option["Key"]: tuple(value["Value"] for value in option["Values"]) for option in configurations}


def vpc_blocks(vpc: Any, *, ipv6: bool) -> tuple[str, ...]:
    """Return the CIDR blocks that are associated with a VPC.

    Args:
        vpc: the record of the VPC.
        ipv6: the family.
    """
    associations = vpc.get_cidr_block_association_set(ipv6=ipv6)
    return tuple(
        association["cidr_block"]
        for association in associations
        if association["cidr_block_state"]["state"] == "associated"
    )


def _subnet(subnet: Any, acls: Iterable[Any], tables: Iterable[Any]) -> Subnet:
    return Subnet(
        subnet_id=subnet.id,
        cidr=subnet.cidr_block,
        zone=subnet.availability_zone,
        acl_id=next(
            (acl.id for acl in acls for association in acl.associations if association.subnet_id == subnet.id), ""
        ),
        route_table_id=_route_table_id(subnet.id, tables),
        ipv6_cidr=subnet.ipv6_cidr,
    )


def _route_table_id(subnet_id: str, tables: Iterable[Any]) -> str:
    main = ""
    for table in tables:
        if any(association.get("SubnetId") == subnet_id for association in table.associations):
            return str(table.id)
        if table.main_association_id:
            main = table.id
    return main


def _interface(interface: LocalInterface) -> Interface:
    instance = interface.instance
    return Interface(
        attachment=interface.machine_attachment(),
        subnet_id=interface.subnet.id,
        group_ids=tuple(group.id for group in interface.group_set),
        source_dest_check=bool(interface.source_dest_check),
        instance_id=instance.id if instance is not None else None,
        running=instance is not None and instance.state not in _OFF,
        device_index=int(interface.device_index or 0) if instance is not None else 0,
    )


def _group(group: Any, records: EC2Backend) -> SecurityGroup:
    return SecurityGroup(
        group_id=group.id,
        ingress=tuple(_group_rule(rule, records) for rule in group.ingress_rules),
        egress=tuple(_group_rule(rule, records) for rule in group.egress_rules),
    )


def _group_rule(rule: SecurityGroupRule, records: EC2Backend) -> GroupRule:
    cidr = rule.cidr_ipv4 or rule.cidr_ipv6
    peers = prefix_list_entries(records, rule.prefix_list_id) if rule.prefix_list_id else ()
    group_id = rule.source_group.get("GroupId")
    return GroupRule(
        rule_id=rule.id,
        traffic=_traffic(rule.ip_protocol, rule.from_port, rule.to_port),
        cidrs=((canonical(cidr),) if cidr else ()) + peers,
        group_ids=(group_id,) if group_id else (),
    )


def prefix_list_entries(records: EC2Backend, prefix_list_id: str) -> tuple[str, ...]:
    """Return the CIDR blocks of a prefix list; none if it is unknown or deleted."""
    prefix_list = records.managed_prefix_lists.get(prefix_list_id)
    if prefix_list is None or prefix_list.state == "delete-complete":
        return ()
    return tuple(canonical(entry["Cidr"]) for entry in prefix_list.entries.get(prefix_list.version or 1) or [])


def _traffic(protocol: Any, first: Any, last: Any) -> Traffic:
    name = str(protocol).lower()
    name = _PROTOCOLS.get(name, name)
    if name not in ("tcp", "udp", "icmp", "icmpv6"):
        return Traffic(name)
    ends = [None if end is None or int(end) == _ALL else int(end) for end in (first, last)]
    if name in ("tcp", "udp") and None in ends:
        return Traffic(name)
    return Traffic(name, *ends)


def _acl(acl: Any) -> NetworkAcl:
    entries = sorted(acl.entries, key=lambda entry: int(entry.rule_number))
    return NetworkAcl(
        acl_id=acl.id,
        ingress=tuple(_acl_entry(entry) for entry in entries if not _is_true(entry.egress)),
        egress=tuple(_acl_entry(entry) for entry in entries if _is_true(entry.egress)),
    )


def _acl_entry(entry: Any) -> AclEntry:
    with_ports = entry.port_range_from is not None or entry.port_range_to is not None
    first = entry.port_range_from if with_ports else entry.icmp_type
    last = entry.port_range_to if with_ports else entry.icmp_code
    return AclEntry(
        number=int(entry.rule_number),
        allow=entry.rule_action == "allow",
        traffic=_traffic(entry.protocol, first, last),
        cidr=canonical(entry.cidr_block or entry.ipv6_cidr_block),
    )


def _routes(records: EC2Backend, table: Any) -> tuple[Route, ...]:
    return tuple(
        Route(cidr, *target_of(records, route, table.vpc_id))
        for route in table.routes
        for cidr in _destinations(records, route)
    )


def _destinations(records: EC2Backend, route: Any) -> tuple[str, ...]:
    cidr = route.destination_cidr_block or route.destination_ipv6_cidr_block
    if cidr:
        return (canonical(cidr),)
    prefix_list = route.destination_prefix_list
    return prefix_list_entries(records, prefix_list.id) if prefix_list else ()


def _nat_gateways(records: EC2Backend, vpc_id: str) -> Iterator[NatGateway]:
    for gateway in records.nat_gateways.values():
        assert isinstance(gateway, LocalNatGateway)  # noqa: S101  (no others are made)
        if gateway.vpc_id == vpc_id and gateway.state == "available" and gateway.interface is not None:
            yield NatGateway(
                nat_gateway_id=gateway.id,
                subnet_id=gateway.subnet_id,
                private_ip=str(gateway.interface.private_ip_address),
                public_ip=gateway.interface.public_ip,
            )


def _is_true(value: Any) -> bool:
    """Return whether a flag is set; moto stores flags as booleans or as text."""
    return str(value).lower() == "true"


def canonical(cidr: str) -> str:
    """Return a CIDR block with its host bits cleared, as EC2 applies it."""
    return str(ipaddress.ip_network(cidr, strict=False))
