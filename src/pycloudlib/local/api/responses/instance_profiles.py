"""Request handlers for instance profile associations."""

from __future__ import annotations

from dataclasses import replace

from pycloudlib.local.api.moto_adapter import ActionResult, EC2Response


class InstanceProfileResponse(EC2Response):
    """Handles actions on instance profile associations."""

    def associate_iam_instance_profile(self) -> ActionResult:
        """AssociateIamInstanceProfile."""
        profile = self.ec2_backend.find_profile(
            self._get_param("IamInstanceProfile.Name"), self._get_param("IamInstanceProfile.Arn")
        )
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        association = self.ec2_backend.associate_profile(instance, profile)
        return ActionResult({"IamInstanceProfileAssociation": replace(association, state="associating")})

    def replace_iam_instance_profile_association(self) -> ActionResult:
        """ReplaceIamInstanceProfileAssociation."""
        association = self.ec2_backend.replace_iam_instance_profile_association(
            self._get_param("AssociationId"),
            self._get_param("IamInstanceProfile.Name"),
            self._get_param("IamInstanceProfile.Arn"),
        )
        return ActionResult({"IamInstanceProfileAssociation": replace(association, state="associating")})

    def disassociate_iam_instance_profile(self) -> ActionResult:
        """DisassociateIamInstanceProfile."""
        association = self.ec2_backend.disassociate_iam_instance_profile(self._get_param("AssociationId"))
        return ActionResult({"IamInstanceProfileAssociation": replace(association, state="disassociating")})
