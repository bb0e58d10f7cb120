"""Spot instance requests: one per spot instance, fulfilled immediately."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.models.instance import LocalInstance
from pycloudlib.local.api.moto_adapter import EC2ClientError, SpotInstanceRequest, random_spot_request_id

FULFILLED = ("fulfilled", "Your Spot request is fulfilled.")
ENDED_BY_USER = (
    "instance-terminated-by-user",
    "Your Spot instance was terminated by the user.",
)
CANCELED = (
    "request-canceled-and-instance-running",
    "Your Spot request is canceled but your Spot instance is still running.",
)
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html


class SpotRequest(SpotInstanceRequest):
    """The request that launched a spot instance.

    Args:
        instance: the instance that fulfills it.
        options: InstanceMarketOptions.SpotOptions.
        tags: tags of the request.
    """

    def __init__(self, instance: LocalInstance, options: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self.ec2_backend = instance.ec2_backend
        self.id = random_spot_request_id()
        self.instance = instance
        self.price = str(options.get("MaxPrice") or "")
        self.type = "one-time"
        self.valid_from = self.valid_until = None
        self.launch_group = self.availability_zone_group = None
        self.instance_interruption_behaviour = "terminate"
        self.created = datetime.now(timezone.utc)
        self.state = "active"
        self._status = FULFILLED
        self._updated = self.created
        self.launch_specification: Any = _launched(instance)
        self.add_tags(dict(tags))

    @property
    def create_time(self) -> Any:
        """The creation time."""
        return self.created

    @property
    def status(self) -> dict[str, Any]:
        """The status: code, message, and time of the last update."""
        code, message = self._status
        return {"Code": code, "Message": message, "UpdateTime": self._updated}

    @property
    def launched_availability_zone(self) -> str:
        """The availability zone of the instance."""
        return str(self.instance.availability_zone)

    def mark(self, status: tuple[str, str]) -> None:
        """Set the status code and message. No-op unless the request is active."""
        if self.state == "active":
            self._status, self._updated = status, datetime.now(timezone.utc)

    def end(self, state: str, status: tuple[str, str]) -> None:
        """Set the state ("closed" or "cancelled"), and the status code and message. No-op once closed."""
        if self.state == "closed":
            return
        self.state, self._status = state, status
        self._updated = datetime.now(timezone.utc)


def _launched(instance: LocalInstance) -> dict[str, Any]:
    return {
        "ImageId": instance.image_id,
        "InstanceType": instance.instance_type,
        "KeyName": instance.key_name,
        "SubnetId": instance.subnet_id,
        "SecurityGroups": [{"GroupId": group.id, "GroupName": group.name} for group in instance.security_groups],
        "Placement": {"AvailabilityZone": instance.availability_zone},
        "Monitoring": {"Enabled": instance.monitored},
    }


class SpotRequestRecords(LocalRecords):
    """The spot instance requests of one account in one region."""

    def add_spot_request(self, instance: LocalInstance, options: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Record the request of a newly launched spot instance."""
        request = SpotRequest(instance, options, tags)
        self.spot_instance_requests[request.id] = request
        instance.spot_instance_request_id = request.id

    def spot_request_of(self, instance: LocalInstance) -> SpotRequest | None:
        """Return the request that launched an instance; None for an on-demand instance."""
        request = self.spot_instance_requests.get(str(instance.spot_instance_request_id))
        return request if isinstance(request, SpotRequest) else None

    def close_spot_request(self, instance: Any) -> None:
        """Close the request of a terminated instance. No-op if it is closed."""
        request = self.spot_request_of(instance)
        if request is not None:
            request.end("closed", ENDED_BY_USER)

    def describe_spot_instance_requests(
        self, filters: Any = None, spot_instance_ids: list[str] | None = None
    ) -> list[SpotInstanceRequest]:
        """Return spot instance requests (DescribeSpotInstanceRequests).

        Raises:
            EC2ClientError: a request id is unknown (InvalidSpotInstanceRequestID.NotFound).
        """
        self._require_spot_requests(spot_instance_ids or [])
        requests: list[SpotInstanceRequest] = super().describe_spot_instance_requests(filters, spot_instance_ids)
        return requests

    def cancel_spot_instance_requests(self, request_ids: list[str]) -> list[SpotInstanceRequest]:
        """Cancel requests; the instances keep running (CancelSpotInstanceRequests).

        Raises:
            EC2ClientError: a request id is unknown (InvalidSpotInstanceRequestID.NotFound).
        """
        self._require_spot_requests(request_ids)
        requests = [self.spot_instance_requests[request_id] for request_id in request_ids]
        for request in requests:
            if isinstance(request, SpotRequest):
                request.end("cancelled", CANCELED)
        return requests

    def _require_spot_requests(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            if request_id not in self.spot_instance_requests:
                raise EC2ClientError(
                    "InvalidSpotInstanceRequestID.NotFound",
                    f"The spot instance request ID '{request_id}' does not exist",
                )
