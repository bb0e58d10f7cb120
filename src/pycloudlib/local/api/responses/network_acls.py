"""Request handlers for network ACLs."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.models.network_acls import checked_entry
from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response, EmptyResult


class NetworkAclResponse(EC2Response):
    """Handles actions on network ACLs."""

    def create_network_acl_entry(self) -> ActionResult:
        """CreateNetworkAclEntry."""
        self.ec2_backend.create_network_acl_entry(**checked_entry(self._network_acl_entry()))
        return EmptyResult()

    def replace_network_acl_entry(self) -> ActionResult:
        """ReplaceNetworkAclEntry."""
        self._require_network_acl_entry()
        self.ec2_backend.replace_network_acl_entry(**checked_entry(self._network_acl_entry()))
        return EmptyResult()

    def delete_network_acl_entry(self) -> ActionResult:
        """DeleteNetworkAclEntry."""
        self._require_network_acl_entry()
        return super().delete_network_acl_entry()

    def replace_network_acl_association(self) -> ActionResult:
        """ReplaceNetworkAclAssociation."""
        association_id = self._get_param("AssociationId")
        associations = (
            association for acl in self.ec2_backend.network_acls.values() for association in acl.associations
        )
        if association_id not in {association.id for association in associations}:
            raise EC2ClientError(
                "InvalidAssociationID.NotFound", f"The association ID '{association_id}' does not exist"
            )
        self.ec2_backend.get_network_acl(self._get_param("NetworkAclId"))
        return super().replace_network_acl_association()

    def _network_acl_entry(self) -> dict[str, Any]:
        return {
            "network_acl_id": self._get_param("NetworkAclId"),
            "rule_number": self._get_param("RuleNumber"),
            "protocol": self._get_param("Protocol"),
            "rule_action": self._get_param("RuleAction"),
            "egress": self._get_param("Egress"),
            "cidr_block": self._get_param("CidrBlock"),
            "icmp_code": self._get_param("IcmpTypeCode.Code"),
            "icmp_type": self._get_param("IcmpTypeCode.Type"),
            "port_range_from": self._get_param("PortRange.From"),
            "port_range_to": self._get_param("PortRange.To"),
            "ipv6_cidr_block": self._get_param("Ipv6CidrBlock"),
        }

    def _require_network_acl_entry(self) -> None:
        acl = self.ec2_backend.get_network_acl(self._get_param("NetworkAclId"))
        number, egress = self._get_param("RuleNumber"), self._get_param("Egress")
        if not any((entry.rule_number, entry.egress) == (number, egress) for entry in acl.entries):
            kind = "egress" if egress else "ingress"
            raise EC2ClientError(
                "InvalidNetworkAclEntry.NotFound",
                f"The specified {kind} entry (rule number: {number}) does not exist in this network ACL",
            )
