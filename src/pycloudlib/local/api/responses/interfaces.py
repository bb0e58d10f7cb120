"""Request handlers for network interfaces: parameters and response members that moto's handlers drop."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2Response, EmptyResult


class InterfaceResponse(EC2Response):
    """Handles actions on network interfaces."""

    def run_instances(self) -> ActionResult:
        """RunInstances."""
        self.ec2_backend.launch_ipv6 = self._get_param("Ipv6Addresses", [])
        return super().run_instances()

    def create_network_interface(self) -> ActionResult:
        """CreateNetworkInterface; moto's handler turns a missing Ipv6AddressCount into 0."""
        if "Ipv6AddressCount" not in self.params and not self._get_param("Ipv6Addresses"):
            subnet: Any = self.ec2_backend.get_subnet(self._get_param("SubnetId"))
            self.params["Ipv6AddressCount"] = subnet.assigned_ipv6_count
        return super().create_network_interface()

    def modify_network_interface_attribute(self) -> ActionResult:
        """ModifyNetworkInterfaceAttribute."""
        attachment = self._get_param("Attachment")
        if attachment is None:
            return super().modify_network_interface_attribute()
        self.ec2_backend.set_interface_deletion(
            self._get_param("NetworkInterfaceId"),
            attachment.get("AttachmentId"),
            delete=bool(attachment.get("DeleteOnTermination")),
        )
        return EmptyResult()

    def detach_network_interface(self) -> ActionResult:
        """DetachNetworkInterface."""
        self.ec2_backend.detach_network_interface(
            self._get_param("AttachmentId"), force=self._get_bool_param("Force", False)
        )
        return EmptyResult()

    def assign_private_ip_addresses(self) -> ActionResult:
        """AssignPrivateIpAddresses; the response lists only the new addresses."""
        interface_id = self._get_param("NetworkInterfaceId")
        assigned = self.ec2_backend.assign_private_ips(
            interface_id,
            self._get_param("PrivateIpAddresses", []),
            self._get_int_param("SecondaryPrivateIpAddressCount", 0),
        )
        addresses = [{"PrivateIpAddress": address} for address in assigned]
        return ActionResult({"NetworkInterfaceId": interface_id, "AssignedPrivateIpAddresses": addresses})

    def assign_ipv6_addresses(self) -> ActionResult:
        """AssignIpv6Addresses; the response lists only the new addresses."""
        interface_id = self._get_param("NetworkInterfaceId")
        assigned = self.ec2_backend.assign_ipv6_ips(
            interface_id, self._get_param("Ipv6Addresses", []), self._get_int_param("Ipv6AddressCount", 0)
        )
        return ActionResult({"NetworkInterfaceId": interface_id, "AssignedIpv6Addresses": assigned})
