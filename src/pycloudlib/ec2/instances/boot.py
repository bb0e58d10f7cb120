"""Wait until an instance is ready, and detect a failed boot within seconds."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn, TypeVar

from pycloudlib.deadline import SYSTEM_CLOCK, Deadline
from pycloudlib.ec2.instances.boot_history import ExpectedBoot
from pycloudlib.ec2.instances.boot_host_keys import BootHostKeys
from pycloudlib.ec2.instances.boot_timeline import TimelineRecorder
from pycloudlib.ec2.instances.boot_watch import BootWatch, InterruptibleClock
from pycloudlib.ec2.instances.console import Console
from pycloudlib.ec2.instances.description import InstanceDescription, InstanceState
from pycloudlib.ec2.instances.login_attempts import LoginAttempts
from pycloudlib.ec2.instances.poller import Poller
from pycloudlib.ec2.instances.status import Status
from pycloudlib.errors import (
    BootError,
    BootTimeoutError,
    CloudInitError,
    CommandTimeoutError,
    HostKeyError,
    LoginShellError,
    PycloudlibError,
    PycloudlibTimeoutError,
    SSHAuthenticationError,
    SSHError,
)
from pycloudlib.guest.boot import boot_id
from pycloudlib.guest.cloud_init import CloudInitVerdict, wait_for_cloud_init
from pycloudlib.guest.run import Run
from pycloudlib.ssh import command as ssh_command
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.login import Login, SharedConnection
from pycloudlib.ssh.target import Target
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=PycloudlibError)

KERNEL_PANIC = "Kernel panic - not syncing"

STATE_INTERVAL = 0.5
"""Seconds between two polls of a pending instance."""

WATCH_INTERVAL = 2.0
"""Seconds between two polls of a booting instance; more if many are watched."""

WATCHED_PER_SECOND = 100.0

CONSOLE_INTERVAL = 5.0
"""Seconds between two reads of the console, each its own call; more if many are watched."""

CONSOLE_CALLS_PER_SECOND = 2.0

CONNECTED_WHILE_PENDING = 16
"""The number of awaited instances up to which each is connected to while pending. Beyond it, connection attempts cost
more than one DescribeInstances call for all instances."""

BOOT_CONNECT_TIMEOUT = 3.0
"""The TCP connect timeout in seconds while an instance boots: a new attempt is faster than TCP's retransmission."""

BOOT_BANNER_TIMEOUT = 5.0
"""The SSH banner timeout in seconds while an instance boots, for the same reason."""

BANNERS_PER_SECOND = 20.0
"""The assumed rate of banners when waiting for many instances: early timeouts would delay the others further."""

STILL_STOPPED_GRACE = 15.0
"""Seconds after StartInstances for which EC2 may still report the instance as stopped."""


@dataclass(frozen=True)
class BootTarget:
    """The parts of an instance that its boot involves.

    Args:
        status: EC2's view of the instance.
        console: the console log.
        connection: the connection to sshd.
        login: the login user and the key.
        poller: polls EC2 for all awaited instances.
        timeline: records the reached stages.
    """

    status: Status
    console: Console
    connection: SharedConnection
    login: Login
    poller: Poller
    timeline: TimelineRecorder


@dataclass(frozen=True)
class BootCriteria:
    """The caller's criteria for the end of a wait.

    Args:
        deadline: when to give up.
        auth_patience: seconds for which the instance may reject the key; default 120.
        fail_on_cloud_init_error: whether to raise after a cloud-init error, rather than log a warning; default yes.
        until_login: whether to stop waiting once commands run, regardless of cloud-init; default no.
    """

    deadline: Deadline
    auth_patience: float = 120.0
    fail_on_cloud_init_error: bool = True
    until_login: bool = False


class Boot:
    """A wait for one boot.

    Args:
        target: the booting instance.
        expected: the criteria that distinguish the boot from earlier ones.
        criteria: the criteria for the end of the wait.
    """

    def __init__(self, target: BootTarget, expected: ExpectedBoot, criteria: BootCriteria) -> None:
        self._target = target
        self._expected = expected
        self._criteria = criteria
        self._id = target.status.instance_id
        self._started = SYSTEM_CLOCK.now()
        self._stage = "EC2 to assign an address"
        self._last_seen = ""
        self._state = ""
        self._has_run = not expected.was_stopped
        self._attempts = LoginAttempts(
            target.login.username, auth_patience=criteria.auth_patience, count_hosts=target.poller.count_watched
        )
        self._host_keys = BootHostKeys(
            target.connection.host_keys,
            console=partial(target.console.read_if_possible, criteria.deadline),
            before=expected.console_before,
            keeps_host_keys=expected.keeps_host_keys,
        )
        self._watch = BootWatch(
            f"watch-{self._id}",
            self._check_instance,
            interval=WATCH_INTERVAL,
            on_error=self._abort,
        )
        self._console_seen = self._started
        self._failure: PycloudlibError | None = None
        self._is_lost = threading.Event()

    def wait(self) -> str:
        """Wait until the instance is ready: running, with an address, logged in, and cloud-init finished.

        Returns:
            The boot id; empty if the guest has none.

        Raises:
            BootError: the boot failed; the message has the reason.
            CloudInitError: cloud-init finished with an error.
            BootTimeoutError: the instance was not ready in time.
            HostKeyError: another host responds at the address.
        """
        try:
            self._wait_for_state(self._is_connectable)
            self._stage = "its sshd to answer"
            # The pauses between login attempts may be long; the loss of the instance ends them.
            deadline = self._criteria.deadline
            deadline = replace(deadline, clock=InterruptibleClock(self._is_lost, deadline.clock))
            with self._watch:
                ready = wait_until(self._ended_boot, what=self._stage, deadline=deadline, interval=self._attempts.pause)
                self._stage = "EC2 to report it as running"
                # Commands already run, so an earlier "pending" is stale.
                self._wait_for_state(_is_running, max_age=0.0)
        except PycloudlibTimeoutError as error:
            raise self._timed_out() from error
        if not self._criteria.until_login:
            self._target.timeline.reach("ready")
        return ready.boot_id

    # The instance, as EC2 describes it

    def _wait_for_state(
        self, is_wanted: Callable[[InstanceDescription | None], bool], *, max_age: float = STATE_INTERVAL
    ) -> None:
        def check() -> bool:
            # A cached response of any age suffices if it has the wanted state.
            description = self._poll_state(math.inf)
            if not is_wanted(description):
                description = self._poll_state(max_age)
            self._last_seen = str(description or self._target.status.why_unseen)
            return is_wanted(description)

        wait_until(check, what=self._stage, deadline=self._criteria.deadline, interval=STATE_INTERVAL)
        self._note_running()

    def _is_connectable(self, description: InstanceDescription | None) -> bool:
        """Return whether to connect, also before EC2 reports "running", since sshd is often reachable earlier."""
        if description is not None and description.state is InstanceState.PENDING:
            # Its private address may belong to another host in this network.
            return description.public_ip is not None and self._target.poller.count_watched() <= CONNECTED_WHILE_PENDING
        return _is_running(description)

    def _note_running(self) -> None:
        if self._state == InstanceState.RUNNING.value:
            self._target.timeline.reach("running")

    def _poll_state(self, max_age: float = STATE_INTERVAL) -> InstanceDescription | None:
        description = self._target.status.poll(max_age, self._criteria.deadline)
        if description is None:
            return None
        self._state = str(description.state)
        if description.state in (InstanceState.PENDING, InstanceState.RUNNING):
            self._has_run = True
            return description
        if description.state.is_ending or self._has_run or self._elapsed() > STILL_STOPPED_GRACE:
            self._give_up(f"it is {description}")
        return description

    def _elapsed(self) -> float:
        return SYSTEM_CLOCK.now() - self._started

    def _check_instance(self) -> None:
        """Check EC2's view of the boot. Runs in the watch thread."""
        watched = self._target.poller.count_watched()
        self._poll_state(max(WATCH_INTERVAL, watched / WATCHED_PER_SECOND))
        now = SYSTEM_CLOCK.now()
        if self._state != InstanceState.RUNNING.value or now - self._console_seen < max(
            CONSOLE_INTERVAL, watched / CONSOLE_CALLS_PER_SECOND
        ):
            return
        self._console_seen = now
        text = self._target.console.read_if_possible(self._criteria.deadline)
        if KERNEL_PANIC in self._expected.console_before.since(text):
            self._give_up("its kernel panicked")
        if self._host_keys.compare(text):
            self._watch.while_entered(self._target.connection.close)

    def _abort(self, error: PycloudlibError) -> None:
        self._failure = error
        self._is_lost.set()
        self._target.connection.close()

    # The guest

    def _ended_boot(self) -> _EndedBoot | None:
        if self._failure:
            raise self._failure
        self._note_running()
        try:
            connection = self._connect()
            if connection is not None:
                self._contact("logged_in")
                self._attempts.log_in()
                return self._ask_guest(connection)
            self._poll_state()
        except HostKeyError as error:
            self._on_host_key_refused(error)
        except CommandTimeoutError:
            # Keep the last progress, which is more informative.
            if self._criteria.deadline.has_passed:
                # Other threads may use the connection.
                return None
        except SSHError as error:
            self._on_attempt_failed(error)
        self._target.connection.close()
        return None

    def _connect(self) -> Connection | None:
        """Log in at the last known address: another poll would cost an API call per attempt. None without one."""
        address = self._target.status.seen.address
        if self._target.status.deletion_requested or address is None:
            self._last_seen = "it has no address" if address is None else "it was deleted"
            return None
        connection = self._target.connection.to(
            _with_boot_timeouts(self._target.login.at(address), self._target.poller)
        )
        connection.open(self._criteria.deadline)
        return connection

    def _ask_guest(self, connection: Connection) -> _EndedBoot | None:
        """Check that this is the new boot, and wait in the guest until cloud-init finishes."""
        run: Run = partial(ssh_command.run, connection, deadline=self._criteria.deadline)
        old_boot_id = self._expected.old_boot_id
        seen_boot_id = boot_id(run) if old_boot_id is not None or self._criteria.until_login else ""
        if old_boot_id is not None and seen_boot_id == old_boot_id:
            self._target.timeline.drop_contacts()
            self._last_seen = "still the previous boot"
            self._attempts.fail()
            return None
        self._target.timeline.confirm_contacts()
        if self._criteria.until_login:
            return _EndedBoot(seen_boot_id)
        self._stage = "cloud-init to end"
        self._note_progress("the guest has not reported cloud-init's status yet")
        outcome = wait_for_cloud_init(run, deadline=self._criteria.deadline, on_progress=self._note_progress)
        self._attempts.succeed()
        if outcome.verdict is CloudInitVerdict.INTERRUPTED:
            self._note_progress(
                f"the wait for cloud-init was interrupted: {outcome.text or 'the guest is unreachable'}"
            )
            self._target.connection.close()
            return None
        if outcome.verdict is CloudInitVerdict.ERROR:
            self._report_cloud_init_error(outcome.text)
        if outcome.verdict is CloudInitVerdict.RECOVERABLE:
            logger.warning("%s: cloud-init ended with recoverable errors: %s", self._id, outcome.text)
        return _EndedBoot(outcome.boot_id)

    def _contact(self, stage: str) -> None:
        """Record a contact with sshd. After a restart, it may be the previous boot's."""
        timeline = self._target.timeline
        # sshd may respond before EC2 reports "running".
        timeline.reach("running")
        timeline.contact("reachable")
        timeline.contact(stage)
        if self._expected.old_boot_id is None:
            timeline.confirm_contacts()

    def _note_progress(self, line: str) -> None:
        self._last_seen = line
        logger.debug("%s: %s", self._id, line)

    def _report_cloud_init_error(self, text: str) -> None:
        message = f"{self._id}: cloud-init failed: {text}"
        if self._criteria.fail_on_cloud_init_error:
            raise self._error(CloudInitError, message)
        logger.warning("%s", message)

    def _on_host_key_refused(self, error: HostKeyError) -> None:
        self._contact("reachable")
        self._last_seen = str(error)
        self._attempts.fail(error)
        if self._host_keys.resolve(error):
            self._attempts.retry_at_once()

    def _on_attempt_failed(self, error: SSHError) -> None:
        if isinstance(error, (SSHAuthenticationError, LoginShellError)):
            self._contact("reachable")
        elif self._expected.old_boot_id is not None:
            # The sshd of the previous boot is gone.
            self._target.timeline.drop_contacts()
        if not (self._criteria.deadline.has_passed and self._last_seen):
            # Keep the earlier error, which is more informative than one caused by the deadline.
            self._last_seen = str(error)
        self._attempts.fail(error)
        if why := self._attempts.why_over():
            self._give_up(f"{why}: {error}" if str(error) not in why else why, error)

    # Failures

    def _give_up(self, why: str, cause: Exception | None = None) -> NoReturn:
        raise self._error(BootError, f"{self._id} cannot become ready: {why}") from cause

    def _timed_out(self) -> BootTimeoutError:
        what = f"{self._id} to be ready"
        seconds = self._criteria.deadline.seconds
        last_seen = f"; last seen: {self._last_seen}" if self._last_seen else ""
        message = f"waited {seconds:g} s for {what}; the last stage was waiting for {self._stage}{last_seen}"
        make = partial(BootTimeoutError, what=what, seconds=seconds, last_seen=self._last_seen)
        return self._error(make, message)

    def _error(self, make: Callable[..., E], message: str) -> E:
        return make(
            message,
            instance_id=self._id,
            state=self._state,
            console_tail=self._target.console.read_tail(),
        )


def _with_boot_timeouts(target: Target, poller: Poller) -> Target:
    """Return a target with the timeouts of a boot."""
    other_instances = max(0, poller.count_watched() - 1)
    return replace(
        target,
        connect_timeout=min(target.connect_timeout, BOOT_CONNECT_TIMEOUT),
        banner_timeout=min(target.banner_timeout, BOOT_BANNER_TIMEOUT) + other_instances / BANNERS_PER_SECOND,
    )


@dataclass(frozen=True)
class _EndedBoot:
    """The boot in which cloud-init finished."""

    boot_id: str


def _is_running(description: InstanceDescription | None) -> bool:
    return description is not None and description.state is InstanceState.RUNNING and description.address is not None
