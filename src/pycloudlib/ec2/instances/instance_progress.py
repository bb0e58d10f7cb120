"""Progress reports of one instance."""

from __future__ import annotations

import logging

from pycloudlib import progress
from pycloudlib.ec2.instances.poller import Poller

STAGES = {
    "running": "is running",
    "reachable": "is reachable",
    "logged_in": "accepts the key",
    "ready": "is ready",
}
"""The stages of a boot, as in progress reports."""


class InstanceProgress:
    """Reports the stages that one instance reaches; while many boot, only the last stage at level INFO.

    Args:
        instance_id: the instance id.
        poller: counts the booting instances.
    """

    def __init__(self, instance_id: str, poller: Poller) -> None:
        self._id = instance_id
        self._poller = poller

    def report_stage(self, stage: str, seconds: float) -> None:
        """Report a stage of a boot.

        Args:
            stage: a key of STAGES.
            seconds: seconds since the request.
        """
        self._report(STAGES[stage], seconds, is_last=stage == "ready")

    def report_state(self, text: str, seconds: float) -> None:
        """Report a state of the instance.

        Args:
            text: the state, as in "is stopped".
            seconds: seconds since the wait began.
        """
        self._report(text, seconds, is_last=False)

    def _report(self, text: str, seconds: float, *, is_last: bool) -> None:
        is_many = self._poller.count_watched() > progress.MANY
        progress.report(self._id, text, seconds, level=logging.DEBUG if is_many and not is_last else logging.INFO)
