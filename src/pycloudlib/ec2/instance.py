"""One EC2 instance: its life, and what is asked of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from pycloudlib.ec2.boot import KERNEL_PANIC, Boot, Bootable, Expectation, Timeline
from pycloudlib.ec2.console import Console
from pycloudlib.ec2.faults import call_until_consistent, translated
from pycloudlib.ec2.poller import InstanceDescription, InstanceState, Poller
from pycloudlib.ec2.status import NOT_YET_VISIBLE, Status
from pycloudlib.errors import (
    IllegalStateError,
    InstanceError,
    InstanceNotFoundError,
    InstanceStateError,
    PycloudlibError,
    PycloudlibTimeoutError,
)
from pycloudlib.guest.boot import boot_id
from pycloudlib.instance import BaseInstance
from pycloudlib.key import KeyPair
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys, Mode, keys_from_console
from pycloudlib.waiting import SYSTEM_CLOCK, wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

BOOT_CONNECT_TIMEOUT = 3.0
"""Seconds for a TCP connection to an instance that boots: asking anew is quicker than TCP's own patience."""

BOOT_BANNER_TIMEOUT = 5.0
"""Seconds for the first line of its sshd, for the same reason."""


@dataclass(frozen=True)
class Access:
    """What an instance needs of its cloud.

    Args:
        client: the boto3 EC2 client.
        poller: who asks EC2 for states, for everybody.
        port: where the sshd of every instance listens.
        host_keys: how an instance proves who it is: "console", "pinned" or "insecure".
        boot_timeout: seconds until an instance must be ready.
        on_deleted: told the id of an instance that is gone.
    """

    client: EC2Client
    poller: Poller
    port: int
    host_keys: Mode
    boot_timeout: float
    on_deleted: Callable[[str], object]


class EC2Instance(BaseInstance):
    """An EC2 instance. As a context manager it is deleted in the end.

    It is made by EC2.launch() and EC2.get_instance().

    Args:
        description: what EC2 said about it.
        access: what it needs of its cloud.
        username: who logs in.
        key_pair: the key that is offered; None for an instance that nobody logs in to.
        launched: whether it was launched a moment ago, so that EC2 may not know it yet.
    """

    stop_timeout: float = 600.0
    """Seconds for which wait_for_stop() waits."""

    delete_timeout: float = 600.0
    """Seconds for which wait_for_delete() waits."""

    auth_patience: float = 120.0
    """Seconds for which an instance that boots may refuse the key, until its boot is given up."""

    def __init__(
        self,
        description: InstanceDescription,
        access: Access,
        *,
        username: str,
        key_pair: KeyPair | None,
        launched: bool = False,
    ) -> None:
        super().__init__(
            description.instance_id,
            username=username,
            key_pair=key_pair,
            port=access.port,
            host_keys=HostKeys(access.host_keys),
        )
        self.boot_timeout = access.boot_timeout
        self._access = access
        self._status = Status(description, access.poller, launched=launched)
        self._console = Console(access.client, description.instance_id)
        self._boots_first = launched
        self._was_stopped = False
        self._panics_before = 0
        self._deletion_requested = False
        self._gone = False
        self._begin_timeline()

    @property
    def name(self) -> str:
        """The tag "Name"; its id, if it has none."""
        return self._status.seen.tags.get("Name", self.id)

    @property
    def tags(self) -> dict[str, str]:
        """Its tags, as last seen; refresh() asks again."""
        return dict(self._status.seen.tags)

    @property
    def image_id(self) -> str:
        """The AMI that it was launched from."""
        return self._status.seen.image_id

    @property
    def instance_type(self) -> str:
        """Its type, such as "t3.micro"."""
        return self._status.seen.instance_type

    @property
    def availability_zone(self) -> str:
        """The zone that it is in, such as "eu-central-1a"."""
        return self._status.seen.availability_zone

    @property
    def state(self) -> InstanceState:
        """Its state now: EC2 is asked each time (DescribeInstances).

        Raises:
            InstanceNotFoundError: EC2 does not know it any more.
        """
        return self._status.refresh().state

    @property
    def timeline(self) -> Timeline:
        """When it came how far in its latest boot."""
        return self._timeline

    @property
    def ip(self) -> str:
        """Its public IPv4 address; its private one, if it has no public one.

        Raises:
            InstanceStateError: it was deleted, or has no address.
        """
        self._refuse_if_deleted("reached")
        if self._status.seen.state is not InstanceState.RUNNING:
            self.refresh()
        address = self._status.seen.public_ip or self._status.seen.private_ip
        if address is None:
            raise self._state_error("it has no address")
        return address

    @property
    def private_ip(self) -> str:
        """Its private IPv4 address.

        Raises:
            InstanceStateError: it has none.
        """
        if self._status.seen.private_ip is None:
            raise self._state_error("it has no private address")
        return self._status.seen.private_ip

    @property
    def public_dns_name(self) -> str:
        """Its public name; empty without one."""
        return self._status.seen.public_dns_name

    @property
    def private_dns_name(self) -> str:
        """Its private name; empty without one."""
        return self._status.seen.private_dns_name

    def refresh(self) -> None:
        """Ask EC2 about it: state, addresses and tags (DescribeInstances).

        Raises:
            InstanceNotFoundError: EC2 does not know it any more.
        """
        self._status.refresh()

    def wait(self, timeout: float | None = None, *, raise_on_cloud_init_failure: bool = True) -> None:
        """Wait until it is ready: running, with an address, logged in to, cloud-init done.

        It fails at once when it cannot succeed any more: the instance was stopped or terminated, its kernel panicked,
        or it refused the key for longer than cloud-init takes.

        Args:
            timeout: seconds; default `boot_timeout`.
            raise_on_cloud_init_failure: whether a cloud-init that ended in error is one; default yes.

        Raises:
            BootError: it will never be ready.
            CloudInitError: cloud-init ended in error; with its own text.
            BootTimeoutError: it was not ready in time; with the last state seen and the end of the console log.
        """
        self._wait_for_boot(self._expectation(timeout, fail_on_cloud_init_error=raise_on_cloud_init_failure))

    def wait_for_restart(self, old_boot_id: str, timeout: float | None = None) -> None:
        """Wait until it has booted again and is ready.

        Args:
            old_boot_id: what get_boot_id() said before.
            timeout: seconds; default `boot_timeout`.

        Raises:
            BootError: it will never be ready.
            CloudInitError: cloud-init ended in error; with its own text.
            BootTimeoutError: it was not ready in time; with the last state seen and the end of the console log.
        """
        self._wait_for_boot(self._expectation(timeout, old_boot_id=old_boot_id))

    def wait_for_stop(self) -> None:
        """Wait until it is stopped.

        Raises:
            InstanceStateError: it was terminated instead.
            PycloudlibTimeoutError: it was not stopped within `stop_timeout`.
        """
        self._status.wait_for_stop(self.stop_timeout)

    def wait_for_delete(self) -> None:
        """Wait until it is terminated, or until EC2 does not know it any more.

        Raises:
            PycloudlibTimeoutError: it was not terminated within `delete_timeout`.
        """
        self._status.wait_for_end(self.delete_timeout)
        self._gone = True
        self._access.on_deleted(self.id)

    def get_boot_id(self) -> str:
        """Ask the guest which boot this is; it is another one after each restart.

        Raises:
            SSHError: the guest could not be asked.
        """
        return boot_id(self.execute)

    def console_log(self, timeout: float = 0.0) -> str:
        """What the machine printed on its console (GetConsoleOutput).

        Args:
            timeout: seconds to wait until there is anything; default 0, ask once. On AWS the first output may take
                some minutes.

        Raises:
            InstanceError: there is none yet.
        """
        try:
            return wait_until(
                self._console.read,
                what=f"{self.id} to have a console log",
                timeout=timeout,
                interval=1.0,
                max_interval=10.0,
            )
        except PycloudlibTimeoutError as error:
            raise InstanceError(
                f"{self.id} has no console log yet; console_log(timeout=...) waits for it",
                instance_id=self.id,
                state=str(self._status.seen.state),
                instance=self,
            ) from error

    def restart(self, wait: bool = True) -> None:
        """Boot it again (RebootInstances).

        Args:
            wait: whether to wait until it is ready again, with another boot id; default yes.

        Raises:
            InstanceStateError: it does not run.
            SSHError: the guest could not be asked for its boot id; `wait=False` does not ask.
            InstanceError: as for wait().
        """
        self._expect_state("restarted", {InstanceState.RUNNING})
        old_boot_id = self.get_boot_id() if wait else ""
        self._note_panics()
        self._tell("restarted", "reboot_instances")
        if wait:
            self.wait_for_restart(old_boot_id)

    def shutdown(self, wait: bool = True) -> None:
        """Stop it (StopInstances); one that is stopped already stays so.

        Args:
            wait: whether to wait until it is stopped; default yes.

        Raises:
            InstanceStateError: it is terminated, or not in a state to be stopped.
        """
        self._expect_state("stopped", set(InstanceState) - {InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED})
        self._tell("stopped", "stop_instances")
        if wait:
            self.wait_for_stop()

    def start(self, wait: bool = True) -> None:
        """Start it after it was stopped (StartInstances); EC2 gives it another public address.

        Args:
            wait: whether to wait until it is ready; default yes.

        Raises:
            InstanceStateError: it is terminated, or not stopped yet.
            InstanceError: as for wait().
        """
        self._expect_state("started", {InstanceState.STOPPED, InstanceState.RUNNING, InstanceState.PENDING})
        self._note_panics()
        self._tell("started", "start_instances")
        self._was_stopped = True
        if wait:
            self.wait()

    def delete(self, wait: bool = True) -> list[Exception]:
        """Delete it (TerminateInstances). One that is deleted already is left alone.

        Args:
            wait: whether to wait until it is terminated; default yes.

        Returns:
            What went wrong; empty when nothing did.
        """
        if self._gone:
            logger.info("%s is deleted already", self.id)
            return []
        try:
            self._terminate()
            if wait:
                self.wait_for_delete()
        except PycloudlibError as error:
            return [error]
        return []

    def note_deletion(self) -> None:
        """Take note that TerminateInstances has been called for it, together with others."""
        self._deletion_requested = True
        self._status.expect_change()
        self._disconnect()

    # Deleting

    def _terminate(self) -> None:
        if self._deletion_requested:
            logger.info("%s is being deleted already", self.id)
            return
        try:
            call_until_consistent(
                self._call_terminate,
                what=f"EC2 to know {self.id}",
                timeout=NOT_YET_VISIBLE if self._status.may_be_invisible else 0.0,
            )
        except InstanceNotFoundError:
            logger.info("EC2 does not know %s any more", self.id)
        self.note_deletion()

    def _call_terminate(self) -> None:
        with translated():
            self._access.client.terminate_instances(InstanceIds=[self.id])

    def _refuse_if_deleted(self, what: str) -> None:
        if self._deletion_requested:
            raise self._state_error(f"it cannot be {what}: it was deleted")

    # States

    def _expect_state(self, verb: str, allowed: Collection[InstanceState]) -> None:
        self._refuse_if_deleted(verb)
        state = self.state
        if state not in allowed:
            raise self._state_error(f"it cannot be {verb}: it is {state}")

    def _tell(self, verb: str, operation: Literal["reboot_instances", "start_instances", "stop_instances"]) -> None:
        call: Callable[..., Any] = getattr(self._access.client, operation)
        try:
            with translated():
                call(InstanceIds=[self.id])
        except IllegalStateError as error:
            raise self._state_error(f"it cannot be {verb}: {error}") from error
        self._status.expect_change()
        self._disconnect()
        self._begin_timeline()

    def _state_error(self, reason: str) -> InstanceStateError:
        return InstanceStateError(
            f"{self.id}: {reason}",
            instance_id=self.id,
            state=str(self._status.seen.state),
            instance=self,
        )

    # Booting

    def _note_panics(self) -> None:
        """What panicked in an earlier boot is not to be mistaken for the next one's panic."""
        self._panics_before = self._console.read_if_possible().count(KERNEL_PANIC)

    def _expectation(
        self,
        timeout: float | None,
        *,
        old_boot_id: str | None = None,
        fail_on_cloud_init_error: bool = True,
    ) -> Expectation:
        return Expectation(
            timeout=self.boot_timeout if timeout is None else timeout,
            old_boot_id=old_boot_id,
            panics_before=self._panics_before,
            was_stopped=self._was_stopped,
            keeps_host_keys=not self._boots_first,
            fail_on_cloud_init_error=fail_on_cloud_init_error,
        )

    def _wait_for_boot(self, expectation: Expectation) -> None:
        self._refuse_if_deleted("waited for")
        subject = Bootable(
            instance_id=self.id,
            instance=self,
            host_keys=self._host_keys,
            auth_patience=self.auth_patience,
            look=self._status.look,
            console=self._console.read_if_possible,
            connect=self._connect_to_boot,
            disconnect=self._disconnect,
            reached=self._reached,
            count_watched=self._access.poller.count_watched,
        )
        with self._access.poller.watching(self.id):
            Boot(subject, expectation).wait()
        self._boots_first = False
        self._was_stopped = False

    def _connect_to_boot(self) -> Connection:
        target = self._target()
        hasty = replace(
            target,
            connect_timeout=min(target.connect_timeout, BOOT_CONNECT_TIMEOUT),
            banner_timeout=min(target.banner_timeout, BOOT_BANNER_TIMEOUT),
        )
        connection = self._connected_to(hasty)
        connection.open()
        return connection

    def _connected(self) -> Connection:
        self._refuse_if_deleted("reached")
        if self._status.seen.state is not InstanceState.RUNNING:
            self.refresh()
        if self._status.seen.state not in (InstanceState.RUNNING, InstanceState.PENDING):
            raise self._state_error(f"it cannot be reached: it is {self._status.seen}")
        if self._host_keys.mode == "console" and not self._host_keys.known_kinds:
            self._host_keys.learn(keys_from_console(self._console.read_if_possible()))
        return super()._connected()

    def _begin_timeline(self) -> None:
        self._timeline = Timeline(requested=datetime.now(timezone.utc))
        self._requested = SYSTEM_CLOCK.now()

    def _reached(self, stage: str) -> None:
        if getattr(self._timeline, stage) is None:
            seconds: Any = round(SYSTEM_CLOCK.now() - self._requested, 3)
            self._timeline = replace(self._timeline, **{stage: seconds})
            logger.debug("%s: %s after %g s", self.id, stage.replace("_", " "), seconds)
