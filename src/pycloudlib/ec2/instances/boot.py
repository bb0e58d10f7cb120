"""Waiting until an instance is ready, and noticing at once when it never will be."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from pycloudlib.ec2.instances.poller import InstanceDescription, InstanceState
from pycloudlib.errors import (
    BootError,
    BootTimeoutError,
    CloudInitError,
    HostKeyError,
    InstanceStateError,
    PycloudlibError,
    PycloudlibTimeoutError,
    SSHAuthenticationError,
    SSHError,
)
from pycloudlib.guest.boot import CloudInitVerdict, boot_id, wait_for_cloud_init
from pycloudlib.result import Result
from pycloudlib.ssh import command as ssh_command
from pycloudlib.ssh.host_keys import HostKeys, keys_from_console
from pycloudlib.waiting import SYSTEM_CLOCK, wait_until

if TYPE_CHECKING:
    from pycloudlib.ssh.connection import Connection

logger = logging.getLogger(__name__)

KERNEL_PANIC = "Kernel panic - not syncing"

CONSOLE_TAIL_LINES = 20
"""Lines of the console log shown in an error."""

STATE_INTERVAL = 0.5
"""Seconds between two looks at the state while it is pending."""

WATCH_INTERVAL = 2.0
"""Seconds between two looks at the state of an instance that boots; more when many are watched."""

WATCHED_PER_SECOND = 100.0

CONSOLE_INTERVAL = 5.0
"""Seconds between two looks at its console; more when many are watched, since each is a call of its own."""

CONSOLE_CALLS_PER_SECOND = 2.0

STILL_STOPPED_GRACE = 15.0
"""Seconds after StartInstances in which EC2 may still call the instance stopped."""


@dataclass(frozen=True)
class Timeline:
    """When an instance came how far: seconds since it was requested, None for what it has not reached.

    Args:
        requested: the moment, in UTC, of the launch or of the latest start or restart.
        running: EC2 said that it runs, and where.
        reachable: its sshd answered.
        logged_in: the key was accepted.
        ready: cloud-init was done.
    """

    requested: datetime
    running: float | None = None
    reachable: float | None = None
    logged_in: float | None = None
    ready: float | None = None


@dataclass(frozen=True)
class Bootable:
    """An instance, as far as its boot is concerned.

    Args:
        instance_id: its id.
        instance: itself, for errors.
        host_keys: who it may be.
        auth_patience: seconds for which it may refuse the key.
        look: tells what EC2 says about it, or said so many seconds ago at most; None when EC2 says nothing.
        console: tells what is on its console; empty when there is nothing, or EC2 does not give it.
        connect: logs in, or finds the login alive.
        disconnect: ends the login.
        reached: notes that it has come to a stage of its timeline.
        count_watched: tells how many instances are waited for at the same time, this one included.
    """

    instance_id: str
    instance: object
    host_keys: HostKeys
    auth_patience: float
    look: Callable[[float], InstanceDescription | None]
    console: Callable[[], str]
    connect: Callable[[], Connection]
    disconnect: Callable[[], None]
    reached: Callable[[str], None]
    count_watched: Callable[[], int]


@dataclass(frozen=True)
class Expectation:
    """What a boot is to end in.

    Args:
        timeout: seconds.
        old_boot_id: the boot id that must have changed; None for a first boot, or one after a stop.
        panics_before: kernel panics on the console from earlier boots.
        key_blocks_before: how often the console showed host keys in earlier boots.
        was_stopped: whether the instance was started a moment ago, so that EC2 may still call it stopped.
        keeps_host_keys: whether it has the host keys it had; a first boot makes them anew.
        fail_on_cloud_init_error: whether a cloud-init that ended in error is an error.
    """

    timeout: float
    old_boot_id: str | None = None
    panics_before: int = 0
    key_blocks_before: int = 0
    was_stopped: bool = False
    keeps_host_keys: bool = False
    fail_on_cloud_init_error: bool = True


class Boot:
    """One wait for one boot.

    Args:
        subject: what boots.
        expectation: what it is to end in.
    """

    def __init__(self, subject: Bootable, expectation: Expectation) -> None:
        self._subject = subject
        self._expected = expectation
        self._started = SYSTEM_CLOCK.now()
        self._stage = "EC2 to call it running"
        self._last_seen = ""
        self._state = ""
        self._has_run = not expectation.was_stopped
        self._refused_since: float | None = None
        self._host_keys_due = 0.0
        self._hopeless: PycloudlibError | None = None

    def wait(self) -> None:
        """Wait until the instance is ready: running, with an address, logged in to, cloud-init done.

        Raises:
            BootError: it will never be ready, and why.
            CloudInitError: cloud-init ended in error.
            BootTimeoutError: it was not ready in time.
        """
        try:
            self._wait_until(self._runs, interval=STATE_INTERVAL, max_interval=STATE_INTERVAL)
            self._subject.reached("running")
            self._stage = "its sshd to answer"
            with self._watched():
                self._wait_until(self._is_ready, interval=0.1, max_interval=0.5)
        except PycloudlibTimeoutError as error:
            raise self._timed_out() from error
        self._subject.reached("ready")

    def _wait_until(self, check: Callable[[], bool | None], *, interval: float, max_interval: float) -> None:
        wait_until(check, what=self._stage, timeout=self._remaining(), interval=interval, max_interval=max_interval)

    def _elapsed(self) -> float:
        return SYSTEM_CLOCK.now() - self._started

    def _remaining(self) -> float:
        return max(0.0, self._expected.timeout - self._elapsed())

    # EC2's side

    def _runs(self) -> bool:
        # When EC2 has said that it runs, in an answer to somebody else, that is good enough however long ago it was.
        description = self._look(math.inf)
        if not _is_reachable(description):
            description = self._look(STATE_INTERVAL)
        self._last_seen = str(description or "unknown to EC2")
        return _is_reachable(description)

    def _look(self, max_age: float = STATE_INTERVAL) -> InstanceDescription | None:
        description = self._subject.look(max_age)
        if description is None:
            return None
        self._state = str(description.state)
        if description.state in (InstanceState.PENDING, InstanceState.RUNNING):
            self._has_run = True
            return description
        if description.state.is_ending or self._has_run or self._elapsed() > STILL_STOPPED_GRACE:
            self._give_up(f"it is {description}")
        return description

    def _watch_due(self) -> float:
        return max(WATCH_INTERVAL, self._subject.count_watched() / WATCHED_PER_SECOND)

    def _console_due(self) -> float:
        return max(CONSOLE_INTERVAL, self._subject.count_watched() / CONSOLE_CALLS_PER_SECOND)

    def _look_at_console(self) -> None:
        text = self._subject.console()
        if text.count(KERNEL_PANIC) > self._expected.panics_before:
            self._give_up("its kernel panicked")
        self._compare_host_keys(text)

    def _compare_host_keys(self, text: str) -> None:
        """Where the console has been read anyway, and shows this boot's host keys, hold the host to them."""
        keys = self._subject.host_keys
        if keys.mode != "pinned":
            return
        keys.learn(keys_from_console(text, after=self._expected.key_blocks_before))
        if keys.is_contradicted:
            # Whoever is logged in to has to prove itself again.
            self._subject.disconnect()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Keep looking at EC2 meanwhile, and cut the login short when the instance is lost."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(_StoppableClock(over),), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _watch(self, clock: _StoppableClock) -> None:
        began = console_looked_at = clock.now()

        def is_over() -> bool:
            nonlocal console_looked_at
            if clock.is_stopped:
                return True
            if clock.now() - began < WATCH_INTERVAL / 2:
                return False  # It was looked at a moment ago.
            self._look(self._watch_due())
            if clock.now() - console_looked_at >= self._console_due():
                console_looked_at = clock.now()
                self._look_at_console()
            return False

        try:
            wait_until(is_over, what="the end of the boot", timeout=math.inf, interval=WATCH_INTERVAL, clock=clock)
        except PycloudlibError as error:
            self._hopeless = error
            self._subject.disconnect()

    # The guest's side

    def _is_ready(self) -> bool:
        if self._hopeless:
            raise self._hopeless
        try:
            connection = self._subject.connect()
            self._subject.reached("reachable")
            self._subject.reached("logged_in")
            return self._boot_is_over(connection)
        except SSHAuthenticationError as error:
            self._bear_refusal(error)
        except HostKeyError as error:
            self._get_to_know_host(error)
        except InstanceStateError as error:
            self._last_seen = str(error)
            self._look()
        except SSHError as error:
            self._last_seen = str(error)
        self._subject.disconnect()
        return False

    def _boot_is_over(self, connection: Connection) -> bool:
        def run(command: str, *, timeout: float | None = None) -> Result:
            return ssh_command.run(connection, command, timeout=timeout)

        if self._expected.old_boot_id is not None and boot_id(run) == self._expected.old_boot_id:
            self._last_seen = "still the boot before"
            return False
        self._stage = "cloud-init to be done"
        self._last_seen = "cloud-init still runs"
        outcome = wait_for_cloud_init(run, timeout=self._remaining())
        if outcome.verdict is CloudInitVerdict.INTERRUPTED:
            self._last_seen = f"cloud-init status was interrupted: {outcome.text}"
            self._subject.disconnect()
            return False
        if outcome.verdict is CloudInitVerdict.ERROR:
            self._report_cloud_init_error(outcome.text)
        if outcome.verdict is CloudInitVerdict.RECOVERABLE:
            logger.warning(
                "%s: cloud-init is done, with recoverable errors: %s", self._subject.instance_id, outcome.text
            )
        return True

    def _report_cloud_init_error(self, text: str) -> None:
        message = f"{self._subject.instance_id}: cloud-init ended in error: {text}"
        if self._expected.fail_on_cloud_init_error:
            raise CloudInitError(
                message,
                instance_id=self._subject.instance_id,
                state=self._state,
                console_tail=self._console_tail(),
                instance=self._subject.instance,
            )
        logger.warning("%s", message)

    def _bear_refusal(self, error: SSHAuthenticationError) -> None:
        """cloud-init installs the key some time after sshd answers, so a refusal means nothing for a while."""
        self._subject.reached("reachable")
        self._last_seen = str(error)
        now = SYSTEM_CLOCK.now()
        self._refused_since = self._refused_since or now
        if now - self._refused_since > self._subject.auth_patience:
            self._give_up(f"it refused the key for {self._subject.auth_patience:g} s: {error}", error)

    def _get_to_know_host(self, error: HostKeyError) -> None:
        self._subject.reached("reachable")
        self._last_seen = str(error)
        keys = self._subject.host_keys
        if keys.mode == "console":
            self._learn_host_keys()
        elif self._expected.keeps_host_keys:
            raise error
        else:
            # An sshd that starts before cloud-init has the image's host keys, and other ones afterwards. But they have
            # to be those of the console, if that was seen.
            keys.drop_pin()

    def _learn_host_keys(self) -> None:
        if SYSTEM_CLOCK.now() < self._host_keys_due:
            return
        self._host_keys_due = SYSTEM_CLOCK.now() + WATCH_INTERVAL
        self._subject.host_keys.learn(keys_from_console(self._subject.console()))

    # How it ends badly

    def _give_up(self, why: str, cause: Exception | None = None) -> NoReturn:
        raise BootError(
            f"{self._subject.instance_id} will never be ready: {why}",
            instance_id=self._subject.instance_id,
            state=self._state,
            console_tail=self._console_tail(),
            instance=self._subject.instance,
        ) from cause

    def _timed_out(self) -> BootTimeoutError:
        what = f"{self._subject.instance_id} to be ready"
        seen = f"; last seen: {self._last_seen}" if self._last_seen else ""
        return BootTimeoutError(
            f"waited {self._expected.timeout:g} s for {what}; it came as far as waiting for {self._stage}{seen}",
            what=what,
            seconds=self._expected.timeout,
            last_seen=self._last_seen,
            instance_id=self._subject.instance_id,
            state=self._state,
            console_tail=self._console_tail(),
            instance=self._subject.instance,
        )

    def _console_tail(self) -> str:
        return console_tail(self._subject.console())


def _is_reachable(description: InstanceDescription | None) -> bool:
    if description is None or description.state is not InstanceState.RUNNING:
        return False
    return bool(description.public_ip or description.private_ip)


def console_tail(text: str) -> str:
    """The end of a console log, as errors show it."""
    return "\n".join(text.replace("\r", "").rstrip().splitlines()[-CONSOLE_TAIL_LINES:])


class _StoppableClock:
    """The real time, whose pauses end when somebody says so."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def now(self) -> float:
        return SYSTEM_CLOCK.now()

    def sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)
