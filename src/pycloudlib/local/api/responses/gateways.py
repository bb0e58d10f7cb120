"""Request handlers for gateways."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2Response


class GatewayResponse(EC2Response):
    """Handles actions on gateways."""

    def create_nat_gateway(self) -> ActionResult:
        """CreateNatGateway."""
        gateway = self.ec2_backend.create_nat_gateway(
            self._get_param("SubnetId"),
            self._get_param("AllocationId"),
            self._parse_tag_specification("natgateway").get("natgateway", {}),
            self._get_param("ConnectivityType"),
            self._get_param("PrivateIpAddress"),
        )
        description: dict[str, Any] = {
            "CreateTime": gateway.create_time,
            "NatGatewayAddresses": gateway.address_set,
            "NatGatewayId": gateway.id,
            "State": "pending",
            "SubnetId": gateway.subnet_id,
            "VpcId": gateway.vpc_id,
            "ConnectivityType": gateway.connectivity_type,
            "Tags": gateway.get_tags(),
        }
        return ActionResult({"NatGateway": description, "ClientToken": self._get_param("ClientToken")})

    def describe_nat_gateways(self) -> ActionResult:
        """DescribeNatGateways."""
        ids = self._get_param("NatGatewayIds", [])
        return ActionResult({"NatGateways": self.ec2_backend.described_nat_gateways(ids)})

    def describe_egress_only_internet_gateways(self) -> ActionResult:
        """DescribeEgressOnlyInternetGateways."""
        ids = self._get_param("EgressOnlyInternetGatewayIds", [])
        gateways = self.ec2_backend.described_egress_gateways(ids)
        return ActionResult({"EgressOnlyInternetGateways": gateways})
