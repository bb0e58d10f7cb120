"""Request handlers for regions."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.models.base import known_regions
from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response


class RegionResponse(EC2Response):
    """Handles actions on regions."""

    def describe_regions(self) -> ActionResult:
        """DescribeRegions."""
        unknown = sorted(set(self._get_param("RegionNames", [])) - set(known_regions()))
        if unknown:
            raise EC2ClientError("InvalidParameterValue", f"Invalid region names: {', '.join(unknown)}")
        regions = self.ec2_backend.describe_regions(self._get_param("RegionNames", []))
        return ActionResult({"Regions": regions})

    def describe_availability_zones(self) -> ActionResult:
        """DescribeAvailabilityZones."""
        zones = self.ec2_backend.describe_availability_zones()
        names, ids = self._get_param("ZoneNames", []), self._get_param("ZoneIds", [])
        unknown = sorted((set(names) - {zone.name for zone in zones}) | (set(ids) - {zone.zone_id for zone in zones}))
        if unknown:
            raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone: [{unknown[0]}]")
        described = [
            _described_zone(zone)
            for zone in zones
            if (not names or zone.name in names) and (not ids or zone.zone_id in ids)
        ]
        return ActionResult({"AvailabilityZones": described})


def _described_zone(zone: Any) -> dict[str, Any]:
    return {
        "ZoneName": zone.name,
        "ZoneId": zone.zone_id,
        "ZoneType": zone.zone_type,
        "RegionName": zone.region_name,
        "State": zone.state,
        "OptInStatus": "opt-in-not-required",
        "GroupName": f"{zone.region_name}-zg-1",
        "NetworkBorderGroup": zone.region_name,
        "Messages": [],
    }
