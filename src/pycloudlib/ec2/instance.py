"""An EC2 instance: its lifecycle and its operations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pycloudlib.deadline import SYSTEM_CLOCK, Deadline, check_timeout
from pycloudlib.ec2.api.faults import call_until_consistent, responded, translated
from pycloudlib.ec2.instances.attached_interfaces import InstanceWithInterfaces
from pycloudlib.ec2.instances.attached_volumes import InstanceWithVolumes
from pycloudlib.ec2.instances.boot import Boot, BootCriteria, BootTarget
from pycloudlib.ec2.instances.boot_history import BootHistory
from pycloudlib.ec2.instances.boot_timeline import Timeline
from pycloudlib.ec2.instances.cloud_init_failure import checked_cloud_init_failure
from pycloudlib.ec2.instances.console import Console
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.instance_progress import InstanceProgress
from pycloudlib.ec2.instances.poller import InstanceDescription, InstanceState
from pycloudlib.ec2.instances.root_volume import RootVolumeTasks, checked_source
from pycloudlib.ec2.instances.status import NOT_YET_VISIBLE
from pycloudlib.ec2.network.addresses import ElasticAddress
from pycloudlib.errors import (
    CommandTimeoutError,
    IllegalStateError,
    InstanceError,
    InstanceNotFoundError,
    InstanceTimeoutError,
    InvalidArgumentError,
    PycloudlibError,
    PycloudlibTimeoutError,
    SSHConnectionError,
)
from pycloudlib.guest.boot import BOOT_ID_TIMEOUT, boot_id, checked_boot_id
from pycloudlib.key import KeyPair
from pycloudlib.setting_values import CloudInitFailure
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import keys_from_console
from pycloudlib.waiting import timed_out

logger = logging.getLogger(__name__)

CONSOLE_TIMEOUT = 300.0
"""The default timeout of `console_log()` in seconds."""

CONSOLE_RESPONSE = 30.0
"""Seconds that `console_log(timeout=0)` waits for EC2's response."""

SECONDS_PER_MINUTE = 60.0
"""The unit of pycloudlib's `ready_timeout`, which is in minutes."""

PROTECTED_CODE = "OperationNotPermitted"
"""The error code of TerminateInstances for a protected instance."""


class EC2Instance(InstanceWithVolumes, InstanceWithInterfaces):
    """An EC2 instance. As a context manager, it deletes the instance on exit.

    `EC2.launch()` and `EC2.get_instance()` return instances.

    Args:
        description: the description from EC2.
        context: the cloud context.
        username: the login user.
        key_pair: the key pair for SSH logins; None for an instance without logins.
        launched: whether the instance is newly launched and may not be visible yet; default no.
    """

    stop_timeout: float = 600.0
    """The timeout of `wait_for_stop()` in seconds."""

    delete_timeout: float = 600.0
    """The timeout of `wait_for_delete()` and `delete()` in seconds."""

    auth_patience: float = 120.0
    """Seconds that a booting instance may reject the key before the wait fails."""

    def __init__(
        self,
        description: InstanceDescription,
        context: InstanceContext,
        *,
        username: str,
        key_pair: KeyPair | None,
        launched: bool = False,
    ) -> None:
        super().__init__(description, context, username=username, key_pair=key_pair, launched=launched)
        self.boot_timeout = context.boot_timeout
        self.cloud_init_failure = context.cloud_init_failure
        self._console = Console(context.client, description.instance_id)
        self._root_volume_tasks = RootVolumeTasks(context.region_context, self._volumes)
        self._progress = InstanceProgress(self.id, context.poller)
        self._boots = BootHistory(self._progress.report_stage, boots_first=launched)
        self._gone = False
        self._leaving_addresses: list[ElasticAddress] = []

    @property
    def ready_timeout(self) -> float:
        """`boot_timeout` in minutes, as in pycloudlib."""
        return self.boot_timeout / SECONDS_PER_MINUTE

    @ready_timeout.setter
    def ready_timeout(self, minutes: float) -> None:
        self.boot_timeout = check_timeout(minutes, "minutes") * SECONDS_PER_MINUTE

    @property
    def timeline(self) -> Timeline:
        """The times at which the latest boot reached each stage."""
        return self._boots.recorder.timeline

    @property
    def termination_protection(self) -> bool:
        """Whether termination protection is on (DescribeInstanceAttribute, ModifyInstanceAttribute).

        Raises:
            InstanceStateError: it was set for a deleted instance.
            CloudError: EC2 rejected the request.
        """
        with translated():
            answer = self._context.client.describe_instance_attribute(
                InstanceId=self.id, Attribute="disableApiTermination"
            )
        return bool(answer.get("DisableApiTermination", {}).get("Value", False))

    @termination_protection.setter
    def termination_protection(self, protected: bool) -> None:
        self._refuse_if_deleted("protected")
        if not isinstance(protected, bool):
            raise InvalidArgumentError(f"termination_protection is {protected!r}; it must be True or False")
        call_until_consistent(
            partial(
                self._context.client.modify_instance_attribute,
                InstanceId=self.id,
                DisableApiTermination={"Value": protected},
            ),
            what=f"protect {self.id}" if protected else f"unprotect {self.id}",
            patience=NOT_YET_VISIBLE if self._status.may_be_invisible else 0.0,
        )

    def wait(
        self,
        timeout: float | None = None,
        *,
        ready_timeout: float | None = None,
        cloud_init_failure: CloudInitFailure | None = None,
    ) -> None:
        """Wait until the instance is ready: it runs, has an address, accepts logins, and cloud-init is done.

        The wait fails early if the instance is stopped or terminated, its kernel panics, or it rejects the key for
        longer than cloud-init takes.

        Args:
            timeout: seconds; default `boot_timeout`.
            ready_timeout: the timeout in minutes, as in pycloudlib; default `timeout`.
            cloud_init_failure: "raise" or "warn": whether an error of cloud-init raises, or is logged as a warning;
                default `cloud_init_failure` of the instance.

        Raises:
            BootError: the instance cannot become ready.
            CloudInitError: cloud-init failed; the message has its error.
            BootTimeoutError: the instance was not ready in time; the message has its last state and the end of the
                console log.
            InvalidArgumentError: both timeouts are given, or `cloud_init_failure` is invalid.
        """
        if ready_timeout is not None:
            if timeout is not None:
                raise InvalidArgumentError("wait() takes timeout (seconds) or ready_timeout (minutes), not both")
            timeout = check_timeout(ready_timeout, "minutes") * SECONDS_PER_MINUTE
        self._wait_for_boot(self._criteria(timeout, cloud_init_failure))

    def wait_by(self, deadline: Deadline, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Wait until the instance is ready, as `wait()` does, with a deadline shared with other instances.

        Args:
            deadline: when to give up.
            cloud_init_failure: as for `wait()`.
        """
        self._wait_for_boot(self._criteria_by(deadline, cloud_init_failure))

    def wait_for_restart(
        self,
        old_boot_id: str,
        timeout: float | None = None,
        *,
        cloud_init_failure: CloudInitFailure | None = None,
    ) -> None:
        """Wait until the instance has rebooted and is ready.

        Args:
            old_boot_id: the result of `get_boot_id()` before the reboot.
            timeout: seconds; default `boot_timeout`.
            cloud_init_failure: as for `wait()`.

        Raises:
            BootError: the instance cannot become ready.
            CloudInitError: cloud-init failed; the message has its error.
            BootTimeoutError: the instance was not ready in time; the message has its last state and the end of the
                console log.
            HostKeyError: another host answers at the instance's address.
            InvalidArgumentError: `old_boot_id` is not a boot id.
        """
        self._boots.expect_another_than(checked_boot_id(old_boot_id))
        if self.timeline.ready is not None:
            # The reboot was not requested by this library, but for example by a command in the guest.
            self._boots.restart_timeline()
        self._wait_for_boot(self._criteria(timeout, cloud_init_failure))

    def _wait_for_execute(self, old_boot_id: str | None = None, timeout: float | None = None) -> None:
        """Wait until commands can run, without waiting for cloud-init. Suites written for pycloudlib call this.

        Args:
            old_boot_id: the boot id that must have changed; default none.
            timeout: minutes; default `ready_timeout`.
        """
        seconds = None if timeout is None else check_timeout(timeout, "minutes") * SECONDS_PER_MINUTE
        if old_boot_id is not None:
            self._boots.expect_another_than(checked_boot_id(old_boot_id))
        self._wait_for_boot(replace(self._criteria(seconds), until_login=True))

    def wait_for_stop(self) -> None:
        """Wait until the instance is stopped.

        Raises:
            InstanceStateError: the instance was terminated instead.
            PycloudlibTimeoutError: the instance was not stopped within `stop_timeout`.
        """
        self.wait_for_stop_by(Deadline.after(self.stop_timeout))

    def wait_for_stop_by(self, deadline: Deadline) -> None:
        """Wait until the instance is stopped, as `wait_for_stop()` does, by a deadline.

        Args:
            deadline: when to give up.
        """
        began = SYSTEM_CLOCK.now()
        self._status.wait_for_stop(deadline)
        self._progress.report_state("is stopped", SYSTEM_CLOCK.now() - began)

    def wait_for_delete(self) -> None:
        """Wait until the instance is terminated, or EC2 no longer describes it.

        Raises:
            PycloudlibTimeoutError: the instance was not terminated within `delete_timeout`.
        """
        self._wait_for_end(Deadline.after(self.delete_timeout))

    def _wait_for_end(self, deadline: Deadline) -> None:
        began = SYSTEM_CLOCK.now()
        self._status.wait_for_end(deadline)
        self._progress.report_state("is terminated", SYSTEM_CLOCK.now() - began)
        self._gone = True
        self._context.on_deleted(self.id)

    def get_boot_id(self) -> str:
        """Return the guest's boot id, which changes with every boot.

        Raises:
            SSHError: the guest is not reachable.
        """
        found = self._boots.seen_boot_id = boot_id(self.execute)
        return found

    def console_log(self, timeout: float = CONSOLE_TIMEOUT) -> str:
        """Return the console output (GetConsoleOutput).

        Args:
            timeout: seconds to wait for the first output, which may take minutes on AWS; default 300. With 0, and after
                `delete()`, the output is requested once.

        Raises:
            InstanceError: there is no output yet.
            InstanceTimeoutError: there was no output within the timeout.
            NoResponseError: EC2 did not respond to the single request of `timeout=0`.
        """
        if self._status.deletion_requested:
            timeout = 0.0
        deadline = Deadline.after(timeout)
        if deadline.has_passed:
            text = self._console.read(deadline.at_least(CONSOLE_RESPONSE))
            if not text:
                raise InstanceError(
                    f"{self.id} has no console log yet; console_log(timeout=...) waits for it",
                    instance_id=self.id,
                    state=str(self._status.seen.state),
                    instance=self,
                )
            return text
        try:
            return self._console.wait_for_output(deadline)
        except PycloudlibTimeoutError as error:
            raise InstanceTimeoutError(
                f"{self.id} has no console log yet: {error}; console_log(timeout=...) waits for it longer",
                what=error.what,
                seconds=error.seconds,
                last_seen=error.last_seen,
                instance_id=self.id,
                state=str(self._status.seen.state),
                instance=self,
            ) from error

    def restart(self, wait: bool = True, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Reboot the instance (RebootInstances).

        Args:
            wait: whether to wait until the instance is ready again, with a new boot id; default yes.
            cloud_init_failure: as for `wait()`.

        Raises:
            InstanceStateError: the instance is not running.
            SSHAuthenticationError: the instance rejected the key; `wait=False` does not log in first.
            HostKeyError: the host key has changed.
            InstanceError: as for `wait()`.
        """
        criteria = self._criteria(None, cloud_init_failure)
        self._expect_state("restarted", {InstanceState.RUNNING}, criteria.deadline)
        if wait:
            self.note_boot_id(criteria.deadline)
        self._request_restart(criteria.deadline)
        if wait:
            self._wait_for_boot(criteria)

    def request_restart(self, deadline: Deadline) -> None:
        """Reboot the instance, as `restart(wait=False)` does, by a deadline.

        Args:
            deadline: when to give up.
        """
        self._expect_state("restarted", {InstanceState.RUNNING}, deadline)
        self._request_restart(deadline)

    def _request_restart(self, deadline: Deadline) -> None:
        self._note_console(deadline)
        self._tell("restarted", "reboot_instances", deadline)

    def note_boot_id(self, deadline: Deadline) -> None:
        """Read and record the boot id before a reboot; if the instance is not reachable, keep the last one seen.

        Args:
            deadline: when to stop waiting for the guest, at most 10 s from now.

        Raises:
            SSHAuthenticationError: the instance rejected the key.
            HostKeyError: the host key has changed.
            InstanceStateError: the instance was deleted, or has no address.
        """
        try:
            self._boots.seen_boot_id = boot_id(self.execute, timeout=min(BOOT_ID_TIMEOUT, deadline.remaining))
        except (SSHConnectionError, CommandTimeoutError) as error:
            logger.warning("rebooting %s, which is unreachable: %s", self.id, error)

    def prepare_boot(self, deadline: Deadline) -> None:
        """Record the end of the console log before a fleet's start or reboot.

        Args:
            deadline: when to stop waiting for EC2.
        """
        self._refuse_if_deleted("booted")
        self._note_console(deadline)

    def note_change(self, *, started: bool = False) -> None:
        """Record a stop, start, or reboot request to EC2, for this instance alone or for a fleet.

        Args:
            started: whether it was a start request; default no.
        """
        self._status.expect_change()
        self._ssh.close()
        self._boots.note_request(started=started)

    def shutdown(self, wait: bool = True) -> None:
        """Stop the instance (StopInstances). No-op if it is stopped.

        Args:
            wait: whether to wait until the instance is stopped; default yes.

        Raises:
            InstanceStateError: the instance is terminated, or its state does not allow a stop.
            PycloudlibTimeoutError: the instance was not stopped within `stop_timeout`.
        """
        self.shutdown_by(Deadline.after(self.stop_timeout), wait=wait)

    def shutdown_by(self, deadline: Deadline, *, wait: bool = True) -> None:
        """Stop the instance, as `shutdown()` does, by a deadline.

        Args:
            deadline: when to give up.
            wait: whether to wait until the instance is stopped; default yes.
        """
        stoppable = set(InstanceState) - {InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED}
        self._expect_state("stopped", stoppable, deadline)
        self._tell("stopped", "stop_instances", deadline)
        if wait:
            self.wait_for_stop_by(deadline)

    def start(self, wait: bool = True, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Start the stopped instance (StartInstances), which then gets a new public address.

        Args:
            wait: whether to wait until the instance is ready; default yes.
            cloud_init_failure: as for `wait()`.

        Raises:
            InstanceStateError: the instance is terminated, or still stopping.
            InstanceError: as for `wait()`.
        """
        deadline = self._criteria(None, cloud_init_failure).deadline
        self.request_start(deadline)
        if wait:
            self.wait_by(deadline, cloud_init_failure=cloud_init_failure)

    def request_start(self, deadline: Deadline) -> None:
        """Start the stopped instance, as `start(wait=False)` does, by a deadline.

        Args:
            deadline: when to give up.
        """
        startable = {InstanceState.STOPPED, InstanceState.RUNNING, InstanceState.PENDING}
        self._expect_state("started", startable, deadline)
        self._note_console(deadline)
        self._tell("started", "start_instances", deadline)

    def replace_root_volume(
        self,
        image_id: str | None = None,
        snapshot_id: str | None = None,
        wait: bool = True,
        *,
        timeout: float | None = None,
        cloud_init_failure: CloudInitFailure | None = None,
    ) -> None:
        """Replace the root volume, and boot from the new one (CreateReplaceRootVolumeTask).

        The instance becomes pristine without a launch. It keeps its id, its addresses, and its other volumes. It boots
        as for the first time, with new host keys. EC2 deletes the replaced volume. The login user remains `username`.

        Args:
            image_id: the AMI to boot from, with the architecture of the instance; default none.
            snapshot_id: the snapshot to boot from, taken from a root volume of this instance; default none. Without
                either, the volume returns to its launch state.
            wait: whether to wait until the instance is ready again; default yes. The new volume gets the tags of the
                replaced one only if true.
            timeout: seconds; default `boot_timeout`.
            cloud_init_failure: as for `wait()`.

        Raises:
            InvalidArgumentError: `image_id` and `snapshot_id` are both given, or one is not an id.
            InstanceStateError: the instance is not running, or a replacement is in progress.
            IllegalStateError: EC2 failed to replace the volume.
            CloudError: EC2 rejected the request, for example for another architecture or a snapshot of another volume.
            PycloudlibTimeoutError: the volume was not replaced, or the instance not ready, in time; a NoResponseError
                if EC2 did not respond.
            InstanceError: as for `wait()`.
        """
        source = checked_source(image_id, snapshot_id)
        criteria = self._criteria(timeout, cloud_init_failure)
        deadline = criteria.deadline
        self._expect_state("given another root volume", {InstanceState.RUNNING}, deadline)
        device_name = str(self._record(deadline).get("RootDeviceName", ""))
        replaced = self._root_volume_tasks.root_volume(self.id, device_name, deadline) if wait else None
        if wait:
            self.note_boot_id(deadline)
        self._note_console(deadline)
        task_id = self._begin_root_replacement(source, deadline)
        if replaced is None:
            return
        self._root_volume_tasks.wait_until_succeeded(task_id, deadline)
        replacement = self._root_volume_tasks.root_volume(self.id, device_name, deadline)
        self._root_volume_tasks.tag(replacement.id, replaced.tags, deadline)
        self._wait_for_boot(criteria)

    def clean_by(self, deadline: Deadline) -> None:
        """Remove the state that distinguishes the instance from others, as `BaseInstance.clean()` does, by a deadline.

        Args:
            deadline: when to give up.
        """
        super().clean_by(deadline)
        self._boots.expect_first_boot()

    def delete(self, wait: bool = True) -> list[Exception]:
        """Terminate the instance (TerminateInstances). No-op if it is deleted.

        Return within `delete_timeout`, even if EC2 does not respond.

        Args:
            wait: whether to wait until the instance is terminated; default yes.

        Returns:
            The errors; empty on success. They include a NoResponseError if EC2 did not respond in time.
        """
        return self.delete_by(Deadline.after(self.delete_timeout), wait=wait)

    def delete_by(self, deadline: Deadline, *, wait: bool = True) -> list[Exception]:
        """Terminate the instance, as `delete()` does, by a deadline.

        Args:
            deadline: when to give up.
            wait: whether to wait until the instance is terminated; default yes.

        Returns:
            The errors; empty on success.
        """
        if self._gone:
            logger.info("%s is deleted already", self.id)
            return []
        errors: list[Exception] = []
        try:
            self._terminate(deadline)
            errors += self._release_addresses(self._leaving_addresses, deadline)
            if wait:
                self._wait_for_end(deadline)
        except PycloudlibError as error:
            errors.append(error)
        return errors

    def explain(self, error: PycloudlibError) -> None:
        """Add the instance's id, last state, and end of the console log to an error that ended its launch.

        Args:
            error: the error; details that it has are kept.
        """
        error.instance = self
        if error.instance_id:
            return
        error.instance_id = self.id
        error.state = str(self._status.seen.state)
        error.console_tail = self._console.read_tail()

    def prepare_deletion(self, deadline: Deadline) -> None:
        """Record the elastic addresses to release with the instance, before TerminateInstances.

        Args:
            deadline: when to stop waiting for EC2.
        """
        self._leaving_addresses = self._addresses_to_release(deadline)

    def note_deletion(self) -> None:
        """Record a TerminateInstances request, for this instance alone or for a fleet."""
        self._status.note_deletion()
        self._ssh.close()

    # Deleting

    def _terminate(self, deadline: Deadline) -> None:
        if self._status.deletion_requested:
            logger.info("%s is being deleted already", self.id)
            return
        self.prepare_deletion(deadline)
        try:
            call_until_consistent(
                partial(self._context.client.terminate_instances, InstanceIds=[self.id]),
                what=f"terminate {self.id}",
                deadline=deadline,
                patience=NOT_YET_VISIBLE if self._status.may_be_invisible else 0.0,
            )
        except InstanceNotFoundError:
            logger.info("EC2 no longer lists %s", self.id)
        except IllegalStateError as error:
            if error.code != PROTECTED_CODE:
                raise
            raise self._state_error(
                "it cannot be deleted: it has termination protection; set termination_protection = False first"
            ) from error
        self.note_deletion()

    # States

    def _expect_state(self, verb: str, allowed: Collection[InstanceState], deadline: Deadline) -> None:
        self._refuse_if_deleted(verb)
        state = self.state_by(deadline)
        if state not in allowed:
            raise self._state_error(f"it cannot be {verb}: it is {state}")

    def _tell(
        self,
        verb: str,
        operation: Literal["reboot_instances", "start_instances", "stop_instances"],
        deadline: Deadline,
    ) -> None:
        # Another thread may have deleted the instance since the state check.
        self._refuse_if_deleted(verb)
        call: Callable[..., Any] = getattr(self._context.client, operation)
        try:
            responded(
                partial(call, InstanceIds=[self.id]),
                what=f"{operation.removesuffix('_instances')} {self.id}",
                deadline=deadline,
            )
        except IllegalStateError as error:
            raise self._state_error(f"it cannot be {verb}: {error}") from error
        self.note_change(started=operation == "start_instances")

    def _begin_root_replacement(self, source: Mapping[str, str], deadline: Deadline) -> str:
        try:
            task_id = self._root_volume_tasks.create(self.id, source, deadline)
        except IllegalStateError as error:
            raise self._state_error(f"it cannot be given another root volume: {error}") from error
        self.note_change()
        self._boots.expect_first_boot()
        return task_id

    # Booting

    def _note_console(self, deadline: Deadline) -> None:
        self._boots.note_console(self._console.read_if_possible(deadline))

    def _criteria(self, timeout: float | None, cloud_init_failure: CloudInitFailure | None = None) -> BootCriteria:
        return self._criteria_by(Deadline.after(self.boot_timeout if timeout is None else timeout), cloud_init_failure)

    def _criteria_by(self, deadline: Deadline, cloud_init_failure: CloudInitFailure | None) -> BootCriteria:
        on_failure = checked_cloud_init_failure(cloud_init_failure, self.cloud_init_failure)
        return BootCriteria(deadline, self.auth_patience, fail_on_cloud_init_error=on_failure == "raise")

    def _wait_for_boot(self, criteria: BootCriteria) -> None:
        self._refuse_if_deleted("waited for")
        poller = self._context.poller
        target = BootTarget(self._status, self._console, self._ssh, self._login, poller, self._boots.recorder)
        awaited = self._boots.expected
        try:
            with poller.watching(self.id):
                found = Boot(target, awaited, criteria).wait()
        except InstanceError as error:
            error.instance = self
            raise
        self._report_shared_host_key()
        self._boots.note_ready(awaited, found or None)

    def _report_shared_host_key(self) -> None:
        key = self._ssh.host_keys.accepted
        other = self._context.key_owners.note(key, self.id) if key else None
        if other:
            logger.warning(
                "%s and %s have the same host key, %s: the image %s contains host keys, so its users can "
                "impersonate both; remove /etc/ssh/ssh_host_* before creating an image",
                self.id,
                other,
                key,
                self.image_id,
            )

    def _connected(self, deadline: Deadline | None = None) -> Connection:
        self._refuse_if_deleted("reached")
        if self._status.seen.state is not InstanceState.RUNNING:
            self._status.refresh(deadline)
        if self._status.seen.state not in (InstanceState.RUNNING, InstanceState.PENDING):
            raise self._state_error(f"it cannot be reached: it is {self._status.seen}")
        if self._ssh.host_keys.mode == "console" and not self._ssh.host_keys.known_kinds:
            self._learn_host_keys(deadline or Deadline.never())
        address = self._status.seen.address
        if address is None:
            raise self._state_error("it has no address")
        return self._ssh.to(self._login.at(address))

    def _learn_host_keys(self, deadline: Deadline) -> None:
        text = self._console.read_if_possible(deadline)
        if deadline.has_passed:
            raise timed_out(f"the console log of {self.id}", deadline)
        self._ssh.host_keys.learn(keys_from_console(text))
