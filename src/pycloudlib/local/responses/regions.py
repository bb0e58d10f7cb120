"""The wire of regions."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from pycloudlib.local.backend import known_regions


class RegionResponse(EC2Response):
    """Answers what is asked about regions."""

    def describe_regions(self) -> ActionResult:
        """DescribeRegions."""
        unknown = sorted(set(self._get_param("RegionNames", [])) - set(known_regions()))
        if unknown:
            raise EC2ClientError("InvalidParameterValue", f"Invalid region names: {', '.join(unknown)}")
        return super().describe_regions()
