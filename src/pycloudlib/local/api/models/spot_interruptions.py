"""Spot instance interruptions: a notice in the instance metadata, then termination.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta, timezone

from pycloudlib.local.api.models.instance import LocalInstance
from pycloudlib.local.api.models.spot_requests import SpotRequestRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError, StateReason
from pycloudlib.local.network.metadata import SpotInterruption

logger = logging.getLogger(__name__)

LEAST_WAIT = timedelta(minutes=2)
"""The minimum time between an interruption request and the interruption, as long as AWS's notice."""

MARKED = (
    "marked-for-termination",
    "Your Spot instance is marked for termination.",
)
BY_EXPERIMENT = (
    "instance-terminated-by-experiment",
    "Your Spot instance was terminated by an experiment of AWS FIS.",
)
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
_INTERRUPTED = StateReason(
    "Server.SpotInstanceTermination: Spot instance termination", "Server.SpotInstanceTermination"
)


class SpotInterruptionRecords(SpotRequestRecords):
    """The interruptions in progress in one account and region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._interruptions: dict[str, SpotInterruption] = {}
        super().__init__(region_name, account_id)

    def interrupt_spot_instance(self, instance: LocalInstance, wait: timedelta = LEAST_WAIT) -> SpotInterruption:
        """Send the notices of an interruption, then terminate the spot instance.

        The rebalance recommendation appears at once, and the interruption notice two minutes before the termination.
        `LocalCloud.spot_notice_seconds` changes the two minutes.

        Args:
            instance: a running spot instance.
            wait: time until the termination; default and minimum two minutes.

        Returns:
            The times of the notices and of the termination.

        Raises:
            EC2ClientError: the instance is not a running spot instance, or has an interruption already.
        """
        self.check_interruptible(instance)
        now = datetime.now(timezone.utc)
        noticed = now + max(wait - LEAST_WAIT, timedelta())
        ends = noticed + timedelta(seconds=self.cloud.spot_notice_seconds)
        interruption = SpotInterruption(ordered=now, noticed=noticed, ends=ends)
        self._interruptions[instance.id] = interruption
        request = self.spot_request_of(instance)
        if request is not None:
            request.mark(MARKED)
        timer = threading.Timer((ends - now).total_seconds(), self._end_interrupted, (instance,))
        timer.daemon = True
        timer.start()
        logger.info("%s is interrupted at %s", instance.id, ends)
        return interruption

    def check_interruptible(self, instance: LocalInstance) -> None:
        """Require a running spot instance without an interruption.

        Raises:
            EC2ClientError: the instance is another one (IncorrectInstanceState).
        """
        if not instance.is_spot or instance.state != "running":
            raise EC2ClientError("IncorrectInstanceState", f"The instance '{instance.id}' is no running Spot Instance")
        if instance.id in self._interruptions:
            raise EC2ClientError("IncorrectInstanceState", f"The instance '{instance.id}' is interrupted already")

    def interruption_of(self, instance: LocalInstance) -> SpotInterruption | None:
        """Return the interruption of an instance; None without one."""
        return self._interruptions.get(instance.id)

    def _end_interrupted(self, instance: LocalInstance) -> None:
        with self.cloud.lock:
            controller = self.controllers.get(instance.id)
            if controller is None or not controller.terminate_because(_INTERRUPTED):
                return
            request = self.spot_request_of(instance)
            if request is not None:
                request.end("closed", BY_EXPERIMENT)
