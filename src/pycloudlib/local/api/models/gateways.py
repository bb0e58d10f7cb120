"""Internet gateways and NAT gateways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from secrets import token_hex
from typing import Any

from pycloudlib.local.api.models.addresses import AddressRecords
from pycloudlib.local.api.models.interface import LocalInterface
from pycloudlib.local.api.moto_adapter import EC2ClientError, NatGateway, random_nat_gateway_id

_ENDED = ("deleted", "failed")


class LocalNatGateway(NatGateway):
    """A NAT gateway: a network interface in a subnet, with an elastic address if the gateway is public.

    Args:
        backend: the records that own the gateway.
        subnet_id: the subnet of the gateway.
        connectivity_type: "public" or "private".
        tags: values by key.
    """

    def __init__(self, backend: Any, subnet_id: str, connectivity_type: str, tags: Mapping[str, str]) -> None:
        self.ec2_backend = backend
        self.id = random_nat_gateway_id()
        self.subnet_id = subnet_id
        self.vpc_id = backend.get_subnet(subnet_id).vpc_id
        self.connectivity_type = connectivity_type
        self.created = datetime.now(timezone.utc)
        self.delete_time: datetime | None = None
        self.failure_code: str | None = None
        self.failure_message: str | None = None
        self.state = "available"
        self.address_set: list[dict[str, Any]] = []
        self.interface: LocalInterface | None = None
        self.add_tags(dict(tags))

    @property
    def create_time(self) -> Any:
        """The creation time."""
        return self.created

    def fail(self, code: str, message: str) -> None:
        """Set the state to failed, with a failure code and message."""
        self.state, self.failure_code, self.failure_message = "failed", code, message


class GatewayRecords(AddressRecords):
    """The gateways of one account in one region."""

    def create_nat_gateway(
        self,
        subnet_id: str,
        allocation_id: str | None,
        tags: dict[str, str] | None = None,
        connectivity_type: str | None = None,
        private_ip: str | None = None,
    ) -> LocalNatGateway:
        """Create a NAT gateway (CreateNatGateway).

        As on EC2, a public gateway fails if its VPC has no internet gateway.
        """
        subnet: Any = self.get_subnet(subnet_id)
        kind = connectivity_type or "public"
        if kind == "public" and not allocation_id:
            raise EC2ClientError("MissingParameter", "The request must include the AllocationId parameter.")
        if kind == "private" and allocation_id:
            raise EC2ClientError(
                "InvalidParameterCombination", "The AllocationId parameter is not supported for private NAT gateways."
            )
        address = self.address_by_allocation([allocation_id])[0] if allocation_id else None
        if address is not None and address.association_id:
            raise EC2ClientError(
                "InvalidAllocationID.InUse", f"The allocation '{allocation_id}' is already associated."
            )
        if private_ip:
            subnet.require_free(private_ip)
        gateway = LocalNatGateway(self, subnet_id, kind, tags or {})  # type: ignore[abstract]  # as moto's own class
        self.nat_gateways[gateway.id] = gateway
        if kind == "public" and not self._has_internet_gateway(gateway.vpc_id):
            message = f"Network {gateway.vpc_id} has no Internet gateway attached"
            gateway.fail("Gateway.NotAttached", message)
            return gateway
        interface = self.create_network_interface(
            subnet, private_ip or "", description=f"Interface for NAT Gateway {gateway.id}"
        )
        interface.interface_type, interface.requester_managed, interface.status = "nat_gateway", True, "in-use"
        interface.attachment_id = f"ela-attach-{token_hex(8)}0"
        gateway.interface = interface
        described = {
            "NetworkInterfaceId": interface.id,
            "PrivateIp": interface.private_ip_address,
            "IsPrimary": True,
            "Status": "succeeded",
        }
        if address is not None:
            self.associate(address, None, interface, None, reassociate=False)
            described |= {
                "AllocationId": address.allocation_id,
                "AssociationId": address.association_id,
                "PublicIp": address.public_ip,
            }
        gateway.address_set.append(described)
        return gateway

    def delete_nat_gateway(self, nat_gateway_id: str) -> LocalNatGateway:
        """Delete a NAT gateway with its interface, and disassociate its elastic address (DeleteNatGateway)."""
        gateway = self.nat_gateways.get(nat_gateway_id)
        if not isinstance(gateway, LocalNatGateway):
            raise EC2ClientError("NatGatewayNotFound", f"The Nat Gateway {nat_gateway_id} was not found")
        if gateway.state in _ENDED:
            return gateway
        if gateway.interface is not None:
            gateway.interface.attachment_id = None
            self.delete_network_interface(gateway.interface.id)
            gateway.interface = None
        gateway.state, gateway.delete_time = "deleted", datetime.now(timezone.utc)
        return gateway

    def described_nat_gateways(self, ids: Sequence[str]) -> list[NatGateway]:
        """Return NAT gateways; no ids for all (DescribeNatGateways).

        Raises:
            EC2ClientError: an id is unknown (NatGatewayNotFound).
        """
        for gateway_id in ids:
            if gateway_id not in self.nat_gateways:
                raise EC2ClientError("NatGatewayNotFound", f"The Nat Gateway {gateway_id} was not found")
        return [gateway for gateway in self.nat_gateways.values() if not ids or gateway.id in ids]

    def described_egress_gateways(self, ids: Sequence[str]) -> list[Any]:
        """Return egress-only internet gateways; no ids for all (DescribeEgressOnlyInternetGateways).

        Raises:
            EC2ClientError: an id is unknown.
        """
        for gateway_id in ids:
            self.get_egress_only_igw(gateway_id)
        gateways: list[Any] = self.describe_egress_only_internet_gateways(list(ids) or None)
        return gateways

    def _has_internet_gateway(self, vpc_id: str) -> bool:
        return any(gateway.vpc is not None and gateway.vpc.id == vpc_id for gateway in self.internet_gateways.values())
