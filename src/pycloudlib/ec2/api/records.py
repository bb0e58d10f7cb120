"""What EC2 says of one kind of resource: asked for, waited for, and deleted, however late EC2 knows of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from pycloudlib.ec2.api.faults import call_until_consistent, translated
from pycloudlib.ec2.api.retries import PASSING_CODES
from pycloudlib.errors import CloudError, IllegalStateError, InvalidArgumentError, ResourceNotFoundError
from pycloudlib.waiting import SYSTEM_CLOCK, Clock, wait_until

logger = logging.getLogger(__name__)

NOT_YET_KNOWN = 30.0
"""Seconds for which EC2 may not know what it created."""

LOOK_INTERVAL = 0.5
MAX_LOOK_INTERVAL = 2.0
"""Seconds between two questions about something that is waited for."""


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

    def get(self, resource_id: str) -> D:
        """Ask about one, again as long as it may be too new to be known.

        Raises:
            ResourceNotFoundError: there is none of that id.
        """
        if not isinstance(resource_id, str):
            raise InvalidArgumentError(f"{resource_id!r} is no id; it must be a text")
        try:
            return self._patiently(lambda: self._seen(resource_id), resource_id, what=f"describe {resource_id}")
        except ResourceNotFoundError as error:
            if resource_id in str(error):
                raise
            # Not every server says what it did not find.
            raise type(error)(
                f"{resource_id}: {error}", resource_id=resource_id, code=error.code, operation=error.operation
            ) from error

    def wait_for(
        self,
        resource_id: str,
        wanted: str,
        *,
        hopeless: Collection[str],
        timeout: float,
        look: Callable[[D], object] | None = None,
    ) -> D:
        """Wait until it is in a state.

        Args:
            resource_id: its id.
            wanted: the state.
            hopeless: the states from which it does not get there any more.
            timeout: seconds.
            look: told what EC2 says, each time that EC2 is asked; default nobody.

        Raises:
            IllegalStateError: it will never be in that state; with EC2's own reason.
            ResourceNotFoundError: there is none of that id.
            PycloudlibTimeoutError: it was not in that state in time; with the last state seen.
        """
        last_seen = "nothing yet"

        def check() -> D | None:
            nonlocal last_seen
            found = self._if_answered(resource_id)
            if found is None:
                return None
            last_seen = f"{found.state}{_reason(found)}"
            if look is not None:
                look(found)
            if found.state in hopeless:
                raise IllegalStateError(f"{resource_id} will never be {wanted}: it is {last_seen}")
            return found if found.state == wanted else None

        return self._until(check, f"{resource_id} to be {wanted}", timeout, lambda: last_seen)

    def wait_until_gone(self, resource_id: str, *, gone: Collection[str], timeout: float) -> None:
        """Wait until EC2 does not know it any more, or calls it gone.

        Args:
            resource_id: its id.
            gone: the states that mean so.
            timeout: seconds.

        Raises:
            PycloudlibTimeoutError: it was still there when the time was over; with the last state seen.
        """
        last_seen = "nothing yet"

        def check() -> bool:
            nonlocal last_seen
            try:
                found = self._if_answered(resource_id)
            except ResourceNotFoundError:
                return True
            last_seen = found.state if found else last_seen
            return found is not None and found.state in gone

        self._until(check, f"{resource_id} to be deleted", timeout, lambda: last_seen)
        self._doubted_until.pop(resource_id, None)

    def delete(
        self,
        call: Callable[[], object],
        resource_id: str,
        *,
        passing: Collection[str] = (),
        timeout: float = 0.0,
    ) -> bool:
        """Make the call that deletes it; one that is gone already is fine.

        Args:
            call: the call of boto3.
            resource_id: its id.
            passing: the AWS codes of what is in the way and goes away by itself.
            timeout: seconds for it to go away; default 0.

        Returns:
            Whether there was anything to delete.

        Raises:
            CloudError: EC2's last answer, if it did not change in time, and every other one at once.
        """

        def deleting() -> None:
            with translated():
                call()

        try:
            self._patiently(deleting, resource_id, what=f"delete {resource_id}", passing=passing, timeout=timeout)
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
        passing: Collection[str] = (),
        timeout: float = 0.0,
    ) -> T:
        doubt = max(0.0, self._doubted_until.get(resource_id, 0.0) - self._clock.now())
        codes = {*passing, self._not_found} if doubt else passing
        return call_until_consistent(call, what=what, codes=codes, timeout=max(timeout, doubt), clock=self._clock)

    def _seen(self, resource_id: str) -> D:
        found = self._ask(resource_id)
        # EC2 knows it now, so that from now on it means what it says.
        self._doubted_until.pop(resource_id, None)
        return found

    def _if_answered(self, resource_id: str) -> D | None:
        try:
            return self._seen(resource_id)
        except CloudError as error:
            doubted = self._clock.now() < self._doubted_until.get(resource_id, 0.0)
            if error.code in PASSING_CODES or (doubted and error.code == self._not_found):
                return None
            raise

    def _until(self, check: Callable[[], T | None], what: str, timeout: float, last_seen: Callable[[], str]) -> T:
        return wait_until(
            check,
            what=what,
            timeout=timeout,
            interval=LOOK_INTERVAL,
            max_interval=MAX_LOOK_INTERVAL,
            last_seen=last_seen,
            clock=self._clock,
        )


def _reason(found: Described) -> str:
    return f" ({found.state_reason})" if found.state_reason else ""
