"""Request handlers for elastic addresses: pass on the parameters that moto's handlers drop."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response


class AddressResponse(EC2Response):
    """Handles actions on elastic addresses."""

    def allocate_address(self) -> ActionResult:
        """AllocateAddress."""
        elastic = self.ec2_backend.allocate_address(
            self._get_param("Domain", "vpc"),
            self._get_param("Address"),
            self._parse_tag_specification().get("elastic-ip", {}),
        )
        return ActionResult(
            {
                "AllocationId": elastic.allocation_id,
                "Domain": elastic.domain,
                "NetworkBorderGroup": elastic.network_border_group,
                "PublicIp": elastic.public_ip,
                "PublicIpv4Pool": elastic.public_ipv4_pool,
            }
        )

    def associate_address(self) -> ActionResult:
        """AssociateAddress."""
        instance_id, interface_id = self._get_param("InstanceId"), self._get_param("NetworkInterfaceId")
        if not instance_id and not interface_id:
            raise EC2ClientError("MissingParameter", "Either InstanceId or NetworkInterfaceId has to be given.")
        reassociate = self._get_param("AllowReassociation")
        elastic = self.ec2_backend.associate(
            self._elastic_address(),
            self.ec2_backend.get_instance(instance_id) if instance_id and not interface_id else None,
            self.ec2_backend.interface(interface_id) if interface_id else None,
            self._get_param("PrivateIpAddress"),
            # Reassociation is automatic unless the request rejects it:
            # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html
            reassociate=reassociate is not False,
        )
        return ActionResult({"AssociationId": elastic.association_id})

    def _elastic_address(self) -> Any:
        allocation_id, public_ip = self._get_param("AllocationId"), self._get_param("PublicIp")
        if allocation_id and public_ip:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "You may specify public IP or allocation id, but not both",
            )
        if allocation_id:
            return self.ec2_backend.address_by_allocation([allocation_id])[0]
        if public_ip:
            return self.ec2_backend.address_by_ip([public_ip])[0]
        raise EC2ClientError("MissingParameter", "Either AllocationId or PublicIp has to be given.")
