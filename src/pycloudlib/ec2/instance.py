"""One EC2 instance: its life, and what is asked of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Literal

from pycloudlib.ec2.api.faults import call_until_consistent, translated
from pycloudlib.ec2.instances.access import Access
from pycloudlib.ec2.instances.attached_interfaces import InstanceWithInterfaces
from pycloudlib.ec2.instances.attached_volumes import InstanceWithVolumes
from pycloudlib.ec2.instances.boot import KERNEL_PANIC, Boot, Bootable, Expectation, Timeline, console_tail
from pycloudlib.ec2.instances.console import Console
from pycloudlib.ec2.instances.poller import InstanceDescription, InstanceState
from pycloudlib.ec2.instances.status import NOT_YET_VISIBLE
from pycloudlib.ec2.network.addresses import ElasticAddress
from pycloudlib.errors import (
    IllegalStateError,
    InstanceError,
    InstanceNotFoundError,
    InvalidArgumentError,
    PycloudlibError,
    PycloudlibTimeoutError,
)
from pycloudlib.guest.boot import boot_id
from pycloudlib.key import KeyPair
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import count_console_blocks, keys_from_console
from pycloudlib.waiting import SYSTEM_CLOCK, wait_until

logger = logging.getLogger(__name__)

BOOT_CONNECT_TIMEOUT = 3.0
"""Seconds for a TCP connection to an instance that boots: asking anew is quicker than TCP's own patience."""

BOOT_BANNER_TIMEOUT = 5.0
"""Seconds for the first line of its sshd, for the same reason."""

BANNERS_PER_SECOND = 20.0
"""What is counted on where many are waited for: who gives up too early makes the others wait longer still."""

PROTECTED_CODE = "OperationNotPermitted"
"""What EC2 says to TerminateInstances for a protected instance."""


class EC2Instance(InstanceWithVolumes, InstanceWithInterfaces):
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
        super().__init__(description, access, username=username, key_pair=key_pair, launched=launched)
        self.boot_timeout = access.boot_timeout
        self._console = Console(access.client, description.instance_id)
        self._boots_first = launched
        self._was_stopped = False
        self._panics_before = 0
        self._key_blocks_before = 0
        self._gone = False
        self._leaving_addresses: list[ElasticAddress] = []
        self._begin_timeline()

    @property
    def timeline(self) -> Timeline:
        """When it came how far in its latest boot."""
        return self._timeline

    @property
    def termination_protection(self) -> bool:
        """Whether it is protected from being deleted (DescribeInstanceAttribute, ModifyInstanceAttribute).

        Raises:
            InstanceStateError: set for an instance that was deleted.
            CloudError: EC2 refused.
        """
        with translated():
            answer = self._access.client.describe_instance_attribute(
                InstanceId=self.id, Attribute="disableApiTermination"
            )
        return bool(answer.get("DisableApiTermination", {}).get("Value", False))

    @termination_protection.setter
    def termination_protection(self, protected: bool) -> None:
        self._refuse_if_deleted("protected")
        if not isinstance(protected, bool):
            raise InvalidArgumentError(f"termination_protection is {protected!r}; it must be True or False")
        call_until_consistent(
            partial(self._call_modify_protection, protected),
            what=f"EC2 to know {self.id}",
            timeout=NOT_YET_VISIBLE if self._status.may_be_invisible else 0.0,
        )

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
                self._console.read_in_time if timeout > 0 else self._console.read,
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

    def prepare_boot(self) -> None:
        """Take note of what is on the console, before it is told to start or reboot, together with others."""
        self._refuse_if_deleted("booted")
        self._note_panics()

    def note_change(self, *, started: bool = False) -> None:
        """Take note that it was told to stop, start or reboot, together with others.

        Args:
            started: whether it was told to start; default no.
        """
        self._was_stopped = self._was_stopped or started
        self._status.expect_change()
        self._disconnect()
        self._begin_timeline()

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
        if wait:
            self.wait()

    def clean(self) -> None:
        """Remove what makes it differ from other instances, as BaseInstance.clean() does."""
        super().clean()
        # It makes other host keys when it boots again.
        self._boots_first = True

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
        errors: list[Exception] = []
        try:
            self._terminate()
            errors += self._release_addresses(self._leaving_addresses)
            if wait:
                self.wait_for_delete()
        except PycloudlibError as error:
            errors.append(error)
        return errors

    def explain(self, error: PycloudlibError) -> None:
        """Let an error that ended its launch tell its id, its last state and the end of its console log.

        Args:
            error: of any kind; what it tells already stays.
        """
        error.instance = self
        if error.instance_id:
            return
        error.instance_id = self.id
        error.state = str(self._status.seen.state)
        error.console_tail = console_tail(self._console.read_if_possible())

    def prepare_deletion(self) -> None:
        """Take note of what goes with it, before TerminateInstances is called for it."""
        self._leaving_addresses = self._addresses_to_release()

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
        self.prepare_deletion()
        try:
            call_until_consistent(
                self._call_terminate,
                what=f"EC2 to know {self.id}",
                timeout=NOT_YET_VISIBLE if self._status.may_be_invisible else 0.0,
            )
        except InstanceNotFoundError:
            logger.info("EC2 does not know %s any more", self.id)
        except IllegalStateError as error:
            if error.code != PROTECTED_CODE:
                raise
            raise self._state_error(
                "it cannot be deleted: it is protected from termination; set termination_protection = False first"
            ) from error
        self.note_deletion()

    def _call_terminate(self) -> None:
        with translated():
            self._access.client.terminate_instances(InstanceIds=[self.id])

    def _call_modify_protection(self, protected: bool) -> None:
        with translated():
            self._access.client.modify_instance_attribute(
                InstanceId=self.id, DisableApiTermination={"Value": protected}
            )

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
        self.note_change(started=operation == "start_instances")

    # Booting

    def _note_panics(self) -> None:
        """What panicked in an earlier boot is not to be mistaken for the next one's panic; likewise its host keys."""
        text = self._console.read_if_possible()
        self._panics_before = text.count(KERNEL_PANIC)
        self._key_blocks_before = count_console_blocks(text)

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
            key_blocks_before=self._key_blocks_before,
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
        self._report_shared_host_key()
        self._boots_first = False
        self._was_stopped = False

    def _report_shared_host_key(self) -> None:
        key = self._host_keys.accepted
        other = self._access.key_owners.note(key, self.id) if key else None
        if other:
            logger.warning(
                "%s and %s have the same host key, %s: the image %s has its host keys baked in, so that whoever has it "
                "can pretend to be either; remove /etc/ssh/ssh_host_* before an image is made",
                self.id,
                other,
                key,
                self.image_id,
            )

    def _connect_to_boot(self) -> Connection:
        target = self._target()
        hasty = replace(
            target,
            connect_timeout=min(target.connect_timeout, BOOT_CONNECT_TIMEOUT),
            banner_timeout=self._banner_patience(target.banner_timeout),
        )
        connection = self._connected_to(hasty)
        connection.open()
        return connection

    def _banner_patience(self, usual: float) -> float:
        others = self._access.poller.count_watched() - 1
        return min(usual, BOOT_BANNER_TIMEOUT) + max(0, others) / BANNERS_PER_SECOND

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
