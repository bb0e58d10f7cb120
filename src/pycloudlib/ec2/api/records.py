"""Describe, wait for, and delete the resources of one kind, tolerating eventual consistency."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from pycloudlib.deadline import SYSTEM_CLOCK, Clock, Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent
from pycloudlib.ec2.api.faults import responded
from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE, PASSING_CODES
from pycloudlib.errors import (
    CloudError,
    IllegalStateError,
    InvalidArgumentError,
    NoResponseError,
    PycloudlibError,
    ResourceNotFoundError,
)
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.5
MAX_POLL_INTERVAL = 2.0
"""Seconds between two polls of a resource: the first interval, and the longest."""


class Described(Protocol):
    """The description of a resource at one moment."""

    @property
    def id(self) -> str:
        """The id."""

    @property
    def state(self) -> str:
        """The state, as EC2 names it."""

    @property
    def state_reason(self) -> str:
        """EC2's reason for the state; empty if EC2 gives none."""


D = TypeVar("D", bound=Described)
T = TypeVar("T")


class Records(Generic[D]):
    """The resources of one kind, at one endpoint.

    Args:
        fetch: returns the description of an id; raises ResourceNotFoundError if EC2 does not know it.
        not_found: the AWS code of that error.
        clock: the clock; default the real time.
    """

    def __init__(self, fetch: Callable[[str], D], *, not_found: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._fetch = fetch
        self._not_found = not_found
        self._clock = clock
        self._doubted_until: dict[str, float] = {}

    def created(self, resource_id: str) -> None:
        """Note the creation of a resource: EC2 may return NotFound for it for a while."""
        self._doubted_until[resource_id] = self._clock.now() + NOT_YET_VISIBLE

    def get(self, resource_id: str, deadline: Deadline | None = None) -> D:
        """Return the description of a resource, retrying NotFound for a resource that was just created.

        Args:
            resource_id: the id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            InvalidArgumentError: the id is not a string.
            ResourceNotFoundError: the resource does not exist.
            NoResponseError: EC2 did not respond in time.
        """
        if not isinstance(resource_id, str):
            raise InvalidArgumentError(f"{resource_id!r} is not an id; it must be a string")
        try:
            return self._patiently(
                lambda: self._seen(resource_id), resource_id, what=f"describe {resource_id}", deadline=deadline
            )
        except ResourceNotFoundError as error:
            if resource_id in str(error):
                raise
            # Not every server names the missing resource.
            raise type(error)(
                resource_id=resource_id,
                message=f"{resource_id}: {error}",
                code=error.code,
                operation=error.operation,
            ) from error

    def wait_for(
        self,
        resource_id: str,
        wanted: str,
        *,
        hopeless: Collection[str],
        deadline: Deadline,
        observe: Callable[[D], object] | None = None,
    ) -> D:
        """Wait until a resource reaches a state.

        Args:
            resource_id: the id.
            wanted: the state.
            hopeless: the states from which the resource cannot reach the wanted state.
            deadline: when to give up, even if EC2 has not responded.
            observe: called with each description; default none.

        Returns:
            The description in the wanted state.

        Raises:
            IllegalStateError: the resource cannot reach the state; the message has EC2's reason.
            ResourceNotFoundError: the resource does not exist.
            PycloudlibTimeoutError: the resource did not reach the state in time; the message has the last state.
        """
        last_seen = "nothing yet"

        def on_error(error: PycloudlibError) -> None:
            nonlocal last_seen
            last_seen = str(error)

        def check() -> D | None:
            nonlocal last_seen
            description = self.poll(resource_id, deadline, on_error)
            if description is None:
                return None
            last_seen = f"{description.state}{_reason(description)}"
            if observe is not None:
                observe(description)
            if description.state in hopeless:
                raise IllegalStateError(f"{resource_id} cannot become {wanted}: it is {last_seen}")
            return description if description.state == wanted else None

        return self._until(check, f"{resource_id} to be {wanted}", deadline, lambda: last_seen)

    def wait_until_gone(self, resource_id: str, *, gone: Collection[str], deadline: Deadline) -> None:
        """Wait until EC2 returns NotFound for a resource, or a final state.

        Args:
            resource_id: the id.
            gone: the final states.
            deadline: when to give up, even if EC2 has not responded.

        Raises:
            PycloudlibTimeoutError: the resource still existed at the deadline; the message has the last state.
        """
        last_seen = "nothing yet"

        def on_error(error: PycloudlibError) -> None:
            nonlocal last_seen
            last_seen = str(error)

        def check() -> bool:
            nonlocal last_seen
            try:
                description = self.poll(resource_id, deadline, on_error)
            except ResourceNotFoundError:
                return True
            last_seen = description.state if description else last_seen
            return description is not None and description.state in gone

        self._until(check, f"{resource_id} to be deleted", deadline, lambda: last_seen)
        self._doubted_until.pop(resource_id, None)

    def delete(
        self,
        call: Callable[[], object],
        resource_id: str,
        *,
        passing: Collection[str] = (),
        patience: float = 0.0,
        deadline: Deadline | None = None,
        is_hopeless: Callable[[CloudError], bool] = lambda _: False,
    ) -> bool:
        """Make the call that deletes a resource. No-op if it is deleted.

        Args:
            call: the boto3 call.
            resource_id: the id.
            passing: the AWS codes of transient obstacles, such as dependencies.
            patience: maximum seconds to wait for the obstacles to pass; default 0.
            deadline: when to give up, even if EC2 has not responded; default never.
            is_hopeless: whether an obstacle is permanent; called after each error; default never.

        Returns:
            Whether the resource existed.

        Raises:
            CloudError: EC2's last transient error, if it did not pass in time; any other error immediately.
            NoResponseError: EC2 did not respond in time.
        """
        try:
            self._patiently(
                call,
                resource_id,
                what=f"delete {resource_id}",
                passing=passing,
                patience=patience,
                deadline=deadline,
                is_hopeless=is_hopeless,
            )
        except ResourceNotFoundError as error:
            if error.code.endswith(".Malformed"):
                raise
            logger.info("%s is already deleted", resource_id)
            return False
        return True

    def _patiently(
        self,
        call: Callable[[], T],
        resource_id: str,
        *,
        what: str,
        deadline: Deadline | None,
        passing: Collection[str] = (),
        patience: float = 0.0,
        is_hopeless: Callable[[CloudError], bool] = lambda _: False,
    ) -> T:
        doubt = max(0.0, self._doubted_until.get(resource_id, 0.0) - self._clock.now())
        codes = {*passing, self._not_found} if doubt else passing
        return call_until_consistent(
            call,
            what=what,
            codes=codes,
            deadline=deadline or Deadline.never(self._clock),
            patience=max(patience, doubt),
            is_hopeless=is_hopeless,
        )

    def _seen(self, resource_id: str) -> D:
        description = self._fetch(resource_id)
        # Visible now: later NotFound errors are real.
        self._doubted_until.pop(resource_id, None)
        return description

    def poll(self, resource_id: str, deadline: Deadline, on_error: Callable[[PycloudlibError], None]) -> D | None:
        """Return the description of a resource while waiting for it, tolerating transient errors.

        Args:
            resource_id: the id.
            deadline: when to stop waiting for EC2.
            on_error: called with a transient error.

        Returns:
            The description; None after a transient error, such as a missing response.

        Raises:
            ResourceNotFoundError: the resource does not exist.
            CloudError: EC2 rejected the request.
        """
        try:
            return responded(lambda: self._seen(resource_id), what=f"describe {resource_id}", deadline=deadline)
        except NoResponseError as error:
            on_error(error)
        except CloudError as error:
            doubted = self._clock.now() < self._doubted_until.get(resource_id, 0.0)
            if error.code not in PASSING_CODES and not (doubted and error.code == self._not_found):
                raise
            on_error(error)
        return None

    def _until(self, check: Callable[[], T | None], what: str, deadline: Deadline, last_seen: Callable[[], str]) -> T:
        return wait_until(
            check,
            what=what,
            deadline=deadline,
            interval=POLL_INTERVAL,
            max_interval=MAX_POLL_INTERVAL,
            last_seen=last_seen,
        )


def _reason(description: Described) -> str:
    return f" ({description.state_reason})" if description.state_reason else ""
