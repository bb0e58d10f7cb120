from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.ec2.instances import boot
from pycloudlib.ec2.instances.boot import Boot, Bootable, Expectation
from pycloudlib.ec2.instances.poller import InstanceDescription, InstanceState
from pycloudlib.errors import (
    BootError,
    BootTimeoutError,
    CloudInitError,
    HostKeyError,
    KeyPairError,
    PermissionDeniedError,
    PycloudlibError,
)
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.target import Target
from pycloudlib.waiting import wait_until
from support.guest import Guest
from support.sshd import make_key

RUNNING = InstanceDescription("i-1", InstanceState.RUNNING, public_ip="127.0.0.1")
PENDING = InstanceDescription("i-1", InstanceState.PENDING)
STOPPED = InstanceDescription("i-1", InstanceState.STOPPED, state_reason="Client.InstanceInitiatedShutdown")
TERMINATED = InstanceDescription("i-1", InstanceState.TERMINATED, state_reason="Server.InternalError")

HANGS = "exec sleep 600"

ENOUGH = 10.0
"""Seconds in which also a busy machine comes as far as it can. Such a test waits that long, and sleeps."""


class Booting:
    """An instance that boots, as a test wants it to: EC2's side is said here, the guest's side is a real sshd."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.descriptions: list[InstanceDescription | None] = [RUNNING]
        self.console = ""
        self.console_looks = 0
        self.refusal: PycloudlibError | None = None
        self.stages: list[str] = []
        self.host_keys = HostKeys()
        self.target = Target(
            guest.sshd.host, guest.sshd.username, guest.sshd.private_key_path, port=guest.sshd.port, connect_timeout=5
        )
        self.auth_patience = 60.0
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def wait(self, timeout: float = 60.0, **expected: object) -> None:
        subject = Bootable(
            instance_id="i-1",
            instance=self,
            host_keys=self.host_keys,
            auth_patience=self.auth_patience,
            look=self.look,
            console=self.look_at_console,
            connect=self.connect,
            disconnect=self.disconnect,
            reached=self.stages.append,
            count_watched=lambda: 1,
        )
        Boot(subject, replace(Expectation(timeout), **expected)).wait()  # type: ignore[arg-type]

    def look_at_console(self) -> str:
        self.console_looks += 1
        return self.console

    def look(self, _: float) -> InstanceDescription | None:
        if self.refusal:
            raise self.refusal
        return self.descriptions.pop(0) if len(self.descriptions) > 1 else self.descriptions[0]

    def connect(self) -> Connection:
        with self._lock:
            if self._connection is None:
                self._connection = Connection(self.target, self.host_keys)
            connection = self._connection
        connection.open()
        return connection

    def disconnect(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection:
            connection.close()


@pytest.fixture
def booting(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Booting]:
    for name in ("STATE_INTERVAL", "WATCH_INTERVAL", "CONSOLE_INTERVAL"):
        monkeypatch.setattr(boot, name, 0.02)
    monkeypatch.setattr(boot, "CONSOLE_CALLS_PER_SECOND", 1000)
    # So that what has to fail at once fails a test when it only fails after a while.
    monkeypatch.setattr(boot, "STILL_STOPPED_GRACE", 1000)
    booting = Booting(guest)
    yield booting
    booting.disconnect()


def when_cloud_init_is_asked(booting: Booting, act: Callable[[], None]) -> threading.Thread:
    """Let something happen while the boot waits for cloud-init."""
    asked = booting.guest.programs / "asked"
    booting.guest.program("cloud-init", f"touch {asked}; {HANGS}")

    def watch() -> None:
        wait_until(asked.exists, what="cloud-init to be asked", timeout=60, interval=0.01)
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
    assert threading.active_count() <= before


def test_running_without_an_address_is_not_enough(booting: Booting) -> None:
    booting.descriptions = [InstanceDescription("i-1", InstanceState.RUNNING)]
    with pytest.raises(BootTimeoutError, match="waiting for EC2 to call it running"):
        booting.wait(timeout=0.1)


def test_an_sshd_that_comes_later_is_waited_for(booting: Booting) -> None:
    booting.guest.sshd.stop()
    restarting = threading.Thread(target=booting.guest.sshd.start)
    restarting.start()
    booting.wait()
    restarting.join()


def test_a_login_that_is_lost_while_cloud_init_runs_is_made_again(booting: Booting) -> None:
    def reboot() -> None:
        booting.guest.program("cloud-init", "exit 0")
        booting.guest.sshd.drop_connections()

    act = when_cloud_init_is_asked(booting, reboot)
    booting.wait()
    act.join()


def test_a_cloud_init_status_that_was_killed_is_asked_for_again(booting: Booting) -> None:
    once = booting.guest.programs / "once"
    booting.guest.program("cloud-init", f"[ ! -e {once} ] || exit 0; touch {once}; kill -TERM $$")
    booting.wait()


@pytest.mark.parametrize("description", [TERMINATED, STOPPED])
def test_an_instance_that_ended_before_it_ran_fails_at_once(booting: Booting, description) -> None:
    booting.descriptions = [PENDING, description]
    booting.console = "last words\r\n"
    with pytest.raises(BootError, match=description.state_reason) as caught:
        booting.wait()
    assert (caught.value.state, caught.value.console_tail) == (description.state.value, "last words")
    assert caught.value.instance is booting


@pytest.mark.parametrize("description", [TERMINATED, STOPPED])
def test_an_instance_that_powers_off_while_it_is_waited_for_fails_at_once(booting: Booting, description) -> None:
    def power_off() -> None:
        booting.descriptions = [description]

    act = when_cloud_init_is_asked(booting, power_off)
    with pytest.raises(BootError, match=r"i-1 will never be ready: it is (stopped|terminated)"):
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
    assert len(tail) == boot.CONSOLE_TAIL_LINES
    assert tail[-1].endswith("VFS")


def test_a_panic_of_an_earlier_boot_is_no_matter(booting: Booting) -> None:
    booting.console = boot.KERNEL_PANIC

    def let_it_end() -> None:
        wait_until(lambda: booting.console_looks > 1, what="looks at the console", timeout=60, interval=0.01)
        booting.guest.program("cloud-init", "exit 0")
        booting.guest.sshd.drop_connections()

    act = when_cloud_init_is_asked(booting, let_it_end)
    booting.wait(panics_before=1)
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
        wait_until(lambda: "reachable" in booting.stages, what="a refusal", timeout=60, interval=0.01)
        booting.guest.sshd.authorized_keys_path.write_text(key)

    installing = threading.Thread(target=install)
    installing.start()
    booting.wait()
    installing.join()
    assert booting.stages.index("reachable") < booting.stages.index("logged_in")


def test_a_key_that_stays_refused_ends_the_boot(booting: Booting) -> None:
    booting.guest.sshd.authorized_keys_path.write_text("")
    booting.auth_patience = 0.1
    with pytest.raises(BootError, match=r"refused the key for 0\.1 s") as caught:
        booting.wait()
    assert booting.target.username in str(caught.value)


def test_a_private_key_that_cannot_be_used_ends_the_boot_at_once(booting: Booting, tmp_path) -> None:
    protected = make_key(tmp_path / "protected", "ed25519", passphrase="secret")
    booting.target = replace(booting.target, private_key_path=protected)
    with pytest.raises(KeyPairError, match="passphrase"):
        booting.wait()


def test_a_cloud_init_error_is_told_in_its_own_words(booting: Booting) -> None:
    booting.guest.program("cloud-init", 'echo "status: error"; echo "detail: no such module"; exit 1')
    booting.console = "the last line\r\n"
    with pytest.raises(CloudInitError, match="no such module") as caught:
        booting.wait()
    assert caught.value.instance is booting
    assert (caught.value.instance_id, caught.value.state) == ("i-1", "running")
    assert caught.value.console_tail == "the last line"


def test_a_cloud_init_error_can_be_ignored(booting: Booting, caplog: pytest.LogCaptureFixture) -> None:
    booting.guest.program("cloud-init", "echo broken; exit 1")
    booting.wait(fail_on_cloud_init_error=False)
    assert "broken" in caplog.text


def test_recoverable_errors_are_logged(booting: Booting, caplog: pytest.LogCaptureFixture) -> None:
    booting.guest.program("cloud-init", "echo deprecated; exit 2")
    with caplog.at_level(logging.WARNING):
        booting.wait()
    assert "deprecated" in caplog.text


def test_a_guest_without_cloud_init_is_ready_when_systemd_is(booting: Booting) -> None:
    booting.guest.program("cloud-init", "exit 127")
    booting.guest.program("systemctl", "echo degraded; exit 1")
    booting.wait()


def test_a_time_out_says_how_far_it_came(booting: Booting) -> None:
    booting.guest.program("cloud-init", HANGS)
    booting.console = "still booting"
    booting.connect()
    with pytest.raises(BootTimeoutError, match="waiting for cloud-init to be done") as caught:
        booting.wait(timeout=ENOUGH)
    assert "still booting" in str(caught.value)
    assert caught.value.seconds == ENOUGH


def test_a_restart_is_over_when_the_boot_id_has_changed(booting: Booting) -> None:
    again = booting.guest.programs / "again"
    booting.guest.program("cat", f"[ -e {again} ] && echo boot-2 || echo boot-1; touch {again}")
    booting.wait(old_boot_id="boot-1")
    assert booting.stages[-1] == "ready"
    assert again.exists()


def test_a_restart_that_never_happens_times_out(booting: Booting) -> None:
    booting.connect()
    with pytest.raises(BootTimeoutError, match="still the boot before"):
        booting.wait(timeout=ENOUGH, old_boot_id="boot-1")


def test_an_instance_just_started_may_still_be_called_stopped(booting: Booting) -> None:
    booting.descriptions = [STOPPED, PENDING, RUNNING]
    booting.wait(was_stopped=True)


def test_an_instance_that_stops_again_fails_at_once(booting: Booting) -> None:
    booting.descriptions = [STOPPED, PENDING, STOPPED]
    with pytest.raises(BootError, match="it is stopped"):
        booting.wait(was_stopped=True)


def test_host_keys_made_anew_by_a_first_boot_are_accepted(booting: Booting) -> None:
    def make_anew() -> None:
        booting.guest.program("cloud-init", "exit 0")
        booting.guest.sshd.restart(new_host_keys=True)

    act = when_cloud_init_is_asked(booting, make_anew)
    booting.wait()
    act.join()


def test_another_host_after_a_restart_is_refused(booting: Booting) -> None:
    booting.wait()
    booting.disconnect()
    booting.guest.sshd.restart(new_host_keys=True)
    with pytest.raises(HostKeyError):
        booting.wait(keeps_host_keys=True)


def test_in_console_mode_the_console_must_show_the_hosts_key(booting: Booting) -> None:
    booting.host_keys = HostKeys("console")
    key = booting.guest.sshd.host_key
    booting.console = f"-----BEGIN SSH HOST KEY KEYS-----\r\n{key}\r\n-----END SSH HOST KEY KEYS-----\r\n"
    booting.wait()


def test_in_console_mode_a_host_whose_key_is_not_shown_is_never_logged_in_to(booting: Booting) -> None:
    booting.host_keys = HostKeys("console")
    with pytest.raises(BootTimeoutError, match="console"):
        booting.wait(timeout=ENOUGH)
    assert "logged_in" not in booting.stages


def shown(key: str) -> str:
    return f"-----BEGIN SSH HOST KEY KEYS-----\r\n{key}\r\n-----END SSH HOST KEY KEYS-----\r\n"


def test_a_host_that_is_none_of_the_console_that_was_seen_is_not_ready(booting: Booting, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
    booting.guest.program("cloud-init", HANGS)
    booting.console = shown(other)
    with pytest.raises(BootTimeoutError, match=r"did not print on its console: .*SHA256.* is not among .*SHA256"):
        booting.wait(timeout=ENOUGH)


def test_a_first_boot_that_shows_its_new_keys_on_the_console_is_held_to_them(booting: Booting) -> None:
    def make_anew() -> None:
        booting.guest.program("cloud-init", "exit 0")
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
        wait_until(lambda: booting.console_looks > 1, what="looks at the console", timeout=60, interval=0.01)
        booting.guest.program("cloud-init", "exit 0")
        booting.guest.sshd.restart()

    act = when_cloud_init_is_asked(booting, let_it_end)
    booting.wait(key_blocks_before=1)
    act.join()
