"""The wire of the local EC2: what moto's responses leave out on the way to the backend and back."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState
from moto.ec2.responses import EC2Response

from pycloudlib.local.backend import LaunchOptions, LocalEC2Backend


class LocalEC2Response(EC2Response):
    """Answers EC2's actions, one at a time: moto's records have no lock of their own."""

    @classmethod
    def dispatch(cls, *args: Any, **kwargs: Any) -> Any:
        """Answer a request."""
        with LocalEC2Backend.cloud.lock:
            return super().dispatch(*args, **kwargs)

    def call_action(self) -> Any:
        """Answer an action, or say in EC2's way that the local EC2 does not have it."""
        try:
            return super().call_action()
        except NotImplementedError:
            error = EC2ClientError("UnsupportedOperation", f"The local EC2 does not have {self._get_action()} yet")
            status, headers, body = self.serialized(ActionResult(error))
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
