"""Request handlers for parts of a VPC: requests that EC2 rejects, and moto fails on."""

from __future__ import annotations

from pycloudlib.local.api.models.base import known_regions
from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response, regional_backends


class VpcResponse(EC2Response):
    """Handles actions on network ACLs, prefix lists, and peering connections."""

    def replace_network_acl_association(self) -> ActionResult:
        """ReplaceNetworkAclAssociation."""
        association_id = self._get_param("AssociationId")
        acls = self.ec2_backend.network_acls.values()
        if not any(association.id == association_id for acl in acls for association in acl.associations):
            raise EC2ClientError(
                "InvalidAssociationID.NotFound", f"The association ID '{association_id}' does not exist"
            )
        self.ec2_backend.get_network_acl(self._get_param("NetworkAclId"))
        return super().replace_network_acl_association()

    def delete_managed_prefix_list(self) -> ActionResult:
        """DeleteManagedPrefixList."""
        self._require_prefix_list()
        return super().delete_managed_prefix_list()

    def modify_managed_prefix_list(self) -> ActionResult:
        """ModifyManagedPrefixList."""
        self._require_prefix_list()
        return super().modify_managed_prefix_list()

    def create_vpc_peering_connection(self) -> ActionResult:
        """CreateVpcPeeringConnection."""
        region = self._get_param("PeerRegion")
        if region is not None and region not in known_regions():
            raise EC2ClientError("InvalidParameterValue", f"Value ({region}) for parameter peerRegion is invalid.")
        peer_records = regional_backends(self._get_param("PeerOwnerId") or self.current_account)[region or self.region]
        peering = self.ec2_backend.create_vpc_peering_connection(
            self.ec2_backend.get_vpc(self._get_param("VpcId")),
            peer_records.get_vpc(self._get_param("PeerVpcId")),
            self._parse_tag_specification().get("vpc-peering-connection", {}),
        )
        status = {
            "Code": "initiating-request",
            "Message": f"Initiating Request to {peering.accepter_vpc_info['OwnerId']}",
        }
        return ActionResult(
            {
                "VpcPeeringConnection": {
                    "AccepterVpcInfo": peering.accepter_vpc_info,
                    "RequesterVpcInfo": peering.requester_vpc_info,
                    "Status": status,
                    "Tags": peering.get_tags(),
                    "VpcPeeringConnectionId": peering.id,
                }
            }
        )

    def describe_iam_instance_profile_associations(self) -> ActionResult:
        """DescribeIamInstanceProfileAssociations."""
        token = self._get_param("NextToken")
        if token is not None and not (token.isascii() and token.isdigit()):
            raise EC2ClientError("InvalidNextToken", f"The token '{token}' is invalid")
        return super().describe_iam_instance_profile_associations()

    def _require_prefix_list(self) -> None:
        prefix_list_id = self._get_param("PrefixListId")
        if prefix_list_id not in self.ec2_backend.managed_prefix_lists:
            raise EC2ClientError(
                "InvalidPrefixListID.NotFound", f"The prefix list ID '{prefix_list_id}' does not exist"
            )
