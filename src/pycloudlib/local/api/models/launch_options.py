"""The parameters of RunInstances that moto does not record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pycloudlib.local.api.models.block_devices import RequestedDevices, parse

TEMPLATE_TAG = "aws:ec2launchtemplate:"


@dataclass(frozen=True)
class LaunchOptions:
    """The parameters of RunInstances that moto does not pass on.

    Args:
        max_count: MaxCount; default 1.
        client_token: the idempotency token; None without one.
        disable_api_termination: whether the instances have termination protection; default no.
        devices: the block device mappings.
        placement: Placement.
        cpu: CpuOptions.
        cpu_credits: CreditSpecification.CpuCredits; None for the family's default.
        private_dns: PrivateDnsNameOptions.
        auto_recovery: MaintenanceOptions.AutoRecovery.
        capacity_preference: CapacityReservationSpecification.CapacityReservationPreference.
        spot: InstanceMarketOptions.SpotOptions; None for an on-demand instance.
        spot_tags: tags of the spot instance request.
        system_tags: the tags that EC2 adds to instances launched from a launch template.
    """

    max_count: int = 1
    client_token: str | None = None
    disable_api_termination: bool = False
    devices: RequestedDevices = field(default_factory=RequestedDevices)
    placement: Mapping[str, Any] = field(default_factory=dict)
    cpu: Mapping[str, Any] = field(default_factory=dict)
    cpu_credits: str | None = None
    private_dns: Mapping[str, Any] = field(default_factory=dict)
    auto_recovery: str = "default"
    capacity_preference: str = "open"
    spot: Mapping[str, Any] | None = None
    spot_tags: Mapping[str, str] = field(default_factory=dict)
    system_tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> LaunchOptions:
        """Parse the parameters of a request that is merged with its launch template."""
        market = parameters.get("InstanceMarketOptions") or {}
        template = parameters.get("LaunchTemplate") or {}
        return cls(
            max_count=int(parameters.get("MaxCount", 1)),
            client_token=parameters.get("ClientToken"),
            disable_api_termination=bool(parameters.get("DisableApiTermination", False)),
            devices=parse(parameters.get("BlockDeviceMappings") or []),
            placement=parameters.get("Placement") or {},
            cpu=parameters.get("CpuOptions") or {},
            cpu_credits=(parameters.get("CreditSpecification") or {}).get("CpuCredits"),
            private_dns=parameters.get("PrivateDnsNameOptions") or {},
            auto_recovery=(parameters.get("MaintenanceOptions") or {}).get("AutoRecovery") or "default",
            capacity_preference=(parameters.get("CapacityReservationSpecification") or {}).get(
                "CapacityReservationPreference"
            )
            or "open",
            spot=(market.get("SpotOptions") or {}) if market.get("MarketType") == "spot" else None,
            spot_tags=_tags(parameters, "spot-instances-request"),
            system_tags={
                f"{TEMPLATE_TAG}id": str(template["LaunchTemplateId"]),
                f"{TEMPLATE_TAG}version": str(template["Version"]),
            }
            if template
            else {},
        )


def _tags(parameters: Mapping[str, Any], resource_type: str) -> dict[str, str]:
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in parameters.get("TagSpecifications") or []
        if specification.get("ResourceType") == resource_type
        for tag in specification.get("Tags") or []
    }
