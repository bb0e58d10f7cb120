"""The wire of instances: what moto's responses leave out on the way to the backend and back."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.responses import EC2Response

from pycloudlib.local.models.block_devices import parse
from pycloudlib.local.models.instances import LaunchOptions


class InstanceResponse(EC2Response):
    """Answers what is asked about instances."""

    def run_instances(self) -> ActionResult:
        """RunInstances."""
        self.ec2_backend.launch_options = LaunchOptions(
            max_count=int(self._get_param("MaxCount", 1)),
            client_token=self._get_param("ClientToken"),
            disable_api_termination=bool(self._get_param("DisableApiTermination", False)),
            devices=parse(self._get_param("BlockDeviceMappings", [])),
        )
        return super().run_instances()

    def describe_instances(self) -> ActionResult:
        """DescribeInstances; moto's would give a hundred reservations at most, whatever was asked for."""
        instance_ids = self._get_param("InstanceIds", [])
        reservations = self.ec2_backend.described_instances(instance_ids, self._filters_from_querystring())
        return ActionResult({"Reservations": reservations})

    def start_instances(self) -> ActionResult:
        """StartInstances."""
        self.error_on_dryrun()
        changes = self.ec2_backend.start_instances(self._get_param("InstanceIds", []))
        return ActionResult({"StartingInstances": _state_changes(changes)})

    def stop_instances(self) -> ActionResult:
        """StopInstances."""
        self.error_on_dryrun()
        force = bool(self._get_param("Force", False))
        changes = self.ec2_backend.stop_instances(self._get_param("InstanceIds", []), force=force)
        return ActionResult({"StoppingInstances": _state_changes(changes)})

    def terminate_instances(self) -> ActionResult:
        """TerminateInstances."""
        self.error_on_dryrun()
        changes = self.ec2_backend.terminate_instances(self._get_param("InstanceIds", []))
        return ActionResult({"TerminatingInstances": _state_changes(changes)})

    def modify_instance_attribute(self) -> ActionResult:
        """ModifyInstanceAttribute."""
        behavior = self._get_param("InstanceInitiatedShutdownBehavior.Value")
        if behavior is None:
            return super().modify_instance_attribute()
        self.error_on_dryrun()
        instance_id = self._get_param("InstanceId")
        self.ec2_backend.modify_instance_attribute(instance_id, "instance_initiated_shutdown_behavior", behavior)
        return EmptyResult()

    def _security_grp_instance_attribute_handler(self) -> bool:
        # moto asks this one last, and without any groups it takes away those that there are.
        return bool(self._get_param("Groups")) and super()._security_grp_instance_attribute_handler()

    def _parse_block_device_mapping(self) -> list[dict[str, Any]]:
        # The launch options have them; moto would make the volumes otherwise.
        return []

    def _block_device_mapping_handler(self) -> bool:
        wanted = parse(self._get_param("BlockDeviceMappings", [])).devices
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        for device in wanted:
            if device.device_name not in instance.block_device_mapping:
                raise EC2ClientError(
                    "InvalidInstanceAttributeValue", f"No device is currently mapped at {device.device_name}"
                )
        for device in wanted:
            if device.delete_on_termination is not None:
                mapped = instance.block_device_mapping[device.device_name]
                mapped.delete_on_termination = device.delete_on_termination
        return bool(wanted)

    def get_console_output(self) -> ActionResult:
        """GetConsoleOutput; nothing is left out at the beginning, as it is on EC2."""
        instance_id = self._get_param("InstanceId")
        encoded = base64.b64encode(self.ec2_backend.console_output(instance_id)).decode()
        return ActionResult({"InstanceId": instance_id, "Timestamp": utcnow(), "Output": Base64EncodedString(encoded)})


def _state_changes(changes: Iterable[tuple[Instance, InstanceState]]) -> list[dict[str, Any]]:
    return [
        {"InstanceId": instance.id, "CurrentState": instance.instance_state, "PreviousState": before}
        for instance, before in changes
    ]
