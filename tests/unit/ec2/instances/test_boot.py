from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import pytest

from pycloudlib.deadline import SYSTEM_CLOCK, Deadline
from pycloudlib.ec2.instances import boot, boot_host_keys, login_attempts
from pycloudlib.ec2.instances.boot import Boot, BootCriteria, BootTarget
from pycloudlib.ec2.instances.boot_history import ExpectedBoot
from pycloudlib.ec2.instances.boot_timeline import TimelineRecorder
from pycloudlib.ec2.instances.console import TAIL_LINES, Console, ConsoleMark
from pycloudlib.ec2.instances.description import InstanceDescription, InstanceState
from pycloudlib.ec2.instances.status import Status
from pycloudlib.errors import (
    BootError,
    BootTimeoutError,
    CloudInitError,
    HostKeyError,
    KeyPairError,
    PermissionDeniedError,
    PycloudlibError,
    UnsetSSHKeyError,
)
from pycloudlib.key import KeyPair
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.login import Login, SharedConnection
from pycloudlib.ssh.target import Target
from pycloudlib.waiting import wait_until
from support.guest import CLOUD_INIT_DONE, Guest, boot_id_number
from support.sshd import Sshd, make_key

RUNNING = InstanceDescription("i-1", InstanceState.RUNNING, public_ip="127.0.0.1")
PENDING = InstanceDescription("i-1", InstanceState.PENDING)
STOPPED = InstanceDescription("i-1", InstanceState.STOPPED, state_reason="Client.InstanceInitiatedShutdown")
TERMINATED = InstanceDescription("i-1", InstanceState.TERMINATED, state_reason="Server.InternalError")

HANGS = "exec sleep 600"

PATIENCE = (0.5, 2.0, 8.0, 32.0)
"""Seconds until a boot that stands still times out: on a busy machine it takes more of them to come so far."""


class Booting:
    """An instance that boots, as a test wants it to: EC2's side is said here, the guest's side is a real sshd.

    It stands in for the poller and the console of the boot.
    """

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.descriptions: list[InstanceDescription | None] = [RUNNING]
        self.console = ""
        self.console_looks = 0
        self.before = ConsoleMark()
        self.refusal: PycloudlibError | None = None
        self.timeline = TimelineRecorder(lambda *_: None)
        self.login = Login("i-1", guest.sshd.username, guest.key_pair, guest.sshd.port, 5.0, 15.0)
        self.auth_patience = 60.0
        self.connection = SharedConnection(HostKeys())
        self.status = Status(PENDING, self, launched=False)  # type: ignore[arg-type]

    @property
    def host_keys(self) -> HostKeys:
        return self.connection.host_keys

    @property
    def stages(self) -> list[str]:
        """The stages that it has reached, in their order."""
        timeline = self.timeline.timeline
        reached = [(getattr(timeline, stage), stage) for stage in ("running", "reachable", "logged_in", "ready")]
        return [stage for _, stage in sorted(((m, s) for m, s in reached if m is not None), key=itemgetter(0))]

    def log_in_to(self, sshd: Sshd, private_key_path: Path | None = None) -> None:
        key = private_key_path or sshd.private_key_path
        self.login = replace(self.login, port=sshd.port, key_pair=KeyPair(key.with_suffix(".pub"), key))

    def wait(
        self,
        timeout: float = 60.0,
        *,
        deadline: Deadline | None = None,
        fail_on_cloud_init_error: bool = True,
        **expected: object,
    ) -> str:
        target = BootTarget(
            status=self.status,
            console=self,  # type: ignore[arg-type]
            connection=self.connection,
            login=self.login,
            poller=self,  # type: ignore[arg-type]
            timeline=self.timeline,
        )
        deadline = deadline or Deadline.after(timeout)
        criteria = BootCriteria(deadline, self.auth_patience, fail_on_cloud_init_error=fail_on_cloud_init_error)
        return Boot(target, ExpectedBoot(**expected), criteria).wait()  # type: ignore[arg-type]

    # The console

    def read_if_possible(self, deadline: Deadline) -> str:
        return self.look_at_console(deadline)

    def read_tail(self) -> str:
        return Console.read_tail(self)  # type: ignore[arg-type]

    def look_at_console(self, _: Deadline) -> str:
        self.console_looks += 1
        return self.console

    # The poller

    def describe(self, _: str, *, max_age: float, deadline: Deadline | None) -> InstanceDescription | None:
        return self.poll(max_age)

    def poll(self, _: float) -> InstanceDescription | None:
        if self.refusal:
            raise self.refusal
        return self.descriptions.pop(0) if len(self.descriptions) > 1 else self.descriptions[0]

    def count_watched(self) -> int:
        return 1

    def forget(self, _: str) -> None:
        pass

    # The guest

    def connect(self) -> Connection:
        connection = self.connection.to(self.login.at("127.0.0.1"))
        connection.open()
        return connection

    def disconnect(self) -> None:
        self.connection.close()


@pytest.fixture
def booting(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Booting]:
    for name in ("STATE_INTERVAL", "WATCH_INTERVAL", "CONSOLE_INTERVAL"):
        monkeypatch.setattr(boot, name, 0.02)
    monkeypatch.setattr(boot, "CONSOLE_CALLS_PER_SECOND", 1000)
    monkeypatch.setattr(boot_host_keys, "CONSOLE_INTERVAL", 0.02)
    for pace in ("UNVERIFIED", "REFUSED"):
        monkeypatch.setattr(login_attempts, pace, login_attempts.UNREACHABLE)
    # So that what has to fail at once fails a test when it only fails after a while.
    monkeypatch.setattr(boot, "STILL_STOPPED_GRACE", 1000)
    booting = Booting(guest)
    yield booting
    booting.disconnect()


@pytest.fixture
def plain(booting: Booting, tmp_path: Path) -> Iterator[Booting]:
    """The same with an sshd that leaves it to the key whether a command is forced."""
    with Guest(tmp_path / "plain", forces_programs=False) as guest:
        booting.guest = guest
        booting.log_in_to(guest.sshd)
        yield booting


def timed_out(booting: Booting, message: str) -> BootTimeoutError:
    """Let a boot time out where it stands still; the error says so."""
    for seconds in PATIENCE:
        with pytest.raises(BootTimeoutError) as caught:
            booting.wait(timeout=seconds)
        assert caught.value.seconds == seconds
        if re.search(message, str(caught.value)):
            return caught.value
    raise caught.value


def when_cloud_init_is_asked(booting: Booting, act: Callable[[], None]) -> threading.Thread:
    """Let something happen while the boot waits for cloud-init."""
    asked = booting.guest.programs / "asked"
    booting.guest.program("cloud-init", f"touch {asked}; {HANGS}")

    def watch() -> None:
        wait_until(asked.exists, what="cloud-init to be asked", deadline=Deadline.after(60), interval=0.01)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_boot_ends_when_cloud_init_is_done(booting: Booting) -> None:
    booting.descriptions = [None, PENDING, RUNNING]
    booting.wait()
    assert booting.stages == ["running", "reachable", "logged_in", "ready"]


def test_nothing_of_a_boot_is_left_running(booting: Booting) -> None:
    before = threading.active_count()
    booting.wait()
    booting.disconnect()
    # The watch is not joined, for it may be inside a slow call.
    wait_until(lambda: threading.active_count() <= before, what="its threads to end", deadline=Deadline.after(60))


def test_a_boot_does_not_wait_for_a_call_of_its_watch(booting: Booting, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()
    answered: list[str] = []

    def stalled(_: Deadline) -> str:
        asked.set()
        answer.wait(60)
        answered.append("too late")
        return ""

    def end() -> None:
        asked.wait(60)
        booting.guest.program("cloud-init", CLOUD_INIT_DONE)
        booting.guest.sshd.drop_connections()

    monkeypatch.setattr(booting, "look_at_console", stalled)
    act = when_cloud_init_is_asked(booting, end)
    booting.wait()
    assert (booting.stages[-1], answered) == ("ready", [])
    answer.set()
    act.join()


def test_running_without_an_address_is_not_enough(booting: Booting) -> None:
    booting.descriptions = [InstanceDescription("i-1", InstanceState.RUNNING)]
    with pytest.raises(BootTimeoutError, match="waiting for EC2 to assign an address"):
        booting.wait(timeout=0.1)


def test_an_sshd_that_comes_later_is_waited_for(booting: Booting) -> None:
    booting.guest.sshd.stop()
    restarting = threading.Thread(target=booting.guest.sshd.start)
    restarting.start()
    booting.wait()
    restarting.join()


def test_a_login_that_is_lost_while_cloud_init_runs_is_made_again(booting: Booting) -> None:
    def reboot() -> None:
        booting.guest.program("cloud-init", CLOUD_INIT_DONE)
        booting.guest.sshd.drop_connections()

    act = when_cloud_init_is_asked(booting, reboot)
    booting.wait()
    act.join()


def test_killed_cloud_init_status_is_retried(booting: Booting) -> None:
    once = booting.guest.programs / "once"
    booting.guest.program(
        "cloud-init", f"[ ! -e {once} ] || {{ {CLOUD_INIT_DONE}; exit; }}; touch {once}; kill -TERM $$"
    )
    booting.wait()


@pytest.mark.parametrize("description", [TERMINATED, STOPPED])
def test_an_instance_that_ended_before_it_ran_fails_at_once(booting: Booting, description) -> None:
    booting.descriptions = [PENDING, description]
    booting.console = "last words\r\n"
    with pytest.raises(BootError, match=description.state_reason) as caught:
        booting.wait()
    assert (caught.value.state, caught.value.console_tail) == (description.state.value, "last words")


@pytest.mark.parametrize("description", [TERMINATED, STOPPED])
def test_an_instance_that_powers_off_while_it_is_waited_for_fails_at_once(booting: Booting, description) -> None:
    def power_off() -> None:
        booting.descriptions = [description]

    act = when_cloud_init_is_asked(booting, power_off)
    with pytest.raises(BootError, match=r"i-1 cannot become ready: it is (stopped|terminated)"):
        booting.wait()
    act.join()


def test_a_kernel_panic_fails_at_once_with_the_end_of_the_console(booting: Booting) -> None:
    def panic() -> None:
        booting.console = "\n".join([*map(str, range(100)), f"[1.0] {boot.KERNEL_PANIC}: VFS"])

    act = when_cloud_init_is_asked(booting, panic)
    with pytest.raises(BootError, match="its kernel panicked") as caught:
        booting.wait()
    act.join()
    tail = caught.value.console_tail.splitlines()
    assert len(tail) == TAIL_LINES
    assert tail[-1].endswith("VFS")


def test_a_panic_of_an_earlier_boot_is_no_matter(booting: Booting) -> None:
    booting.console = boot.KERNEL_PANIC

    def let_it_end() -> None:
        wait_until(
            lambda: booting.console_looks > 1, what="looks at the console", deadline=Deadline.after(60), interval=0.01
        )
        booting.guest.program("cloud-init", CLOUD_INIT_DONE)
        booting.guest.sshd.drop_connections()

    act = when_cloud_init_is_asked(booting, let_it_end)
    booting.wait(console_before=ConsoleMark(boot.KERNEL_PANIC))
    act.join()


def test_a_refusal_of_ec2_while_the_guest_boots_is_the_error(booting: Booting) -> None:
    def refuse() -> None:
        booting.refusal = PermissionDeniedError("no more")

    act = when_cloud_init_is_asked(booting, refuse)
    with pytest.raises(PermissionDeniedError, match="no more"):
        booting.wait()
    act.join()


def test_a_refused_key_is_borne_until_cloud_init_installs_it(booting: Booting) -> None:
    key = booting.guest.sshd.authorized_keys_path.read_text()
    booting.guest.sshd.authorized_keys_path.write_text("")

    def install() -> None:
        wait_until(lambda: "reachable" in booting.stages, what="a refusal", deadline=Deadline.after(60), interval=0.01)
        booting.guest.sshd.authorized_keys_path.write_text(key)

    installing = threading.Thread(target=install)
    installing.start()
    booting.wait()
    installing.join()
    assert booting.stages.index("reachable") < booting.stages.index("logged_in")


def test_a_key_that_stays_refused_ends_the_boot(booting: Booting) -> None:
    booting.guest.sshd.authorized_keys_path.write_text("")
    booting.auth_patience = 0.1
    with pytest.raises(BootError, match=r"it rejected the key of the user .* for 0\.1 s") as caught:
        booting.wait()
    assert booting.login.username in str(caught.value)


def forced(booting: Booting, command: str) -> None:
    """Let the key run a command of sshd's choice, as authorized_keys may demand."""
    path = booting.guest.sshd.authorized_keys_path
    options = f'no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="{command}"'
    path.write_text(f"{options} {booting.guest.sshd.private_key_path.with_suffix('.pub').read_text()}")


def test_a_redirected_login_ends_the_boot_at_once(plain: Booting) -> None:
    """The command is that of cloud-init's disable_root_opts, with a longer sleep: nobody waits for its end."""
    forced(
        plain,
        'echo \'Please login as the user \\"admin\\" rather than the user \\"root\\".\';echo;sleep 600;exit 142',
    )
    with pytest.raises(BootError, match=r"logins as '\w+' are disabled; log in as 'admin' instead") as caught:
        plain.wait()
    assert repr(plain.login.username) in str(caught.value)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo This account is currently not available.; exit 1", "This account is currently not available."),
        ("exit 1", "printed nothing"),
        ("echo Password change required but no TTY available. >&2; exit 1", "Password change required"),
    ],
)
def test_an_account_that_runs_no_commands_ends_the_boot_within_seconds(
    plain: Booting, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.setattr(login_attempts, "HOPELESS_PATIENCE", 0.1)
    forced(plain, command)
    with pytest.raises(BootError, match=r"the user .* cannot run commands: .*") as caught:
        plain.wait()
    assert said in str(caught.value)
    assert repr(plain.login.username) in str(caught.value)


def test_an_account_that_is_closed_until_the_system_has_booted_is_waited_for(
    plain: Booting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_attempts, "HOPELESS_PATIENCE", 0.0)
    key = plain.guest.sshd.authorized_keys_path.read_text()
    tried = plain.guest.programs / "tried"
    forced(plain, f"echo >>{tried}; echo System is booting up. See pam_nologin; exit 254")

    def open_account() -> None:
        wait_until(
            lambda: tried.exists() and len(tried.read_text()) > 1,
            what="two logins",
            deadline=Deadline.after(60),
            interval=0.01,
        )
        plain.guest.sshd.authorized_keys_path.write_text(key)

    opening = threading.Thread(target=open_account)
    opening.start()
    plain.wait()
    opening.join()


def test_an_sshd_without_a_common_algorithm_ends_the_boot_within_seconds(
    booting: Booting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_attempts, "HOPELESS_PATIENCE", 0.1)
    options = ["KexAlgorithms sntrup761x25519-sha512@openssh.com"]
    with Sshd(tmp_path / "modern", options=options) as sshd:
        booting.log_in_to(sshd)
        with pytest.raises(BootError, match=r"the user .* cannot log in: .*kex algorithm"):
            booting.wait()


def test_a_private_key_that_cannot_be_used_ends_the_boot_at_once(booting: Booting, tmp_path) -> None:
    protected = make_key(tmp_path / "protected", "ed25519", passphrase="secret")
    booting.log_in_to(booting.guest.sshd, protected)
    with pytest.raises(KeyPairError, match="passphrase"):
        booting.wait()


def test_cloud_init_error_is_quoted(booting: Booting) -> None:
    booting.guest.program("cloud-init", 'echo "status: error"; echo "detail: no such module"; exit 1')
    booting.console = "the last line\r\n"
    with pytest.raises(CloudInitError, match="no such module") as caught:
        booting.wait()
    assert (caught.value.instance_id, caught.value.state) == ("i-1", "running")
    assert caught.value.console_tail == "the last line"


def test_a_cloud_init_error_can_be_ignored(booting: Booting, caplog: pytest.LogCaptureFixture) -> None:
    booting.guest.program("cloud-init", 'echo "status: error"; echo broken; exit 1')
    booting.wait(fail_on_cloud_init_error=False)
    assert "broken" in caplog.text


def test_recoverable_errors_are_logged(booting: Booting, caplog: pytest.LogCaptureFixture) -> None:
    booting.guest.program("cloud-init", 'echo "status: done"; echo deprecated; exit 2')
    with caplog.at_level(logging.WARNING):
        booting.wait()
    assert "deprecated" in caplog.text


def test_a_guest_without_cloud_init_is_ready_when_systemd_is(booting: Booting) -> None:
    booting.guest.program("cloud-init", "exit 127")
    booting.guest.program("systemctl", "echo degraded; exit 1")
    booting.wait()


def test_timeout_reports_the_last_stage(booting: Booting) -> None:
    booting.guest.program("cloud-init", HANGS)
    booting.console = "still booting"
    booting.connect()
    error = timed_out(booting, "waiting for cloud-init to end; last seen: cloud-init is still running\n")
    assert "still booting" in str(error)


def test_a_time_out_disturbs_no_command_of_others(booting: Booting, tmp_path: Path) -> None:
    booting.guest.program("cloud-init", HANGS)
    go_on = tmp_path / "go-on"
    connection = booting.connect()
    begun = threading.Event()
    with ThreadPoolExecutor(1) as other:
        result = other.submit(
            run,
            connection,
            ["sh", "-c", 'echo begun; until [ -e "$0" ]; do sleep 0.05; done; exit 3', str(go_on)],
            on_output=lambda *_: begun.set(),
        )
        begun.wait()
        timed_out(booting, "waiting for cloud-init to end")
        go_on.touch()
        assert result.result(60).return_code == 3


def test_timeout_reports_a_silent_guest(booting: Booting) -> None:
    # As one whose start-up files ask a question.
    booting.guest.start_up("exec sleep 600")
    booting.connect()
    timed_out(booting, "last seen: the guest has not reported cloud-init's status yet")


def test_a_restart_is_over_when_the_boot_id_has_changed(booting: Booting) -> None:
    again = booting.guest.programs / "again"
    booting.guest.program(
        "cat", f"[ -e {again} ] && echo {boot_id_number(2)} || echo {boot_id_number(1)}; touch {again}"
    )
    booting.wait(old_boot_id=boot_id_number(1))
    assert booting.stages[-1] == "ready"
    assert again.exists()


class ExpiringClock:
    """The real time, until a test lets a day pass at once."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return SYSTEM_CLOCK.now() + self.passed

    def sleep(self, seconds: float) -> None:
        SYSTEM_CLOCK.sleep(seconds)

    def expire(self) -> None:
        self.passed = 86_400.0


def test_a_restart_that_never_happens_times_out(booting: Booting) -> None:
    clock = ExpiringClock()
    old = boot_id_number(1)
    asked = booting.guest.programs / "asked"
    booting.guest.program("cat", f"echo {old}; echo >>{asked}")

    def expire() -> None:
        wait_until(
            lambda: asked.exists() and len(asked.read_text()) > 2,
            what="the boot id to be read three times",
            deadline=Deadline.after(60),
            interval=0.01,
        )
        clock.expire()

    expiring = threading.Thread(target=expire)
    expiring.start()
    with pytest.raises(BootTimeoutError, match=r"waited 600 s .*; last seen: still the previous boot"):
        booting.wait(deadline=Deadline.after(600, clock), old_boot_id=old)
    expiring.join()


def test_the_timeline_after_a_restart_leaves_out_the_sshd_of_the_boot_before(booting: Booting) -> None:
    booted = booting.guest.programs / "booted"
    asked = booting.guest.programs / "asked"
    booting.guest.program(
        "cat", f"[ -e {booted} ] && id={boot_id_number(2)} || id={boot_id_number(1)}; touch {asked}; echo $id"
    )
    rebooted_after: list[float] = []

    def reboot() -> None:
        wait_until(asked.exists, what="the boot id to be read", deadline=Deadline.after(60), interval=0.01)
        marks = TimelineRecorder(lambda *_: None)
        marks._requested_at = booting.timeline._requested_at
        marks.reach("running")
        rebooted_after.append(marks.timeline.running or 0.0)
        booted.touch()

    rebooting = threading.Thread(target=reboot)
    rebooting.start()
    booting.wait(old_boot_id=boot_id_number(1))
    rebooting.join()
    assert booting.timeline.timeline.reachable is not None
    assert booting.timeline.timeline.reachable >= rebooted_after[0]


def test_a_login_shell_that_prints_changes_no_verdict(booting: Booting) -> None:
    booting.guest.print_at_login("status: done")
    booting.guest.program("cloud-init", "echo 'status: error'; echo 'no such module'; exit 1")
    with pytest.raises(CloudInitError, match="no such module"):
        booting.wait()
    booting.guest.program("cloud-init", CLOUD_INIT_DONE)
    assert booting.wait(old_boot_id=boot_id_number(2)) == boot_id_number(1)


def test_the_boot_id_of_the_boot_is_returned(booting: Booting) -> None:
    assert booting.wait() == boot_id_number(1)


def test_an_instance_just_started_may_still_be_called_stopped(booting: Booting) -> None:
    booting.descriptions = [STOPPED, PENDING, RUNNING]
    booting.wait(was_stopped=True)


def test_an_instance_that_stops_again_fails_at_once(booting: Booting) -> None:
    booting.descriptions = [STOPPED, PENDING, STOPPED]
    with pytest.raises(BootError, match="it is stopped"):
        booting.wait(was_stopped=True)


def test_host_keys_made_anew_by_a_first_boot_are_accepted(booting: Booting) -> None:
    def make_anew() -> None:
        booting.guest.program("cloud-init", CLOUD_INIT_DONE)
        booting.guest.sshd.restart(new_host_keys=True)

    act = when_cloud_init_is_asked(booting, make_anew)
    booting.wait()
    act.join()


@pytest.fixture
def rebooted(booting: Booting) -> Booting:
    """An instance that has another host key than before."""
    booting.wait()
    booting.disconnect()
    booting.console = shown(booting.guest.sshd.host_key)
    booting.before = ConsoleMark.at_end_of(booting.console)
    booting.guest.sshd.restart(new_host_keys=True)
    return booting


def test_a_changed_host_key_is_refused_when_the_console_never_shows_it(
    rebooted: Booting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_host_keys, "HOST_KEY_PATIENCE", 0.1)
    with pytest.raises(HostKeyError, match="another host key than before"):
        rebooted.wait(keeps_host_keys=True, console_before=rebooted.before)


def test_a_changed_host_key_is_refused_when_cloud_init_ended_without_showing_any(rebooted: Booting) -> None:
    rebooted.console += "Cloud-init v. 22.4.2 finished at Sun, 29 Nov 2026 03:41:32 +0000. Datasource Ec2\r\n"
    with pytest.raises(HostKeyError, match="another host key than before"):
        rebooted.wait(keeps_host_keys=True, console_before=rebooted.before)


def test_a_changed_host_key_is_refused_when_the_console_shows_others(rebooted: Booting, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
    rebooted.console += shown(other)
    with pytest.raises(HostKeyError, match="is not on its console"):
        rebooted.wait(keeps_host_keys=True, console_before=rebooted.before)


def test_a_changed_host_key_is_accepted_once_the_console_of_this_boot_shows_it(rebooted: Booting) -> None:
    looks = rebooted.console_looks

    def show() -> None:
        wait_until(
            lambda: rebooted.console_looks > looks + 1,
            what="looks at the console",
            deadline=Deadline.after(60),
            interval=0.01,
        )
        rebooted.console += shown(rebooted.guest.sshd.host_key)

    showing = threading.Thread(target=show)
    showing.start()
    rebooted.wait(keeps_host_keys=True, console_before=rebooted.before)
    showing.join()
    assert rebooted.host_keys.accepted is not None
    assert rebooted.host_keys.accepted.kind in rebooted.guest.sshd.host_key
    # The new key is the pinned one now.
    rebooted.disconnect()
    rebooted.connect()


def test_after_a_refused_host_key_another_wait_may_succeed(rebooted: Booting) -> None:
    before = rebooted.console
    rebooted.console += "Cloud-init v. 22.4.2 finished at Sun, 29 Nov 2026 03:41:32 +0000. Datasource Ec2\r\n"
    with pytest.raises(HostKeyError):
        rebooted.wait(keeps_host_keys=True, console_before=rebooted.before)
    rebooted.console = before + shown(rebooted.guest.sshd.host_key)
    rebooted.wait(keeps_host_keys=True, console_before=rebooted.before)


def test_in_console_mode_the_console_must_show_the_hosts_key(booting: Booting) -> None:
    booting.connection = SharedConnection(HostKeys("console"))
    key = booting.guest.sshd.host_key
    booting.console = f"-----BEGIN SSH HOST KEY KEYS-----\r\n{key}\r\n-----END SSH HOST KEY KEYS-----\r\n"
    booting.wait()


def test_in_console_mode_a_host_whose_key_is_not_shown_is_never_logged_in_to(booting: Booting) -> None:
    booting.connection = SharedConnection(HostKeys("console"))
    timed_out(booting, "console")
    assert "logged_in" not in booting.stages


def shown(key: str) -> str:
    return f"-----BEGIN SSH HOST KEY KEYS-----\r\n{key}\r\n-----END SSH HOST KEY KEYS-----\r\n"


def test_a_host_that_is_none_of_the_console_that_was_seen_is_not_ready(booting: Booting, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
    booting.guest.program("cloud-init", HANGS)
    booting.console = shown(other)
    timed_out(booting, r"is not on its console: .*SHA256.* is not among .*SHA256")


def test_a_first_boot_that_shows_its_new_keys_on_the_console_is_held_to_them(booting: Booting) -> None:
    def make_anew() -> None:
        booting.guest.program("cloud-init", CLOUD_INIT_DONE)
        booting.guest.sshd.restart(new_host_keys=True)
        booting.console = shown(booting.guest.sshd.host_key)

    act = when_cloud_init_is_asked(booting, make_anew)
    booting.wait()
    act.join()
    assert booting.host_keys.accepted is not None
    assert booting.host_keys.accepted.kind in booting.guest.sshd.host_key


def test_keys_that_an_earlier_boot_showed_are_no_matter(booting: Booting, tmp_path: Path) -> None:
    booting.console = shown(make_key(tmp_path / "old", "ed25519").with_suffix(".pub").read_text())

    def let_it_end() -> None:
        wait_until(
            lambda: booting.console_looks > 1, what="looks at the console", deadline=Deadline.after(60), interval=0.01
        )
        booting.guest.program("cloud-init", CLOUD_INIT_DONE)
        booting.guest.sshd.restart()

    act = when_cloud_init_is_asked(booting, let_it_end)
    booting.wait(console_before=ConsoleMark.at_end_of(booting.console))
    act.join()


def test_wait_returns_while_its_watcher_is_inside_a_slow_call(booting: Booting) -> None:
    waiter, inside, go_on = threading.current_thread(), threading.Event(), threading.Event()
    poll = booting.poll

    def slow_poll(max_age: float) -> InstanceDescription | None:
        if threading.current_thread() is not waiter:
            inside.set()
            go_on.wait()
        return poll(max_age)

    def let_it_end() -> None:
        inside.wait()
        booting.guest.program("cloud-init", CLOUD_INIT_DONE)
        booting.guest.sshd.drop_connections()

    booting.poll = slow_poll  # type: ignore[method-assign]
    act = when_cloud_init_is_asked(booting, let_it_end)
    booting.wait()
    act.join()
    connection = booting.connect()
    booting.descriptions = [TERMINATED]
    go_on.set()
    wait_until(
        lambda: not any(thread.name == "watch-i-1" for thread in threading.enumerate()),
        what="the watcher to end",
        deadline=Deadline.after(60),
    )
    # What it saw after the wait was over changed nothing.
    assert connection.is_alive
    booting.disconnect()


def test_wait_logs_in_while_ec2_still_calls_the_instance_pending(booting: Booting) -> None:
    pending = replace(PENDING, public_ip="127.0.0.1")
    booting.descriptions = [pending]
    booting.guest.program("cloud-init", f"touch {booting.guest.programs / 'asked'}; echo 'status: done'")
    poll = booting.poll

    def call_it_running_once_cloud_init_was_asked(max_age: float) -> InstanceDescription | None:
        if (booting.guest.programs / "asked").exists():
            booting.descriptions = [RUNNING]
        return poll(max_age)

    booting.poll = call_it_running_once_cloud_init_was_asked  # type: ignore[method-assign]
    booting.wait()
    assert booting.stages == ["running", "reachable", "logged_in", "ready"]


def test_wait_does_not_end_before_ec2_calls_the_instance_running(booting: Booting) -> None:
    booting.descriptions = [replace(PENDING, public_ip="127.0.0.1")]
    with pytest.raises(BootTimeoutError, match="waiting for EC2 to report it as running; last seen: pending"):
        booting.wait(timeout=5)


def test_wait_asks_ec2_anew_about_a_pending_instance_whose_commands_run(booting: Booting) -> None:
    def call_it_running_when_asked_anew(max_age: float) -> InstanceDescription | None:
        return replace(PENDING, public_ip="127.0.0.1") if max_age else RUNNING

    booting.poll = call_it_running_when_asked_anew  # type: ignore[method-assign]
    booting.wait()
    assert booting.stages == ["running", "reachable", "logged_in", "ready"]


def test_wait_connects_to_no_private_address_of_a_pending_instance(booting: Booting) -> None:
    booting.descriptions = [replace(PENDING, private_ip="127.0.0.1")]
    with pytest.raises(BootTimeoutError, match="waiting for EC2 to assign an address"):
        booting.wait(timeout=0.5)
    assert booting.stages == []


@pytest.mark.parametrize(("awaited", "usual", "patience"), [(1, 15.0, 5.0), (1001, 15.0, 55.0), (1, 1.0, 1.0)])
def test_banner_timeout_grows_with_awaited_hosts(
    booting: Booting, monkeypatch: pytest.MonkeyPatch, awaited: int, usual: float, patience: float
) -> None:
    tried: list[Target] = []

    def connect(target: Target) -> Connection:
        tried.append(target)
        raise KeyPairError("enough")

    monkeypatch.setattr(booting, "count_watched", lambda: awaited)
    monkeypatch.setattr(booting.connection, "to", connect)
    booting.login = replace(booting.login, banner_timeout=usual)
    with pytest.raises(KeyPairError, match="enough"):
        booting.wait()
    assert [target.banner_timeout for target in tried] == [patience]


def test_boot_without_a_key_pair_fails(booting: Booting) -> None:
    booting.login = replace(booting.login, key_pair=None)
    with pytest.raises(UnsetSSHKeyError, match="i-1 cannot be used without an SSH key"):
        booting.wait()


def test_deletion_in_another_thread_ends_the_boot(booting: Booting) -> None:
    def delete() -> None:
        booting.status.note_deletion()
        booting.descriptions = [TERMINATED]

    act = when_cloud_init_is_asked(booting, delete)
    with pytest.raises(BootError, match="i-1 cannot become ready: it is terminated"):
        booting.wait()
    act.join()
