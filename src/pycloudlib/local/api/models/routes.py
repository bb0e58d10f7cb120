"""Routes: their targets and their states."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import EC2Backend, Route
from pycloudlib.local.network.topology import Target


class LocalRoute(Route):
    """A route that is a blackhole while its target does not exist.

    moto creates the object. `VpcRecords` then sets its class to this one.
    """

    @property
    def state(self) -> str:
        """The state: "active" if the target exists, else "blackhole"."""
        table = self.route_table
        target, _ = target_of(table.ec2_backend, self, table.vpc_id)
        return "blackhole" if target is Target.BLACKHOLE else "active"


def target_of(records: EC2Backend, route: Any, vpc_id: str) -> tuple[Target, str]:
    """Return the kind and the id of a route's target.

    Args:
        records: the records of the route's region.
        route: the route.
        vpc_id: the VPC of the route table.
    """
    if route.local:
        return Target.LOCAL, "local"
    for target, kind, exists in (
        (route.gateway, Target.INTERNET_GATEWAY, _has_internet_gateway),
        (route.nat_gateway, Target.NAT_GATEWAY, _has_nat_gateway),
        (route.egress_only_igw, Target.EGRESS_ONLY_GATEWAY, _has_egress_only_gateway),
        (route.vpc_pcx, Target.PEERING, _has_peering),
    ):
        if target is not None:
            return kind if exists(records, target, vpc_id) else Target.BLACKHOLE, target.id
    interface_id = _interface_of(route)
    if interface_id is not None:
        attached = interface_id in records.enis and records.enis[interface_id].instance is not None
        return Target.INTERFACE if attached else Target.BLACKHOLE, interface_id
    return Target.BLACKHOLE, str(route.gateway_id or route.instance_id)


def is_active(peering: Any) -> bool:
    """Return whether a VPC peering connection is active: accepted, and not deleted."""
    return bool(peering.status["Code"] == "active")


def _has_internet_gateway(records: EC2Backend, gateway: Any, vpc_id: str) -> bool:
    record = records.internet_gateways.get(gateway.id)
    return record is not None and record.vpc is not None and record.vpc.id == vpc_id


def _has_nat_gateway(records: EC2Backend, gateway: Any, vpc_id: str) -> bool:
    record: Any = records.nat_gateways.get(gateway.id)
    return record is not None and record.state == "available" and record.vpc_id == vpc_id


def _has_egress_only_gateway(records: EC2Backend, gateway: Any, vpc_id: str) -> bool:
    record = records.egress_only_internet_gateways.get(gateway.id)
    return record is not None and record.vpc_id == vpc_id


def _has_peering(_records: EC2Backend, peering: Any, vpc_id: str) -> bool:
    return is_active(peering) and vpc_id in (peering.vpc.id, peering.peer_vpc.id)


def _interface_of(route: Any) -> str | None:
    if route.interface is not None:
        return str(route.interface.id)
    if route.instance is not None and 0 in route.instance.nics:
        return str(route.instance.nics[0].id)
    return None
