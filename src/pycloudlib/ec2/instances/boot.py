"""Waiting until an instance is ready, and noticing within seconds when it never will be."""

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
"""Seconds between two looks at the state while it is pending."""

WATCH_INTERVAL = 2.0
"""Seconds between two looks at the state of an instance that boots; more when many are watched."""

WATCHED_PER_SECOND = 100.0

CONSOLE_INTERVAL = 5.0
"""Seconds between two looks at its console; more when many are watched, since each is a call of its own."""

CONSOLE_CALLS_PER_SECOND = 2.0

CONNECTED_WHILE_PENDING = 16
"""Instances awaited at the same time up to which each is connected to while it is pending. For more, attempts would
cost more than one DescribeInstances for all of them."""

STILL_STOPPED_GRACE = 15.0
"""Seconds after StartInstances in which EC2 may still call the instance stopped."""


def unknown_to_ec2() -> str:
    """Return what an instance counts as that EC2 does not know."""
    return "unknown to EC2"


@dataclass(frozen=True)
class BootTarget:
    """An instance, as far as its boot is concerned.

    Args:
        instance_id: its id.
        instance: the instance object, for errors.
        username: the login user.
        host_keys: the host keys that are accepted.
        auth_patience: seconds for which it may refuse the key.
        look: returns EC2's description, at most so many seconds old; None when there is no news.
        console: returns its console log; empty when there is none, or EC2 does not give it by a deadline.
        connect: logs in; a no-op while the login is alive.
        disconnect: ends the login.
        timeline: records the stages that it reaches.
        count_watched: returns the number of instances awaited at the same time, this one included.
        why_unseen: says why look() returned None; default: EC2 does not know the instance.
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
    """When a boot counts as over.

    Args:
        deadline: when to give up.
        old_boot_id: the boot id that must have changed; None for a first boot, or where it is not known.
        console_before: the end of the console log of earlier boots; default: there were none.
        was_stopped: whether the instance was started a moment ago, so that EC2 may still call it stopped.
        keeps_host_keys: whether it should have the host keys that it had; a first boot makes them anew.
        fail_on_cloud_init_error: whether to raise if cloud-init ended in error, rather than to log a warning.
        until_login: whether the boot counts as over as soon as commands run, whatever cloud-init does.
    """

    deadline: Deadline
    old_boot_id: str | None = None
    console_before: ConsoleMark = field(default_factory=ConsoleMark)
    was_stopped: bool = False
    keeps_host_keys: bool = False
    fail_on_cloud_init_error: bool = True
    until_login: bool = False


class Boot:
    """One wait for one boot.

    Args:
        target: the instance that boots.
        criteria: when its boot is over.
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
        """Wait until the instance is ready: running, with an address, logged in to, cloud-init ended.

        Returns:
            The boot id; empty if the guest has none.

        Raises:
            BootError: it will never be ready, and why.
            CloudInitError: cloud-init ended in error.
            BootTimeoutError: it was not ready in time.
            HostKeyError: another host answers at its address.
        """
        try:
            self._wait_for_state(self._is_connectable)
            self._stage = "its sshd to answer"
            # The pauses between attempts to log in may be long; the loss of the instance ends them.
            deadline = self._criteria.deadline
            deadline = replace(deadline, clock=InterruptibleClock(self._is_lost, deadline.clock))
            with self._watch:
                ready = wait_until(self._ended_boot, what=self._stage, deadline=deadline, interval=self._attempts.pause)
                self._stage = "EC2 to call it running"
                # Commands run by now, so an earlier "pending" is outdated.
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
            # An earlier answer is good enough, however old, if it is the wanted one.
            description = self._look(math.inf)
            if not is_wanted(description):
                description = self._look(max_age)
            self._last_seen = str(description or self._target.why_unseen())
            return is_wanted(description)

        wait_until(check, what=self._stage, deadline=self._criteria.deadline, interval=STATE_INTERVAL)
        self._note_running()

    def _is_connectable(self, description: InstanceDescription | None) -> bool:
        """Return whether connecting may succeed: before EC2 calls it running, too, for its sshd tells that sooner."""
        if description is not None and description.state is InstanceState.PENDING:
            # Its private address, seen from here, may be another host's.
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
        """Look at EC2's side of the boot; in the thread of the watch."""
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
            # The last progress tells more.
            if self._criteria.deadline.has_passed:
                # Others may use the connection.
                return None
        except SSHError as error:
            self._on_attempt_failed(error)
        self._target.disconnect()
        return None

    def _ask_guest(self, connection: Connection) -> _EndedBoot | None:
        """Ask the guest whether this is the new boot, and wait there until cloud-init has ended."""
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
        """Record a contact with the sshd. After a restart, it may be that of the boot before."""
        timeline = self._target.timeline
        # Its sshd may answer before EC2 has noticed.
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
            # The sshd of the boot before is gone.
            self._target.timeline.drop_contacts()
        if not (self._criteria.deadline.has_passed and self._last_seen):
            # What the deadline cut short tells less than what was seen before.
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
    """The boot in which cloud-init ended."""

    boot_id: str


def _is_running(description: InstanceDescription | None) -> bool:
    return description is not None and description.state is InstanceState.RUNNING and description.address is not None
