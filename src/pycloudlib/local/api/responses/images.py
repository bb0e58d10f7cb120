"""Request handlers for images."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.models.block_devices import RequestedDevices, parse
from pycloudlib.local.api.models.image import ImageOptions, ImageTraits
from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response

ATTRIBUTES = {
    "description": ("Description", "description"),
    "bootMode": ("BootMode", "boot_mode"),
    "sriovNetSupport": ("SriovNetSupport", "sriov"),
    "imdsSupport": ("ImdsSupport", "imds_support"),
    "uefiData": ("UefiData", "uefi_data"),
}
"""The other attributes of DescribeImageAttribute: the member of the response, and the attribute of the image."""

_GRANTEES = {
    "UserIds": "UserId",
    "UserGroups": "Group",
    "OrganizationArns": "OrganizationArn",
    "OrganizationalUnitArns": "OrganizationalUnitArn",
}
"""The lists of ModifyImageAttribute that OperationType adds or removes, and the members of their launch permissions."""

_LAUNCH_PERMISSION = ("LaunchPermission", "OperationType", *_GRANTEES)


class ImageResponse(EC2Response):
    """Handles actions on images."""

    def create_image(self) -> ActionResult:
        """CreateImage."""
        image = self.ec2_backend.create_image(
            self._get_param("InstanceId"), self._image_options(), no_reboot=_flag(self._get_param("NoReboot"))
        )
        return ActionResult({"ImageId": image.id})

    def register_image(self) -> ActionResult:
        """RegisterImage."""
        if self._get_param("ImageLocation"):
            raise EC2ClientError("UnsupportedOperation", "The local EC2 has no images in S3; register a snapshot")
        traits = ImageTraits(
            architecture=self._get_param("Architecture", "i386"),
            root_device_name=self._get_param("RootDeviceName", "/dev/sda1"),
            boot_mode=self._get_param("BootMode"),
            virtualization_type=self._get_param("VirtualizationType", "paravirtual"),
            ena_support=_flag(self._get_param("EnaSupport")),
            imds_support=self._get_param("ImdsSupport"),
            uefi_data=self._get_param("UefiData"),
        )
        image = self.ec2_backend.register_image(self._image_options(), traits)
        return ActionResult({"ImageId": image.id})

    def copy_image(self) -> ActionResult:
        """CopyImage."""
        if _flag(self._get_param("Encrypted")):
            raise EC2ClientError("UnsupportedOperation", "The local EC2 does not encrypt what it copies")
        image = self.ec2_backend.copy_image(
            self._get_param("SourceImageId"), self._get_param("SourceRegion"), self._image_options()
        )
        return ActionResult({"ImageId": image.id})

    def describe_images(self) -> ActionResult:
        """DescribeImages."""
        images = self.ec2_backend.describe_images(
            ami_ids=self._get_param("ImageIds", []),
            exec_users=self._get_param("ExecutableUsers", []),
            owners=self._get_param("Owners", []),
            include_deprecated=_flag(self._get_param("IncludeDeprecated")),
        )
        return ActionResult({"Images": images})

    def deregister_image(self) -> ActionResult:
        """DeregisterImage."""
        self.ec2_backend.deregister_image(
            self._get_param("ImageId"), with_snapshots=_flag(self._get_param("DeleteAssociatedSnapshots"))
        )
        return ActionResult({"Return": True})

    def enable_image_deprecation(self) -> ActionResult:
        """EnableImageDeprecation."""
        self.ec2_backend.deprecate_image(self._get_param("ImageId"), self._get_param("DeprecateAt"))
        return ActionResult({"Return": True})

    def disable_image_deprecation(self) -> ActionResult:
        """DisableImageDeprecation."""
        self.ec2_backend.deprecate_image(self._get_param("ImageId"), None)
        return ActionResult({"Return": True})

    def describe_image_attribute(self) -> ActionResult:
        """DescribeImageAttribute, for the owner of the image."""
        attribute = self._get_param("Attribute")
        image = self.ec2_backend.own_image(self._get_param("ImageId"))
        if attribute == "launchPermission":
            return ActionResult({"ImageId": image.id, "LaunchPermissions": image.launch_permissions})
        if attribute == "productCodes":
            return ActionResult({"ImageId": image.id, "ProductCodes": []})
        if attribute == "blockDeviceMapping":
            # As on EC2, which rejects this for every caller.
            raise EC2ClientError("AuthFailure", "Unauthorized attempt to access restricted resource")
        if attribute not in ATTRIBUTES:
            raise EC2ClientError("UnsupportedOperation", f"The local EC2 does not have the attribute {attribute}")
        name, kept_in = ATTRIBUTES[attribute]
        return ActionResult({"ImageId": image.id, name: {"Value": getattr(image, kept_in)}})

    def modify_image_attribute(self) -> ActionResult:
        """ModifyImageAttribute."""
        described = self._get_param("Description.Value")
        # Some clients capitalize the attribute's name, which EC2 accepts.
        if described is None and self._get_param("Attribute") in ("description", "Description"):
            described = self._get_param("Value")
        if described is None:
            self.ec2_backend.modify_image_attribute(self._get_param("ImageId"), *self._launch_permission_changes())
            return ActionResult({})
        if any(self._get_param(name) for name in _LAUNCH_PERMISSION):
            raise EC2ClientError(
                "InvalidParameterCombination",
                "Fields for multiple attribute types specified: description, launchPermission",
            )
        self.ec2_backend.own_image(self._get_param("ImageId")).description = described
        return ActionResult({})

    def _launch_permission_changes(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Return the launch permissions to add and to remove."""
        permission = self._get_param("LaunchPermission", {})
        changes = {"add": list(permission.get("Add", [])), "remove": list(permission.get("Remove", []))}
        grantees = [{member: grantee} for name, member in _GRANTEES.items() for grantee in self._get_param(name, [])]
        if grantees:
            operation = self._get_param("OperationType")
            if operation is None:
                raise EC2ClientError("MissingParameter", "The request must contain the parameter OperationType")
            if operation not in changes:
                raise EC2ClientError("InvalidParameterValue", f"Invalid OperationType '{operation}': add or remove")
            changes[operation] += grantees
        return changes["add"], changes["remove"]

    def reset_image_attribute(self) -> ActionResult:  # type: ignore[override]
        """ResetImageAttribute: remove all launch permissions."""
        if self._get_param("Attribute") != "launchPermission":
            raise EC2ClientError("InvalidParameterValue", "The only attribute that can be reset is launchPermission")
        self.ec2_backend.own_image(self._get_param("ImageId")).launch_permissions.clear()
        return ActionResult({"Return": True})

    def _image_options(self) -> ImageOptions:
        tags = self._parse_tag_specification()
        unsupported = set(tags) - {"image", "snapshot"}
        if unsupported:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"'{sorted(unsupported)[0]}' is not a valid taggable resource type for this operation.",
            )
        return ImageOptions(
            name=self._get_param("Name", ""),
            description=self._get_param("Description", ""),
            image_tags=tags.get("image", {}),
            snapshot_tags=tags.get("snapshot", {}),
            devices=self.block_devices(),
            with_tags=_flag(self._get_param("CopyImageTags")),
        )

    def block_devices(self) -> RequestedDevices:
        """The request's block device mappings."""
        return parse(self._get_param("BlockDeviceMappings", []))


def _flag(value: Any) -> bool:
    return str(value).lower() == "true"
