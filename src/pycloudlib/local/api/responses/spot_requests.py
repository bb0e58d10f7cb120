"""Request handlers for spot instance requests."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.launch_checks import check_launch
from pycloudlib.local.api.moto_adapter import ActionResult, EC2Response

_RENAMED = {"SpotPrice": "MaxPrice", "Type": "SpotInstanceType"}
_SPOT_OPTIONS = ("SpotPrice", "Type", "ValidUntil", "InstanceInterruptionBehavior")


class SpotRequestResponse(EC2Response):
    """Handles actions on spot instances."""

    def request_spot_instances(self) -> ActionResult:
        """RequestSpotInstances: launch spot instances, and return their requests."""
        count = self._get_int_param("InstanceCount", 1)
        options = {
            _RENAMED.get(name, name): self._get_param(name)
            for name in _SPOT_OPTIONS
            if self._get_param(name) is not None
        }
        request = self.params
        self.params = {
            **(self._get_param("LaunchSpecification") or {}),
            "MinCount": count,
            "MaxCount": count,
            "ClientToken": self._get_param("ClientToken"),
            "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options},
            "TagSpecifications": self._get_param("TagSpecifications", []),
        }
        try:
            check_launch(self.ec2_backend, self.params)
            launched: Any = self.run_instances()
        finally:
            self.params = request
        requests = [self.ec2_backend.spot_request_of(instance) for instance in launched.result.instances]
        return ActionResult({"SpotInstanceRequests": requests})
