"""Request handlers for instances: parameters and response members that moto's handlers drop."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pycloudlib.local.api.filters import Matches
from pycloudlib.local.api.models.instance_filters import matcher_of_instances
from pycloudlib.local.api.models.launch_options import LaunchOptions
from pycloudlib.local.api.moto_adapter import (
    ActionResult,
    Base64EncodedString,
    EC2ClientError,
    EC2Response,
    Instance,
    InstanceState,
    utcnow,
)

_ATTACHED_EBS_STATUS_SINCE = "2016-11-15"
"""The API version that has AttachedEbsStatus. Older clients, such as boto 2, take its name for the instance's state."""


class InstanceResponse(EC2Response):
    """Handles actions on instances."""

    filters: Mapping[str, Sequence[str]]
    matchers: Mapping[str, Matches]

    def run_instances(self) -> ActionResult:
        """RunInstances."""
        self.ec2_backend.launch_options = LaunchOptions.parse(self.params)
        # launch_parameters() has merged the template's values into the parameters.
        self.params.pop("LaunchTemplate", None)
        placement = self._get_param("Placement") or {}
        if placement.get("AvailabilityZoneId"):
            placement["AvailabilityZone"] = self.ec2_backend.zone_named_by_id(placement["AvailabilityZoneId"])
        return super().run_instances()

    def describe_instances(self) -> ActionResult:
        """DescribeInstances, without moto's limit of 100 reservations."""
        shown = self.matchers.get("Reservations.Instances", _any)
        recorded = matcher_of_instances(self.filters)
        reservations = self.ec2_backend.described_instances(
            self._get_param("InstanceIds", []),
            self.matchers.get("Reservations", _any),
            lambda instance: shown(instance) and recorded(instance),
        )
        return ActionResult({"Reservations": reservations})

    def describe_instance_status(self) -> ActionResult:
        """DescribeInstanceStatus, of running instances unless IncludeAllInstances."""
        instance_ids = self._get_param("InstanceIds", [])
        include_all = self._get_bool_param("IncludeAllInstances", False)
        statuses = [
            self.ec2_backend.controllers[instance.id].status()
            for launch in self.ec2_backend.described_instances(instance_ids, _any, _any)
            for instance in launch.instances
            if include_all or instance.state == "running"
        ]
        if self._version() < _ATTACHED_EBS_STATUS_SINCE:
            statuses = [
                {name: value for name, value in status.items() if name != "AttachedEbsStatus"} for status in statuses
            ]
        return ActionResult({"InstanceStatuses": statuses})

    def _version(self) -> str:
        """Return the API version that the client names."""
        return str(self.querystring.get("Version", [_ATTACHED_EBS_STATUS_SINCE])[0])

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

    def monitor_instances(self) -> ActionResult:  # type: ignore[override]  # moto has none
        """MonitorInstances."""
        return self._monitor("enabled")

    def unmonitor_instances(self) -> ActionResult:  # type: ignore[override]  # moto has none
        """UnmonitorInstances."""
        return self._monitor("disabled")

    def _monitor(self, state: str) -> ActionResult:
        instances = self.ec2_backend.get_multi_instances_by_id(self._get_param("InstanceIds", []))
        for instance in instances:
            instance.monitoring_state = state
        transitional = {"enabled": "pending", "disabled": "disabling"}[state]
        monitored = [{"InstanceId": instance.id, "Monitoring": {"State": transitional}} for instance in instances]
        return ActionResult({"InstanceMonitorings": monitored})

    def describe_instance_credit_specifications(self) -> ActionResult:
        """DescribeInstanceCreditSpecifications, of burstable instances."""
        instance_ids = self._get_param("InstanceIds", [])
        instances = [
            instance
            for launch in self.ec2_backend.described_instances(instance_ids, _any, _any)
            for instance in launch.instances
        ]
        for instance in instances:
            if instance_ids and instance.cpu_credits is None:
                raise EC2ClientError(
                    "InstanceCreditSpecification.NotSupported",
                    f"The instance {instance.id} is not a burstable performance instance",
                )
        return ActionResult(
            {
                "InstanceCreditSpecifications": [
                    {"InstanceId": instance.id, "CpuCredits": instance.cpu_credits}
                    for instance in instances
                    if instance.cpu_credits is not None and not instance.terminated
                ]
            }
        )

    def modify_instance_credit_specification(self) -> ActionResult:
        """ModifyInstanceCreditSpecification: each specification succeeds or fails independently."""
        changed, refused = [], []
        for specification in self._get_param("InstanceCreditSpecifications", []):
            instance_id, cpu_credits = specification.get("InstanceId"), specification.get("CpuCredits")
            controller = self.ec2_backend.controllers.get(instance_id)
            if controller is None:
                error = ("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
            elif controller.instance.cpu_credits is None:
                error = ("InstanceCreditSpecification.NotSupported", "The instance type has no CPU credits")
            elif cpu_credits not in ("standard", "unlimited"):
                error = ("InvalidParameterValue", f"Invalid value '{cpu_credits}' for CpuCredits.")
            else:
                controller.instance.cpu_credits = cpu_credits
                changed.append({"InstanceId": instance_id})
                continue
            refused.append({"InstanceId": instance_id, "Error": {"Code": error[0], "Message": error[1]}})
        return ActionResult(
            {
                "SuccessfulInstanceCreditSpecifications": changed,
                "UnsuccessfulInstanceCreditSpecifications": refused,
            }
        )

    def _parse_block_device_mapping(self) -> list[dict[str, Any]]:
        # The launch options contain them; given here, moto would create the volumes.
        return []

    def get_console_output(self) -> ActionResult:
        """GetConsoleOutput, of the complete output; EC2 drops the beginning."""
        instance_id = self._get_param("InstanceId")
        encoded = base64.b64encode(self.ec2_backend.console_output(instance_id)).decode()
        return ActionResult({"InstanceId": instance_id, "Timestamp": utcnow(), "Output": Base64EncodedString(encoded)})

    def get_instance_uefi_data(self) -> ActionResult:
        """GetInstanceUefiData."""
        instance_id = self._get_param("InstanceId")
        return ActionResult({"InstanceId": instance_id, "UefiData": self.ec2_backend.uefi_data(instance_id)})


def _any(_record: Any) -> bool:
    return True


def _state_changes(changes: Iterable[tuple[Instance, InstanceState]]) -> list[dict[str, Any]]:
    return [
        {"InstanceId": instance.id, "CurrentState": instance.instance_state, "PreviousState": before}
        for instance, before in changes
    ]
