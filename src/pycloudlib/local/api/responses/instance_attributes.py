"""Request handlers for instance attributes."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pycloudlib.local.api.launch_checks import MAX_USER_DATA
from pycloudlib.local.api.models.block_devices import parse
from pycloudlib.local.api.moto_adapter import (
    ActionResult,
    Base64EncodedString,
    EC2ClientError,
    EC2Response,
    EmptyResult,
    camelcase_to_underscores,
)

_FLAGS = ("disableApiStop", "disableApiTermination", "ebsOptimized", "sourceDestCheck")
_WORDS = ("instanceInitiatedShutdownBehavior", "instanceType")
_LISTS = {"blockDeviceMapping": "BlockDeviceMappings", "groupSet": "Groups"}
_NOT_HERE = ("enaSupport", "kernel", "ramdisk", "sriovNetSupport")

_MEMBERS = {
    **{name[0].upper() + name[1:]: name for name in (*_FLAGS, *_WORDS, *_NOT_HERE, "userData")},
    **{member: name for name, member in _LISTS.items()},
}
"""The members of a request that change an attribute, and the attribute's name."""


class InstanceAttributeResponse(EC2Response):
    """Handles actions on attributes of instances."""

    def modify_instance_attribute(self) -> ActionResult:
        """ModifyInstanceAttribute: one attribute, by its own parameter, or by Attribute and Value."""
        instance_id = self._get_param("InstanceId")
        name, value = self._attribute()
        self.ec2_backend.get_instance(instance_id)
        if name in _NOT_HERE:
            raise EC2ClientError("UnsupportedOperation", f"The local EC2 cannot change the attribute {name}")
        if name == "groupSet":
            self.ec2_backend.modify_instance_security_groups(instance_id, value)
        elif name == "blockDeviceMapping":
            self._modify_block_devices(instance_id, value)
        else:
            key = camelcase_to_underscores(name)
            self.ec2_backend.modify_instance_attribute(instance_id, key, _converted(name, value))
        return EmptyResult()

    def _attribute(self) -> tuple[str, Any]:
        """Return the name of the attribute to change, and its value as in the request."""
        attributes = {name: self._get_param(member) for member, name in _MEMBERS.items() if self._get_param(member)}
        named, value = self._get_param("Attribute"), self._get_param("Value")
        if named is not None and value is not None:
            attributes.setdefault(named, {"Value": value})
        if len(attributes) > 1 or (named is not None and set(attributes) - {named}):
            fields = ", ".join(sorted({*attributes, *([named] if named else [])}))
            raise EC2ClientError(
                "InvalidParameterCombination", f"Fields for multiple attribute types specified: {fields}"
            )
        if not attributes:
            raise EC2ClientError("MissingParameter", "The request must contain an attribute and its value")
        ((name, requested),) = attributes.items()
        if name in _LISTS:
            return name, requested
        if "Value" not in requested:
            raise EC2ClientError("MissingParameter", f"The request must contain the value of {name}")
        return name, requested["Value"]

    def _modify_block_devices(self, instance_id: str, mappings: list[dict[str, Any]]) -> None:
        devices = parse(mappings).devices
        mapped = self.ec2_backend.get_instance(instance_id).block_device_mapping
        for device in devices:
            if device.device_name not in mapped:
                raise EC2ClientError(
                    "InvalidInstanceAttributeValue", f"No device is currently mapped at {device.device_name}"
                )
        for device in devices:
            if device.delete_on_termination is not None:
                mapped[device.device_name].delete_on_termination = device.delete_on_termination


def _converted(name: str, value: Any) -> Any:
    if name in _FLAGS:
        return _flag(name, value)
    if name == "userData":
        return _user_data(value)
    return str(value)


def _flag(name: str, value: Any) -> bool:
    word = str(value).lower()
    if word not in ("true", "false"):
        raise EC2ClientError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")
    return word == "true"


def _user_data(value: Any) -> Base64EncodedString | None:
    """Return user data as recorded: Value is base64-encoded, the parameter UserData is decoded already."""
    try:
        decoded = value if isinstance(value, bytes) else base64.b64decode("".join(str(value).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EC2ClientError("InvalidParameterValue", "Invalid BASE64 encoding of user data") from error
    if len(decoded) > MAX_USER_DATA:
        raise EC2ClientError("InvalidParameterValue", f"User data is limited to {MAX_USER_DATA} bytes")
    return Base64EncodedString(base64.b64encode(decoded).decode()) if decoded else None
