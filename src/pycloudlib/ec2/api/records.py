"""What EC2 says of one kind of resource: asked for, waited for, and deleted, however late EC2 knows of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from pycloudlib.deadline import SYSTEM_CLOCK, Clock, Deadline
from pycloudlib.ec2.api.faults import call_until_consistent, responded
from pycloudlib.ec2.api.retries import PASSING_CODES
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

NOT_YET_KNOWN = 30.0
"""Seconds for which EC2 may not know what it created."""

LOOK_INTERVAL = 0.5
MAX_LOOK_INTERVAL = 2.0
"""Seconds between two looks at something that is waited for."""


class Described(Protocol):
    """What EC2 said of a resource, at one moment."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def state(self) -> str:
        """Its state, as EC2 names it."""

    @property
    def state_reason(self) -> str:
        """Why it is in that state, in EC2's words; empty when EC2 says nothing."""


D = TypeVar("D", bound=Described)
T = TypeVar("T")


class Records(Generic[D]):
    """The resources of one kind, at one endpoint.

    Args:
        ask: gives what EC2 says about an id; raises ResourceNotFoundError when EC2 does not know it.
        not_found: the AWS code of that.
        clock: what tells the time; default the real time.
    """

    def __init__(self, ask: Callable[[str], D], *, not_found: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._ask = ask
        self._not_found = not_found
        self._clock = clock
        self._doubted_until: dict[str, float] = {}

    def created(self, resource_id: str) -> None:
        """Take note of a resource that was created a moment ago, so that EC2 may not know it yet."""
        self._doubted_until[resource_id] = self._clock.now() + NOT_YET_KNOWN

    def get(self, resource_id: str, deadline: Deadline | None = None) -> D:
        """Ask about one, again as long as it may be too new to be known.

        Args:
            resource_id: its id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            ResourceNotFoundError: there is none of that id.
            NoResponseError: EC2 did not respond in time.
        """
        if not isinstance(resource_id, str):
            raise InvalidArgumentError(f"{resource_id!r} is no id; it must be a text")
        try:
            return self._patiently(
                lambda: self._seen(resource_id), resource_id, what=f"describe {resource_id}", deadline=deadline
            )
        except ResourceNotFoundError as error:
            if resource_id in str(error):
                raise
            # Not every server says what it did not find.
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
        look: Callable[[D], object] | None = None,
    ) -> D:
        """Wait until it is in a state.

        Args:
            resource_id: its id.
            wanted: the state.
            hopeless: the states from which it does not get there any more.
            deadline: when to give up, even if EC2 has not answered by then.
            look: told what EC2 says, each time that EC2 is asked; default nobody.

        Raises:
            IllegalStateError: it will never be in that state; with EC2's own reason.
            ResourceNotFoundError: there is none of that id.
            PycloudlibTimeoutError: it was not in that state in time; with the last state seen.
        """
        last_seen = "nothing yet"

        def missed(error: PycloudlibError) -> None:
            nonlocal last_seen
            last_seen = str(error)

        def check() -> D | None:
            nonlocal last_seen
            found = self.look(resource_id, deadline, missed)
            if found is None:
                return None
            last_seen = f"{found.state}{_reason(found)}"
            if look is not None:
                look(found)
            if found.state in hopeless:
                raise IllegalStateError(f"{resource_id} will never be {wanted}: it is {last_seen}")
            return found if found.state == wanted else None

        return self._until(check, f"{resource_id} to be {wanted}", deadline, lambda: last_seen)

    def wait_until_gone(self, resource_id: str, *, gone: Collection[str], deadline: Deadline) -> None:
        """Wait until EC2 does not know it any more, or calls it gone.

        Args:
            resource_id: its id.
            gone: the states that mean so.
            deadline: when to give up, even if EC2 has not answered by then.

        Raises:
            PycloudlibTimeoutError: it was still there when the time was over; with the last state seen.
        """
        last_seen = "nothing yet"

        def missed(error: PycloudlibError) -> None:
            nonlocal last_seen
            last_seen = str(error)

        def check() -> bool:
            nonlocal last_seen
            try:
                found = self.look(resource_id, deadline, missed)
            except ResourceNotFoundError:
                return True
            last_seen = found.state if found else last_seen
            return found is not None and found.state in gone

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
        """Make the call that deletes it. No-op if it is gone.

        Args:
            call: the call of boto3.
            resource_id: its id.
            passing: the AWS codes of what is in the way and goes away by itself.
            patience: seconds for it to go away, at most; default 0.
            deadline: when to give up, even if EC2 has not responded by then; default never.
            is_hopeless: whether what is in the way will stay; asked after each refusal; default never.

        Returns:
            Whether there was anything to delete.

        Raises:
            CloudError: EC2's last answer, if it did not change in time, and every other one at once.
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
            logger.info("%s is gone already", resource_id)
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
        found = self._ask(resource_id)
        # EC2 knows it now, so that from now on it means what it says.
        self._doubted_until.pop(resource_id, None)
        return found

    def look(self, resource_id: str, deadline: Deadline, missed: Callable[[PycloudlibError], None]) -> D | None:
        """Ask about one that is waited for, tolerating transient errors.

        Args:
            resource_id: its id.
            deadline: when to stop waiting for EC2.
            missed: called with the transient error.

        Returns:
            None after a transient error, which includes that EC2 did not respond in time.

        Raises:
            ResourceNotFoundError: there is none of that id.
            CloudError: EC2 refused.
        """
        try:
            return responded(lambda: self._seen(resource_id), what=f"describe {resource_id}", deadline=deadline)
        except NoResponseError as error:
            missed(error)
        except CloudError as error:
            doubted = self._clock.now() < self._doubted_until.get(resource_id, 0.0)
            if error.code not in PASSING_CODES and not (doubted and error.code == self._not_found):
                raise
            missed(error)
        return None

    def _until(self, check: Callable[[], T | None], what: str, deadline: Deadline, last_seen: Callable[[], str]) -> T:
        return wait_until(
            check,
            what=what,
            deadline=deadline,
            interval=LOOK_INTERVAL,
            max_interval=MAX_LOOK_INTERVAL,
            last_seen=last_seen,
        )


def _reason(found: Described) -> str:
    return f" ({found.state_reason})" if found.state_reason else ""
