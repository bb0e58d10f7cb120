"""The boots of an instance: waits for them, their timeline, and their console log."""

from __future__ import annotations

import logging
from dataclasses import replace

from pycloudlib.deadline import Deadline, check_timeout
from pycloudlib.ec2.instances.boot import Boot, BootCriteria, BootTarget
from pycloudlib.ec2.instances.boot_history import BootHistory
from pycloudlib.ec2.instances.boot_timeline import Timeline
from pycloudlib.ec2.instances.cloud_init_failure import checked_cloud_init_failure
from pycloudlib.ec2.instances.console import Console
from pycloudlib.ec2.instances.described import DescribedInstance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.instance_progress import InstanceProgress
from pycloudlib.errors import (
    CommandTimeoutError,
    InstanceError,
    InstanceTimeoutError,
    InvalidArgumentError,
    PycloudlibError,
    PycloudlibTimeoutError,
    SSHConnectionError,
)
from pycloudlib.guest.boot import BOOT_ID_TIMEOUT, boot_id, checked_boot_id
from pycloudlib.setting_values import CloudInitFailure
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import keys_from_console
from pycloudlib.waiting import timed_out

logger = logging.getLogger(__name__)

GET_BOOT_ID_TIMEOUT = 60.0
"""Seconds until `get_boot_id()` fails: on a busy host, a command may take longer than BOOT_ID_TIMEOUT."""

CONSOLE_TIMEOUT = 300.0
"""The default timeout of `console_log()` in seconds."""

CONSOLE_RESPONSE = 30.0
"""Seconds that `console_log(timeout=0)` waits for EC2's response."""

SECONDS_PER_MINUTE = 60.0
"""The unit of pycloudlib's `ready_timeout`, which is in minutes."""


class InstanceWithBoots(DescribedInstance):
    """An instance with its boots.

    Args:
        description: EC2's description of the instance.
        context: the cloud's context.
        username: the login user.
        key_pair: the key pair for the login; None to disable logins.
        launched: whether the instance was just launched, so that EC2 may not find it yet; default no.
    """

    auth_patience: float = 120.0
    """Seconds that a booting instance may reject the key before the wait fails."""

    def _create_parts(self, context: InstanceContext, *, launched: bool) -> None:
        super()._create_parts(context, launched=launched)
        self.boot_timeout = context.boot_timeout
        self.cloud_init_failure = context.cloud_init_failure
        self._console = Console(context.client, self.id)
        self._progress = InstanceProgress(self.id, context.poller)
        self._boots = BootHistory(self._progress.report_stage, boots_first=launched)

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
        self._boots.expect_boot_after(checked_boot_id(old_boot_id))
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
            self._boots.expect_boot_after(checked_boot_id(old_boot_id))
        self._wait_for_boot(replace(self._criteria(seconds), until_login=True))

    def get_boot_id(self) -> str:
        """Return the guest's boot id, which changes with every boot.

        Raises:
            SSHError: the guest is not reachable, or does not respond within 60 s.
        """
        current = self._boots.seen_boot_id = boot_id(self.execute, timeout=GET_BOOT_ID_TIMEOUT)
        return current

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

    # Requests

    def _clean_by(self, deadline: Deadline) -> None:
        super()._clean_by(deadline)
        self._boots.expect_first_boot()

    def _prepare_boot(self, deadline: Deadline) -> None:
        """Record the end of the console log before a fleet's start or reboot.

        Args:
            deadline: when to stop waiting for EC2.
        """
        self._refuse_if_deleted("booted")
        self._note_console(deadline)

    def _note_boot_id(self, deadline: Deadline) -> None:
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

    def _note_request(self, *, started: bool = False) -> None:
        """Record a stop, start, or reboot request to EC2, for this instance alone or for a fleet.

        Args:
            started: whether it was a start request; default no.
        """
        self._status.expect_change()
        self._ssh.close()
        self._boots.note_request(started=started)

    def _note_console(self, deadline: Deadline) -> None:
        self._boots.note_console(self._console.read_if_possible(deadline))

    # Waits

    def _wait_by(self, deadline: Deadline, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Wait until the instance is ready, as `wait()` does, with a deadline shared with other instances.

        Args:
            deadline: when to give up.
            cloud_init_failure: as for `wait()`.
        """
        self._wait_for_boot(self._criteria_by(deadline, cloud_init_failure))

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
                outcome = Boot(target, awaited, criteria).wait()
        except InstanceError as error:
            error.instance = self
            raise
        self._report_shared_host_key()
        self._boots.note_ready(awaited, outcome or None)

    def _report_shared_host_key(self) -> None:
        key = self._ssh.host_keys.accepted
        other_id = self._context.key_owners.note(key, self.id) if key else None
        if other_id:
            logger.warning(
                "%s and %s have the same host key, %s: the image %s contains host keys, so its users can "
                "impersonate both; remove /etc/ssh/ssh_host_* before creating an image",
                self.id,
                other_id,
                key,
                self.image_id,
            )

    def _explain(self, error: PycloudlibError) -> None:
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

    # Logins

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
