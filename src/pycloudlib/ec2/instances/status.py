"""What EC2 says about one instance, now and until it says something else."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pycloudlib.ec2.api.retries import PASSING_CODES
from pycloudlib.ec2.instances.poller import InstanceDescription, InstanceState, Poller
from pycloudlib.errors import CloudError, InstanceNotFoundError, InstanceStateError
from pycloudlib.waiting import SYSTEM_CLOCK, Clock, wait_until

logger = logging.getLogger(__name__)

NOT_YET_VISIBLE = 60.0
"""Seconds after a launch in which EC2 may not know the instance yet."""

GONE_AFTER = 10.0
"""Seconds for which EC2 must not know an instance until it is believed to be gone."""

LOOK_INTERVAL = 0.5
"""Seconds between two looks at a state that is waited for; an answer of this age will do."""

MAX_LOOK_INTERVAL = 1.0


class Status:
    """What EC2 says about one instance.

    Args:
        description: what it said first.
        poller: who asks EC2, for everybody.
        launched: whether the instance was launched a moment ago, so that EC2 may not know it yet.
        clock: what tells the time; default the real time.
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
        self._id = description.instance_id
        self._poller = poller
        self._clock = clock
        self._visible_by = clock.now() + (NOT_YET_VISIBLE if launched else 0.0)

    @property
    def may_be_invisible(self) -> bool:
        """Whether the launch was so short a time ago that EC2 may not know the instance yet."""
        return self._clock.now() < self._visible_by

    def refresh(self) -> InstanceDescription:
        """Ask EC2 (DescribeInstances).

        Raises:
            InstanceNotFoundError: EC2 does not know the instance any more.
        """
        description = self._poller.describe(self._id)
        if description is not None:
            self.seen = description
        elif not self.may_be_invisible:
            raise InstanceNotFoundError(f"EC2 knows no instance {self._id}", resource_id=self._id)
        return self.seen

    def look(self, max_age: float = LOOK_INTERVAL) -> InstanceDescription | None:
        """Ask EC2, bearing what passes by itself; an answer of a moment ago will do.

        Args:
            max_age: seconds; how old the answer may be; default LOOK_INTERVAL.

        Returns:
            None when there is no news: EC2 does not know the instance, or could not answer.
        """
        try:
            description = self._poller.describe(self._id, max_age=max_age)
        except CloudError as error:
            if error.code not in PASSING_CODES:
                raise
            logger.debug("%s: looking again: %s", self._id, error)
            return None
        if description is not None:
            self.seen = description
        return description

    def expect_change(self) -> None:
        """Be content with no earlier answer: the instance was just told to change its state."""
        self._poller.forget(self._id)

    def wait_for_stop(self, timeout: float) -> None:
        """Wait until it is stopped.

        Args:
            timeout: seconds.

        Raises:
            InstanceStateError: it was terminated instead.
            PycloudlibTimeoutError: it was not stopped in time.
        """

        def is_stopped() -> bool:
            description = self.look()
            if description is not None and description.state.is_ending:
                raise InstanceStateError(
                    f"{self._id} will not be stopped any more: it is {description}",
                    instance_id=self._id,
                    state=str(description.state),
                )
            return description is not None and description.state is InstanceState.STOPPED

        self._wait_until(is_stopped, "stopped", timeout)

    def wait_for_end(self, timeout: float) -> None:
        """Wait until it is terminated, or until EC2 has not known it for a while.

        Args:
            timeout: seconds.

        Raises:
            PycloudlibTimeoutError: it was not terminated in time.
        """
        unknown_since: float | None = None

        def is_gone() -> bool:
            nonlocal unknown_since
            description = self.look()
            if description is not None:
                unknown_since = None
                return description.state is InstanceState.TERMINATED
            # Once is no proof: the answer may come from a part of EC2 that has not heard of the instance yet.
            now = self._clock.now()
            unknown_since = now if unknown_since is None else unknown_since
            return now - unknown_since >= GONE_AFTER and not self.may_be_invisible

        self._wait_until(is_gone, "terminated", timeout)

    def _wait_until(self, check: Callable[[], bool], state: str, timeout: float) -> None:
        with self._poller.watching(self._id):
            wait_until(
                check,
                what=f"{self._id} to be {state}",
                timeout=timeout,
                interval=LOOK_INTERVAL,
                max_interval=MAX_LOOK_INTERVAL,
                last_seen=lambda: self.seen,
                clock=self._clock,
            )
