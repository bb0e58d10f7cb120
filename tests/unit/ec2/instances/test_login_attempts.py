from __future__ import annotations

import pytest

from pycloudlib.ec2.instances import login_attempts
from pycloudlib.ec2.instances.login_attempts import HOPELESS_PATIENCE, LoginAttempts
from pycloudlib.errors import (
    HostKeyError,
    LoginShellError,
    SSHAuthenticationError,
    SSHConnectionError,
    SSHError,
    SSHNegotiationError,
)
from support.fake_clock import FakeClock

UNREACHABLE = SSHConnectionError("Connection refused")
UNRESPONSIVE = SSHConnectionError("no banner")
UNRESPONSIVE.unresponsive = True
REFUSED = SSHAuthenticationError("refused the key")

EXPIRED = SSHConnectionError(
    "the host closed the connection: Your account has expired; please contact your administrator"
)

HOPELESS = [
    LoginShellError("exit status 1 and printed nothing"),
    LoginShellError("printed 'Password change required but no TTY available.'"),
    SSHNegotiationError("no acceptable kex algorithm"),
    EXPIRED,
]
PASSING = [
    UNREACHABLE,
    UNRESPONSIVE,
    REFUSED,
    HostKeyError("no key on the console yet"),
    SSHConnectionError('"System is booting up. Unprivileged users are not permitted to log in yet."'),
    LoginShellError("exit status 254 and printed 'System is going down.'"),
]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def attempts(clock: FakeClock, *, hosts: int = 1) -> LoginAttempts:
    return LoginAttempts("ubuntu", auth_patience=120.0, count_hosts=lambda: hosts, clock=clock)


def pauses(error: SSHError, count: int, *, hosts: int = 1) -> list[float]:
    tried = attempts(FakeClock(), hosts=hosts)
    found = []
    for _ in range(count):
        tried.fail(error)
        found.append(tried.pause())
    return found


@pytest.mark.parametrize(("error", "longest"), [(UNRESPONSIVE, 8.0), (REFUSED, 7.0)])
def test_pauses_grow_up_to_a_limit(monkeypatch: pytest.MonkeyPatch, error: SSHError, longest: float) -> None:
    monkeypatch.setattr(login_attempts, "JITTER", 0.0)
    found = pauses(error, 100)
    assert found == sorted(found)
    assert found[0] < found[-1] == longest


def test_pauses_for_an_sshd_that_does_not_listen_yet_stay_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_attempts, "JITTER", 0.0)
    assert set(pauses(UNREACHABLE, 100)) == {0.1}


@pytest.mark.parametrize("error", [REFUSED, EXPIRED])
def test_refused_logins_stay_below_the_penalties_of_sshd(error: SSHError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 1.0)
    penalty = 0.0
    for pause in pauses(error, 50):
        penalty += 5
        assert penalty < 15
        penalty = max(0.0, penalty - pause)


def test_pauses_are_spread() -> None:
    found = set(pauses(UNRESPONSIVE, 100)[20:])
    assert len(found) > 10
    assert all(8.0 * (1 - login_attempts.JITTER) <= pause <= 8.0 for pause in found)


def test_many_hosts_get_longer_pauses() -> None:
    assert min(pauses(UNREACHABLE, 100, hosts=5000)[20:]) > 3.0


def test_another_kind_of_failure_begins_with_a_short_pause(clock: FakeClock) -> None:
    tried = attempts(clock)
    for _ in range(20):
        tried.fail(UNRESPONSIVE)
    tried.fail(UNREACHABLE)
    assert tried.pause() <= 0.1


@pytest.mark.parametrize("error", HOPELESS)
def test_a_hopeless_answer_is_believed_after_some_seconds(clock: FakeClock, error: SSHError) -> None:
    tried = attempts(clock)
    tried.fail(error)
    assert tried.why_over() == ""
    clock.sleep(HOPELESS_PATIENCE)
    tried.fail(error)
    why = tried.why_over()
    assert "'ubuntu'" in why
    assert str(error) in why


def test_an_advised_user_is_believed_at_once(clock: FakeClock) -> None:
    tried = attempts(clock)
    tried.fail(LoginShellError("printed something", advised_user="admin"))
    assert tried.why_over() == "logins as 'ubuntu' are disabled; log in as 'admin' instead (username=...)"


@pytest.mark.parametrize("error", PASSING)
def test_an_answer_that_may_pass_is_not_hopeless(clock: FakeClock, error: SSHError) -> None:
    tried = attempts(clock)
    tried.fail(error)
    clock.sleep(HOPELESS_PATIENCE * 2)
    tried.fail(error)
    assert tried.why_over() == ""


def test_a_hopeless_answer_that_passes_is_forgotten(clock: FakeClock) -> None:
    tried = attempts(clock)
    tried.fail(HOPELESS[0])
    clock.sleep(HOPELESS_PATIENCE * 2)
    tried.fail(UNREACHABLE)
    tried.fail(HOPELESS[0])
    assert tried.why_over() == ""


def test_a_key_may_be_refused_until_cloud_init_has_installed_it(clock: FakeClock) -> None:
    tried = attempts(clock)
    tried.fail(REFUSED)
    clock.sleep(120)
    assert tried.why_over() == ""
    clock.sleep(1)
    assert tried.why_over() == "it rejected the key of the user 'ubuntu' for 120 s"


def test_a_login_forgets_the_failures(clock: FakeClock) -> None:
    tried = attempts(clock)
    tried.fail(REFUSED)
    tried.log_in()
    clock.sleep(1000)
    assert tried.why_over() == ""


def test_commands_that_run_forget_a_hopeless_answer(clock: FakeClock) -> None:
    tried = attempts(clock)
    tried.fail(HOPELESS[0])
    tried.log_in()
    clock.sleep(HOPELESS_PATIENCE)
    assert tried.why_over() != ""
    tried.succeed()
    assert tried.why_over() == ""
    assert tried.pause() <= 0.1
