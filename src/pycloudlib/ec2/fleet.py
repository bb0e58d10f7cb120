"""A fleet: many instances, operated together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, overload

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.state_requests import Operation, request_state
from pycloudlib.errors import FleetError, PycloudlibError
from pycloudlib.fan_out import fan_out
from pycloudlib.instance import raise_unless_secondary
from pycloudlib.result import Result
from pycloudlib.setting_values import CloudInitFailure

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

logger = logging.getLogger(__name__)

REQUESTED_AT_ONCE = 100
"""The number of instances per StopInstances, StartInstances, RebootInstances, or TerminateInstances."""

BUSY_AT_ONCE = 32
"""The number of instances that run commands concurrently."""

WAITED_FOR_AT_ONCE = 256
"""The number of instances to wait for concurrently; waiting threads are mostly idle."""


class Fleet(Sequence[EC2Instance]):
    """A sequence of instances, operated together. As a context manager, it deletes the instances on exit.

    `EC2.launch_many()` returns a fleet.

    Args:
        instances: the instances.
        context: the cloud context of the instances.
    """

    def __init__(self, instances: Iterable[EC2Instance], context: InstanceContext) -> None:
        self._instances = tuple(instances)
        self._context = context

    @property
    def ids(self) -> list[str]:
        """The ids of the instances."""
        return [instance.id for instance in self._instances]

    def wait(self, timeout: float | None = None, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Wait until all instances are ready, as `EC2Instance.wait()` does.

        Args:
            timeout: seconds for all instances together; default the longest `boot_timeout` of the instances.
            cloud_init_failure: as for `EC2Instance.wait()`.

        Raises:
            FleetError: some instances cannot become ready, or were not ready in time; the message names each.
        """
        longest = self._longest(lambda instance: instance.boot_timeout)
        deadline = longest if timeout is None else Deadline.after(timeout)
        self._wait_by(deadline, cloud_init_failure, "to be ready")

    def execute(
        self,
        command: str | Sequence[str],
        stdin: str | bytes | None = None,
        description: str | None = None,
        *,
        use_sudo: bool = False,
        no_log: bool = False,
        get_pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Result]:
        """Run a command in all guests concurrently, as `EC2Instance.execute()` does in one.

        Args:
            command: a string to run in `sh -c`, or a list of arguments to run directly.
            stdin: the standard input of the command; default empty.
            description: text for logs and errors instead of the command; default the command.
            use_sudo: whether to run the whole command, including redirections, as root; default no.
            no_log: whether to log nothing of the command; default no.
            get_pty: whether to allocate a pseudo-terminal; default no.
            timeout: seconds for all guests together, including the time for which commands queue behind BUSY_AT_ONCE
                others; default unlimited.
            env: environment variables of the command; default none.

        Returns:
            The result by instance id; a command that fails does not raise.

        Raises:
            FleetError: some guests were not reachable, or the command did not end in time; the error names each, and
                has the results of the others.
        """
        deadline = Deadline.after(timeout)
        return self._each(
            lambda instance: instance._execute_by(
                deadline,
                command,
                stdin,
                description,
                use_sudo=use_sudo,
                no_log=no_log,
                get_pty=get_pty,
                env=env,
            ),
            "to run the command",
        )

    def shutdown(self, wait: bool = True) -> None:
        """Stop all instances (StopInstances). No-op for stopped ones.

        Return within the longest `stop_timeout` of the instances.

        Args:
            wait: whether to wait until the instances are stopped; default yes.

        Raises:
            FleetError: some instances could not be stopped; the message names each.
        """
        deadline = self._longest(lambda instance: instance.stop_timeout)
        stop_one = partial(EC2Instance._shutdown_by, deadline=deadline, wait=False)
        self._request("stop_instances", stop_one, "to be stopped", deadline)
        if wait:
            self._wait_until(partial(EC2Instance._wait_for_stop_by, deadline=deadline), "to be stopped")

    def start(self, wait: bool = True, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Start all stopped instances (StartInstances).

        Return within the longest `boot_timeout` of the instances.

        Args:
            wait: whether to wait until the instances are ready; default yes.
            cloud_init_failure: as for `EC2Instance.wait()`.

        Raises:
            FleetError: some instances could not be started, or did not become ready; the message names each.
        """
        deadline = self._longest(lambda instance: instance.boot_timeout)
        self._each(partial(EC2Instance._prepare_boot, deadline=deadline), "to be started")
        start_one = partial(EC2Instance._start_by, deadline=deadline)
        self._request("start_instances", start_one, "to be started", deadline)
        if wait:
            self._wait_by(deadline, cloud_init_failure, "to be ready")

    def restart(self, wait: bool = True, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Reboot all instances (RebootInstances).

        Return within the longest `boot_timeout` of the instances.

        Args:
            wait: whether to wait until the instances are ready again, with new boot ids; default yes.
            cloud_init_failure: as for `EC2Instance.wait()`.

        Raises:
            FleetError: some instances could not be rebooted, or did not become ready; the message names each.
        """
        deadline = self._longest(lambda instance: instance.boot_timeout)
        if wait:
            self._each(partial(EC2Instance._note_boot_id, deadline=deadline), "to be restarted")
        self._each(partial(EC2Instance._prepare_boot, deadline=deadline), "to be restarted")
        restart_one = partial(EC2Instance._restart_by, deadline=deadline)
        self._request("reboot_instances", restart_one, "to be restarted", deadline)
        if wait:
            # Each waits for another boot id than the noted one.
            self._wait_by(deadline, cloud_init_failure, "to be restarted")

    def delete(self, wait: bool = True) -> list[Exception]:
        """Terminate all instances (TerminateInstances). No-op for deleted ones.

        Return within the longest `delete_timeout` of the instances, even if EC2 does not respond.

        Args:
            wait: whether to wait until the instances are terminated; default yes.

        Returns:
            The errors, each with its instance; empty on success.
        """
        deadline = self._longest(lambda instance: instance.delete_timeout)
        delete = partial(EC2Instance._delete_by, deadline=deadline, wait=wait)
        with self._watched():
            terminate_together(self._context, self._instances, deadline)
            outcome = fan_out(self._instances, delete, at_once=WAITED_FOR_AT_ONCE)
        return [*outcome.errors.values(), *(error for errors in outcome.results.values() for error in errors)]

    @overload
    def __getitem__(self, index: int) -> EC2Instance: ...
    @overload
    def __getitem__(self, index: slice) -> Fleet: ...
    def __getitem__(self, index: int | slice) -> EC2Instance | Fleet:
        if isinstance(index, slice):
            return Fleet(self._instances[index], self._context)
        return self._instances[index]

    def __len__(self) -> int:
        return len(self._instances)

    def __iter__(self) -> Iterator[EC2Instance]:
        return iter(self._instances)

    def __repr__(self) -> str:
        return f"<Fleet of {len(self)} instances>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise_unless_secondary(self.delete(), exception)

    def _longest(self, timeout_of: Callable[[EC2Instance], float]) -> Deadline:
        return _longest(self._instances, timeout_of)

    def _wait_by(self, deadline: Deadline, cloud_init_failure: CloudInitFailure | None, what: str) -> None:
        wait = partial(EC2Instance._wait_by, deadline=deadline, cloud_init_failure=cloud_init_failure)
        with self._watched():
            self._wait_until(wait, what)

    def _wait_until(self, call: Callable[[EC2Instance], T], what: str) -> None:
        self._each(call, what, at_once=WAITED_FOR_AT_ONCE)

    def _each(self, call: Callable[[EC2Instance], T], what: str, *, at_once: int = 0) -> dict[str, T]:
        outcome = fan_out(self._instances, call, at_once=at_once or BUSY_AT_ONCE)
        if outcome.errors:
            raise FleetError(what, errors=outcome.errors, results=outcome.results, fleet=self)
        return outcome.results

    def _request(
        self, operation: Operation, one_by_one: Callable[[EC2Instance], None], what: str, deadline: Deadline
    ) -> None:
        refused = [instance for instance in self._instances if instance.deletion_requested]
        for chunk in _chunks([instance for instance in self._instances if not instance.deletion_requested]):
            if _requested_together(self._context, operation, chunk, deadline):
                for instance in chunk:
                    instance._note_request(started=operation == "start_instances")
            else:
                refused += chunk
        outcome = fan_out(refused, one_by_one, at_once=BUSY_AT_ONCE)
        if outcome.errors:
            done: dict[str, None] = dict.fromkeys(id_ for id_ in self.ids if id_ not in outcome.errors)
            raise FleetError(what, errors=outcome.errors, results=done, fleet=self)

    def _watched(self) -> ExitStack:
        """Poll all instances together: one DescribeInstances then serves every waiter."""
        watching = ExitStack()
        for instance in self._instances:
            watching.enter_context(self._context.poller.watching(instance.id))
        return watching


def terminate_together(
    context: InstanceContext, instances: Sequence[EC2Instance], deadline: Deadline | None = None
) -> None:
    """Request the termination of many instances with few calls; after a failed call, delete them one by one.

    Args:
        context: the cloud context of the instances.
        instances: the instances; those being deleted are left out.
        deadline: when to stop waiting for EC2; default after the longest `delete_timeout` of the instances.
    """
    deadline = deadline or _longest(instances, lambda instance: instance.delete_timeout)
    for chunk in _chunks([instance for instance in instances if not instance.deletion_requested]):
        for instance in chunk:
            instance._prepare_deletion(deadline)
        if _requested_together(context, "terminate_instances", chunk, deadline):
            for instance in chunk:
                instance._note_deletion()


def _longest(instances: Iterable[EC2Instance], timeout_of: Callable[[EC2Instance], float]) -> Deadline:
    """Return the deadline after the longest timeout of some instances."""
    return Deadline.after(max(map(timeout_of, instances), default=0.0))


def _requested_together(
    context: InstanceContext, operation: Operation, instances: Sequence[EC2Instance], deadline: Deadline
) -> bool:
    try:
        request_state(context.client, operation, [instance.id for instance in instances], deadline)
    except PycloudlibError as error:
        logger.debug("%s of %d instances one by one: %s", operation, len(instances), error)
        return False
    return True


def _chunks(instances: Sequence[EC2Instance]) -> Iterator[Sequence[EC2Instance]]:
    for start in range(0, len(instances), REQUESTED_AT_ONCE):
        yield instances[start : start + REQUESTED_AT_ONCE]
