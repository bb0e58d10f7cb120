"""The latest description of one instance, and waits for its states."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pycloudlib.deadline import SYSTEM_CLOCK, Clock, Deadline
from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE, PASSING_CODES
from pycloudlib.ec2.instances.description import InstanceDescription, InstanceState
from pycloudlib.ec2.instances.poller import Poller
from pycloudlib.errors import CloudError, InstanceNotFoundError, InstanceStateError, NoResponseError
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

GONE_AFTER = 10.0
"""Seconds for which EC2 must not find an instance before it counts as gone."""

POLL_INTERVAL = 0.5
"""Seconds between two polls while waiting; also the accepted age of a response."""

MAX_POLL_INTERVAL = 1.0


class Status:
    """The latest description of one instance.

    Args:
        description: the first description.
        poller: polls EC2 for all instances.
        launched: whether the instance was just launched, so that EC2 may not find it yet.
        clock: the clock; default the real time.
    """

    def __init__(
        self,
        description: InstanceDescription,
        poller: Poller,
        *,
        launched: bool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.seen = description
        self.why_unseen = ""
        """Why the last `poll()` returned None: a transient error, or EC2 did not find the instance."""
        self.is_unknown = False
        """Whether EC2 responded to the last `poll()` and did not find the instance."""
        self.deletion_requested = False
        """Whether TerminateInstances was requested here."""
        self._id = description.instance_id
        self._poller = poller
        self._clock = clock
        self._visible_by = clock.now() + (NOT_YET_VISIBLE if launched else 0.0)

    @property
    def instance_id(self) -> str:
        """The instance id."""
        return self._id

    @property
    def may_be_invisible(self) -> bool:
        """Whether the launch was so recent that EC2 may not find the instance yet."""
        return self._clock.now() < self._visible_by

    @property
    def consistency_patience(self) -> float:
        """The seconds for which to repeat a call that does not find the instance."""
        return NOT_YET_VISIBLE if self.may_be_invisible else 0.0

    def refresh(self, deadline: Deadline | None = None) -> InstanceDescription:
        """Return the instance's latest description (DescribeInstances).

        Args:
            deadline: when to stop waiting for EC2; default never.

        Raises:
            InstanceNotFoundError: the instance no longer exists.
            NoResponseError: EC2 did not respond in time.
        """
        description = self._poller.describe(self._id, deadline=deadline)
        if description is not None:
            self.seen = description
        elif not self.may_be_invisible:
            raise InstanceNotFoundError(self._id, message=f"EC2 has no instance {self._id}")
        return self.seen

    def poll(self, max_age: float = POLL_INTERVAL, deadline: Deadline | None = None) -> InstanceDescription | None:
        """Return a recent description, tolerating transient errors (DescribeInstances).

        Args:
            max_age: the maximum age of the response in seconds; default POLL_INTERVAL.
            deadline: when to stop waiting for EC2; default never.

        Returns:
            The description; None if EC2 does not find the instance, or did not respond.

        Raises:
            CloudError: EC2 rejected the request.
        """
        try:
            description = self._poller.describe(self._id, max_age=max_age, deadline=deadline)
        except (CloudError, NoResponseError) as error:
            if isinstance(error, CloudError) and error.code not in PASSING_CODES:
                raise
            logger.debug("%s: querying again: %s", self._id, error)
            self.why_unseen, self.is_unknown = str(error), False
            return None
        self.is_unknown = description is None
        self.why_unseen = "unknown to EC2" if description is None else ""
        if description is not None:
            self.seen = description
        return description

    def expect_change(self) -> None:
        """Ignore earlier responses after requesting a state change."""
        self._poller.forget(self._id)

    def note_deletion(self) -> None:
        """Record a TerminateInstances request."""
        self.deletion_requested = True
        self.expect_change()

    def wait_for_stop(self, deadline: Deadline) -> None:
        """Wait until the instance is stopped.

        Args:
            deadline: when to give up.

        Raises:
            InstanceStateError: the instance was terminated.
            PycloudlibTimeoutError: the instance was not stopped in time.
        """

        def is_stopped() -> bool:
            description = self.poll(deadline=deadline)
            if description is not None and description.state.is_ending:
                raise InstanceStateError(
                    f"{self._id} cannot be stopped: it is {description}",
                    instance_id=self._id,
                    state=str(description.state),
                )
            return description is not None and description.state is InstanceState.STOPPED

        self._wait_until(is_stopped, "stopped", deadline)

    def wait_for_end(self, deadline: Deadline) -> None:
        """Wait until the instance is terminated, or EC2 has not found it for a while.

        Args:
            deadline: when to give up.

        Raises:
            PycloudlibTimeoutError: the instance was not terminated in time.
        """
        unknown_since: float | None = None

        def is_gone() -> bool:
            nonlocal unknown_since
            description = self.poll(deadline=deadline)
            if description is not None:
                unknown_since = None
                return description.state is InstanceState.TERMINATED
            if not self.is_unknown:
                # EC2 did not respond, or was throttling.
                unknown_since = None
                return False
            # Once is no proof: the response may come from a part of EC2 that is not consistent yet.
            now = self._clock.now()
            unknown_since = now if unknown_since is None else unknown_since
            return now - unknown_since >= GONE_AFTER and not self.may_be_invisible

        self._wait_until(is_gone, "terminated", deadline)

    def _wait_until(self, check: Callable[[], bool], state: str, deadline: Deadline) -> None:
        with self._poller.watching(self._id):
            wait_until(
                check,
                what=f"{self._id} to be {state}",
                deadline=deadline,
                interval=POLL_INTERVAL,
                max_interval=MAX_POLL_INTERVAL,
                last_seen=lambda: f"{self.seen}; {self.why_unseen}" if self.why_unseen else self.seen,
            )
