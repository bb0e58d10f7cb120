"""Request handlers for instance types."""

from __future__ import annotations

from pycloudlib.local.api.models.instance_types import add_further_types, all_types
from pycloudlib.local.api.moto_adapter import ActionResult, EC2Response


class InstanceTypeResponse(EC2Response):
    """Handles actions on instance types."""

    def describe_instance_types(self) -> ActionResult:
        """DescribeInstanceTypes."""
        add_further_types()
        return super().describe_instance_types()

    def describe_instance_type_offerings(self) -> ActionResult:
        """DescribeInstanceTypeOfferings: every type can be launched in every zone."""
        kind = self._get_param("LocationType", "region")
        zones = self.ec2_backend.describe_availability_zones()
        locations = {
            "region": [self.region],
            "availability-zone": [zone.name for zone in zones],
            "availability-zone-id": [zone.zone_id for zone in zones],
        }.get(kind, [])
        return ActionResult(
            {
                "InstanceTypeOfferings": [
                    {"InstanceType": name, "LocationType": kind, "Location": location}
                    for name in all_types()
                    for location in locations
                ]
            }
        )
