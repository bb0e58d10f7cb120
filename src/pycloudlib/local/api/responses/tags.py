"""Request handlers for tags."""

from __future__ import annotations

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response, EmptyResult

RESERVED = "aws:"
"""The prefix of the keys of AWS-generated tags."""


class TagResponse(EC2Response):
    """Handles actions on tags."""

    def create_tags(self) -> ActionResult:
        """CreateTags, of existing resources."""
        resource_ids = self._get_param("Resources", [])
        self.ec2_backend.require_resources(resource_ids)
        tags = {tag["Key"]: tag["Value"] for tag in self._get_param("Tags", [])}
        self.ec2_backend.create_tags(resource_ids, tags)
        return EmptyResult()

    def delete_tags(self) -> ActionResult:
        """DeleteTags: the named tags; without names, all except AWS-generated tags."""
        requested = self._get_param("Tags", [])
        for tag in requested:
            if not tag.get("Key"):
                raise EC2ClientError("InvalidParameterValue", "Tag key cannot be null or empty.")
            if tag["Key"].lower().startswith(RESERVED):
                raise EC2ClientError(
                    "InvalidParameterValue", f"Tag keys starting with '{RESERVED}' are reserved for internal use"
                )
        for resource_id in self._get_param("Resources", []):
            keys = [key for key in self.ec2_backend.tags.get(resource_id, {}) if not key.startswith(RESERVED)]
            tags = {tag["Key"]: tag.get("Value") for tag in requested} or dict.fromkeys(keys)
            self.ec2_backend.delete_tags([resource_id], tags)
        return EmptyResult()
