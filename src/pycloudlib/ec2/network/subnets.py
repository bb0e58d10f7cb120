"""Subnets, and their route to the internet: internet gateway and route table."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent, ignore_already_attached, when_free
from pycloudlib.ec2.api.creating import CreateRequest, create
from pycloudlib.ec2.api.faults import NEVER
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE, THROTTLING_CODES
from pycloudlib.ec2.network.rules import ANYWHERE
from pycloudlib.errors import CloudError, PycloudlibError
from pycloudlib.lifecycle import UndoOrder

logger = logging.getLogger(__name__)

SUBNET = "subnet"
GATEWAY = "internet gateway"
ROUTE_TABLE = "route table"

UNDO_TIMEOUT = 300.0
"""Seconds for the dependencies of a part to be deleted."""


class NetworkParts:
    """Creates and deletes the parts of a VPC.

    Args:
        context: the context of the VPC's region.
        name: the tag "Name" of each part; default the context's name.
    """

    def __init__(self, context: RegionContext, name: str = "") -> None:
        self._context = context
        self._client = context.client
        self._name = name

    def create_gateway(self, vpc_id: str, deadline: Deadline = NEVER) -> str:
        """Create an internet gateway, and attach it to a VPC (CreateInternetGateway, AttachInternetGateway).

        Args:
            vpc_id: the VPC.
            deadline: when to stop waiting for EC2; default never.

        Returns:
            The gateway id.
        """
        id_key = "InternetGatewayId"
        request = CreateRequest(
            kind=GATEWAY,
            id_key=id_key,
            order=UndoOrder.NETWORK,
            call=self._calling("internet-gateway", self._client.create_internet_gateway, "InternetGateway", deadline),
            find=lambda filters: self._client.describe_internet_gateways(Filters=filters)["InternetGateways"],
            delete=lambda record: self.delete_gateway(record[id_key], vpc_id),
        )
        gateway_id: str = create(self._context.ledger, request, deadline)[id_key]
        attach = partial(self._client.attach_internet_gateway, InternetGatewayId=gateway_id, VpcId=vpc_id)
        try:
            call_until_consistent(ignore_already_attached(attach), what=f"attach {gateway_id}", deadline=deadline)
        except BaseException:
            # Not attached yet, so a removal of the VPC would not find the gateway.
            self._undo_gateway(gateway_id, vpc_id, deadline)
            raise
        return gateway_id

    def create_route_table(self, vpc_id: str, gateway_id: str, deadline: Deadline = NEVER) -> str:
        """Create a route table whose IPv4 and IPv6 default routes use a gateway (CreateRouteTable, CreateRoute).

        Args:
            vpc_id: the VPC.
            gateway_id: the gateway.
            deadline: when to stop waiting for EC2; default never.

        Returns:
            The route table id.
        """
        request = CreateRequest(
            kind=ROUTE_TABLE,
            id_key="RouteTableId",
            order=UndoOrder.NETWORK,
            call=self._calling(
                "route-table", partial(self._client.create_route_table, VpcId=vpc_id), "RouteTable", deadline
            ),
            find=lambda filters: self._client.describe_route_tables(Filters=filters)["RouteTables"],
            delete=lambda record: self.delete_route_table(record["RouteTableId"]),
        )
        table_id: str = create(self._context.ledger, request, deadline)["RouteTableId"]
        ipv4, ipv6 = ANYWHERE
        route = partial(self._client.create_route, RouteTableId=table_id, GatewayId=gateway_id)
        for destination in ({"DestinationCidrBlock": ipv4}, {"DestinationIpv6CidrBlock": ipv6}):
            add = ignore_already_attached(partial(route, **destination))
            call_until_consistent(add, what=f"add a route to {table_id}", deadline=deadline)
        return table_id

    def create_subnet(
        self,
        vpc_id: str,
        zone: str,
        ipv4_cidr: str,
        ipv6_cidr: str,
        route_table_id: str,
        *,
        deadline: Deadline = NEVER,
    ) -> str:
        """Create a subnet that assigns public IPv4 addresses and IPv6 addresses to its instances.

        (CreateSubnet, ModifySubnetAttribute, AssociateRouteTable)

        Args:
            vpc_id: the VPC.
            zone: the availability zone.
            ipv4_cidr: the IPv4 CIDR block.
            ipv6_cidr: the IPv6 CIDR block, a /64.
            route_table_id: the route table.
            deadline: when to stop waiting for EC2; default never.

        Returns:
            The subnet id.
        """
        call = partial(
            self._client.create_subnet,
            VpcId=vpc_id,
            AvailabilityZone=zone,
            CidrBlock=ipv4_cidr,
            Ipv6CidrBlock=ipv6_cidr,
        )
        request = CreateRequest(
            kind=SUBNET,
            id_key="SubnetId",
            order=UndoOrder.NETWORK,
            call=self._calling("subnet", call, "Subnet", deadline),
            find=lambda filters: self._client.describe_subnets(Filters=filters)["Subnets"],
            delete=lambda record: self.delete_subnet(record["SubnetId"]),
        )
        subnet_id: str = create(self._context.ledger, request, deadline)["SubnetId"]
        # EC2 accepts one attribute per call.
        modify = partial(self._client.modify_subnet_attribute, SubnetId=subnet_id)
        for attribute in ("MapPublicIpOnLaunch", "AssignIpv6AddressOnCreation"):
            change: Any = {attribute: {"Value": True}}
            call_until_consistent(partial(modify, **change), what=f"modify {subnet_id}", deadline=deadline)
        associate = partial(self._client.associate_route_table, SubnetId=subnet_id, RouteTableId=route_table_id)
        call_until_consistent(associate, what=f"associate {subnet_id} with {route_table_id}", deadline=deadline)
        return subnet_id

    def delete_gateway(
        self, gateway_id: str, vpc_id: str, deadline: Deadline | None = None, patience: float = math.inf
    ) -> None:
        """Detach and delete an internet gateway (DetachInternetGateway, DeleteInternetGateway). No-op if it is deleted.

        Args:
            gateway_id: the gateway.
            vpc_id: the VPC; the gateway need not be attached.
            deadline: when to give up; default UNDO_TIMEOUT seconds from now.
            patience: maximum seconds for public addresses behind it to be released; default until the deadline.
        """
        deadline = deadline or Deadline.after(UNDO_TIMEOUT)
        detach = partial(self._client.detach_internet_gateway, InternetGatewayId=gateway_id, VpcId=vpc_id)
        try:
            when_free(detach, what=f"detach {gateway_id}", deadline=deadline, patience=patience)
        except CloudError as error:
            if error.code != "Gateway.NotAttached":
                raise
        # Detached now, so a removal of the VPC would not find the gateway.
        self._context.record(GATEWAY, gateway_id, partial(self.delete_gateway, gateway_id, vpc_id), UndoOrder.NETWORK)
        delete = partial(self._client.delete_internet_gateway, InternetGatewayId=gateway_id)
        when_free(delete, what=f"delete {gateway_id}", deadline=deadline, patience=patience)
        self._context.ledger.forget(gateway_id)

    def delete_route_table(self, table_id: str, deadline: Deadline | None = None, patience: float = math.inf) -> None:
        """Delete a route table once no subnet is associated with it (DeleteRouteTable)."""
        delete = partial(self._client.delete_route_table, RouteTableId=table_id)
        deadline = deadline or Deadline.after(UNDO_TIMEOUT)
        when_free(delete, what=f"delete {table_id}", deadline=deadline, patience=patience)
        self._context.ledger.forget(table_id)

    def delete_subnet(self, subnet_id: str, deadline: Deadline | None = None, patience: float = math.inf) -> None:
        """Delete a subnet once it has no interfaces (DeleteSubnet)."""
        delete = partial(self._client.delete_subnet, SubnetId=subnet_id)
        deadline = deadline or Deadline.after(UNDO_TIMEOUT)
        when_free(delete, what=f"delete {subnet_id}", deadline=deadline, patience=patience)
        self._context.ledger.forget(subnet_id)

    def _calling(
        self, resource_type: str, call: Callable[..., Any], key: str, deadline: Deadline
    ) -> Callable[[str], Sequence[Any]]:
        """Wrap a create call: add an idempotency tag, retry until EC2 is consistent, and return the new record."""

        def calling(idempotency_tag: str) -> Sequence[Any]:
            tags = self._context.tags_for(resource_type, name=self._name, idempotency_tag=idempotency_tag)
            marked = partial(call, TagSpecifications=tags)
            # The deadline ends the retries only: a request in flight must return its record.
            patience = min(NOT_YET_VISIBLE, deadline.remaining)
            action = f"create the {resource_type}"
            response = call_until_consistent(marked, what=action, patience=patience, always=THROTTLING_CODES)
            return [response[key]]

        return calling

    def _undo_gateway(self, gateway_id: str, vpc_id: str, deadline: Deadline) -> None:
        try:
            self.delete_gateway(gateway_id, vpc_id, deadline.at_most(UNDO_TIMEOUT))
        except PycloudlibError as error:
            logger.error("could not delete %s; clean() tries again: %s", gateway_id, error)
