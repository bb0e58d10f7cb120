"""Wait until an instance is ready, and detect a failed boot within seconds."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

from pycloudlib.deadline import SYSTEM_CLOCK, Deadline
from pycloudlib.ec2.instances.boot_host_keys import BootHostKeys
from pycloudlib.ec2.instances.boot_timeline import TimelineRecorder
from pycloudlib.ec2.instances.boot_watch import BootWatch, InterruptibleClock
from pycloudlib.ec2.instances.console import ConsoleMark, read_console_tail
from pycloudlib.ec2.instances.login_attempts import LoginAttempts
from pycloudlib.ec2.instances.poller import InstanceDescription, InstanceState
from pycloudlib.errors import (
    BootError,
    BootTimeoutError,
    CloudInitError,
    CommandTimeoutError,
    HostKeyError,
    InstanceStateError,
    LoginShellError,
    PycloudlibError,
    PycloudlibTimeoutError,
    SSHAuthenticationError,
    SSHError,
)
from pycloudlib.guest.boot import boot_id
from pycloudlib.guest.cloud_init import CloudInitVerdict, wait_for_cloud_init
from pycloudlib.guest.framing import Run
from pycloudlib.result import Result
from pycloudlib.ssh import command as ssh_command
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from pycloudlib.ssh.connection import Connection

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

STILL_STOPPED_GRACE = 15.0
"""Seconds after StartInstances for which EC2 may still report the instance as stopped."""


def unknown_to_ec2() -> str:
    """Return the reported state of an instance that EC2 does not find."""
    return "unknown to EC2"


@dataclass(frozen=True)
class BootTarget:
    """The instance of a boot.

    Args:
        instance_id: the instance id.
        instance: the instance object, for errors.
        username: the login user.
        host_keys: the accepted host keys.
        auth_patience: seconds for which the instance may reject the key.
        look: returns EC2's description of at most this age in seconds; None if there is no news.
        console: returns the console log; empty if there is none, or EC2 does not return it by a deadline.
        connect: logs in; a no-op while the connection is alive.
        disconnect: closes the connection.
        timeline: records the reached stages.
        count_watched: returns the number of concurrently awaited instances, including this one.
        why_unseen: returns the reason why `look` returned None; default: EC2 does not find the instance.
    """

    instance_id: str
    instance: object
    username: str
    host_keys: HostKeys
    auth_patience: float
    look: Callable[[float], InstanceDescription | None]
    console: Callable[[Deadline], str]
    connect: Callable[[], Connection]
    disconnect: Callable[[], None]
    timeline: TimelineRecorder
    count_watched: Callable[[], int]
    why_unseen: Callable[[], str] = unknown_to_ec2


@dataclass(frozen=True)
class BootCriteria:
    """The criteria for the end of a boot.

    Args:
        deadline: when to give up.
        old_boot_id: the boot id of the previous boot; default none, for a first boot or an unknown boot id.
        console_before: the end of the console log of earlier boots; default: there were none.
        was_stopped: whether the instance was just started, so that EC2 may still report it as stopped; default no.
        keeps_host_keys: whether the host should keep its keys; default no, as a first boot generates new ones.
        fail_on_cloud_init_error: whether to raise after a cloud-init error, rather than log a warning; default yes.
        until_login: whether to stop waiting once commands run, regardless of cloud-init; default no.
    """

    deadline: Deadline
    old_boot_id: str | None = None
    console_before: ConsoleMark = field(default_factory=ConsoleMark)
    was_stopped: bool = False
    keeps_host_keys: bool = False
    fail_on_cloud_init_error: bool = True
    until_login: bool = False


class Boot:
    """A wait for one boot.

    Args:
        target: the booting instance.
        criteria: the criteria for the end of the boot.
    """

    def __init__(self, target: BootTarget, criteria: BootCriteria) -> None:
        self._target = target
        self._criteria = criteria
        self._started = SYSTEM_CLOCK.now()
        self._stage = "EC2 to give it an address"
        self._last_seen = ""
        self._state = ""
        self._has_run = not criteria.was_stopped
        self._attempts = LoginAttempts(
            target.username, auth_patience=target.auth_patience, count_hosts=target.count_watched
        )
        self._host_keys = BootHostKeys(
            target.host_keys,
            console=partial(target.console, criteria.deadline),
            before=criteria.console_before,
            keeps_host_keys=criteria.keeps_host_keys,
        )
        self._watch = BootWatch(
            f"watch-{target.instance_id}",
            self._check_instance,
            interval=WATCH_INTERVAL,
            on_error=self._lose,
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
                self._stage = "EC2 to call it running"
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
            description = self._look(math.inf)
            if not is_wanted(description):
                description = self._look(max_age)
            self._last_seen = str(description or self._target.why_unseen())
            return is_wanted(description)

        wait_until(check, what=self._stage, deadline=self._criteria.deadline, interval=STATE_INTERVAL)
        self._note_running()

    def _is_connectable(self, description: InstanceDescription | None) -> bool:
        """Return whether to connect, also before EC2 reports "running", since sshd is often reachable earlier."""
        if description is not None and description.state is InstanceState.PENDING:
            # Its private address may belong to another host in this network.
            return description.public_ip is not None and self._target.count_watched() <= CONNECTED_WHILE_PENDING
        return _is_running(description)

    def _note_running(self) -> None:
        if self._state == InstanceState.RUNNING.value:
            self._target.timeline.reach("running")

    def _look(self, max_age: float = STATE_INTERVAL) -> InstanceDescription | None:
        description = self._target.look(max_age)
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
        watched = self._target.count_watched()
        self._look(max(WATCH_INTERVAL, watched / WATCHED_PER_SECOND))
        now = SYSTEM_CLOCK.now()
        if self._state != InstanceState.RUNNING.value or now - self._console_seen < max(
            CONSOLE_INTERVAL, watched / CONSOLE_CALLS_PER_SECOND
        ):
            return
        self._console_seen = now
        text = self._target.console(self._criteria.deadline)
        if KERNEL_PANIC in self._criteria.console_before.since(text):
            self._give_up("its kernel panicked")
        if self._host_keys.compare(text):
            self._watch.while_entered(self._target.disconnect)

    def _lose(self, error: PycloudlibError) -> None:
        self._failure = error
        self._is_lost.set()
        self._target.disconnect()

    # The guest

    def _ended_boot(self) -> _EndedBoot | None:
        if self._failure:
            raise self._failure
        self._note_running()
        try:
            connection = self._target.connect()
            self._contact("logged_in")
            self._attempts.log_in()
            return self._ask_guest(connection)
        except HostKeyError as error:
            self._on_host_key_refused(error)
        except InstanceStateError as error:
            self._last_seen = str(error)
            self._look()
        except CommandTimeoutError:
            # Keep the last progress, which is more informative.
            if self._criteria.deadline.has_passed:
                # Other threads may use the connection.
                return None
        except SSHError as error:
            self._on_attempt_failed(error)
        self._target.disconnect()
        return None

    def _ask_guest(self, connection: Connection) -> _EndedBoot | None:
        """Check that this is the new boot, and wait in the guest until cloud-init finishes."""
        run = self._runner(connection)
        old_boot_id = self._criteria.old_boot_id
        seen_boot_id = boot_id(run) if old_boot_id is not None or self._criteria.until_login else ""
        if old_boot_id is not None and seen_boot_id == old_boot_id:
            self._target.timeline.drop_contacts()
            self._last_seen = "still the boot before"
            self._attempts.fail()
            return None
        self._target.timeline.confirm_contacts()
        if self._criteria.until_login:
            return _EndedBoot(seen_boot_id)
        self._stage = "cloud-init to end"
        self._note_progress("the guest has not reported on cloud-init yet")
        outcome = wait_for_cloud_init(run, deadline=self._criteria.deadline, on_progress=self._note_progress)
        self._attempts.succeed()
        if outcome.verdict is CloudInitVerdict.INTERRUPTED:
            self._note_progress(f"the wait for cloud-init was interrupted: {outcome.text or 'the guest went away'}")
            self._target.disconnect()
            return None
        if outcome.verdict is CloudInitVerdict.ERROR:
            self._report_cloud_init_error(outcome.text)
        if outcome.verdict is CloudInitVerdict.RECOVERABLE:
            logger.warning("%s: cloud-init ended with recoverable errors: %s", self._target.instance_id, outcome.text)
        return _EndedBoot(outcome.boot_id)

    def _runner(self, connection: Connection) -> Run:
        def run(
            command: str,
            *,
            description: str | None = None,
            timeout: float | None = None,
            on_output: Callable[[str, bytes], None] | None = None,
        ) -> Result:
            deadline = self._criteria.deadline if timeout is None else self._criteria.deadline.at_most(timeout)
            return ssh_command.run(connection, command, description=description, deadline=deadline, on_output=on_output)

        return run

    def _contact(self, stage: str) -> None:
        """Record a contact with sshd. After a restart, it may be the previous boot's."""
        timeline = self._target.timeline
        # sshd may respond before EC2 reports "running".
        timeline.reach("running")
        timeline.contact("reachable")
        timeline.contact(stage)
        if self._criteria.old_boot_id is None:
            timeline.confirm_contacts()

    def _note_progress(self, line: str) -> None:
        self._last_seen = line
        logger.debug("%s: %s", self._target.instance_id, line)

    def _report_cloud_init_error(self, text: str) -> None:
        message = f"{self._target.instance_id}: cloud-init ended in error: {text}"
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
        elif self._criteria.old_boot_id is not None:
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
        raise self._error(BootError, f"{self._target.instance_id} will never be ready: {why}") from cause

    def _timed_out(self) -> BootTimeoutError:
        what = f"{self._target.instance_id} to be ready"
        seconds = self._criteria.deadline.seconds
        seen = f"; last seen: {self._last_seen}" if self._last_seen else ""
        message = f"waited {seconds:g} s for {what}; it came as far as waiting for {self._stage}{seen}"
        make = partial(BootTimeoutError, what=what, seconds=seconds, last_seen=self._last_seen)
        return self._error(make, message)

    def _error(self, make: Callable[..., E], message: str) -> E:
        return make(
            message,
            instance_id=self._target.instance_id,
            state=self._state,
            console_tail=read_console_tail(self._target.console),
            instance=self._target.instance,
        )


@dataclass(frozen=True)
class _EndedBoot:
    """The boot in which cloud-init finished."""

    boot_id: str


def _is_running(description: InstanceDescription | None) -> bool:
    return description is not None and description.state is InstanceState.RUNNING and description.address is not None
