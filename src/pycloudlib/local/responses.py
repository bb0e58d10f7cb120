"""The wire of the local EC2: what moto's responses leave out on the way to the backend and back."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.responses import EC2Response

from pycloudlib.local.backend import LaunchOptions, LocalEC2Backend, known_regions

logger = logging.getLogger(__name__)


class LocalEC2Response(EC2Response):
    """Answers EC2's actions, one at a time: moto's records have no lock of their own."""

    @classmethod
    def dispatch(cls, *args: Any, **kwargs: Any) -> Any:
        """Answer a request."""
        with LocalEC2Backend.cloud.lock:
            return super().dispatch(*args, **kwargs)

    def call_action(self) -> Any:
        """Answer an action, or say in EC2's way that there is no such region or that the local EC2 does not have it."""
        if self.region not in known_regions():
            return self._refuse("InvalidParameterValue", f"There is no region '{self.region}'")
        logger.info("%s %s", self.region, self._get_action())
        try:
            return super().call_action()
        except NotImplementedError:
            return self._refuse("UnsupportedOperation", f"The local EC2 does not have {self._get_action()} yet")

    def _refuse(self, code: str, reason: str) -> tuple[int, dict[str, Any], Any]:
        status, headers, body = self.serialized(ActionResult(EC2ClientError(code, reason)))
        return status, headers, body

    def run_instances(self) -> ActionResult:
        """RunInstances."""
        self.ec2_backend.launch_options = LaunchOptions(
            max_count=int(self._get_param("MaxCount", 1)),
            client_token=self._get_param("ClientToken"),
            disable_api_termination=bool(self._get_param("DisableApiTermination", False)),
        )
        return super().run_instances()

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
        parsed = super()._parse_block_device_mapping()
        for given, mapping in zip(self._get_param("BlockDeviceMappings", []), parsed, strict=True):
            # As the AMI's own mapping has it, and as EC2 does for further volumes; moto keeps them.
            mapping["Ebs"]["DeleteOnTermination"] = given.get("Ebs", {}).get("DeleteOnTermination", True)
        return parsed

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
