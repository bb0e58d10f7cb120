"""A whole use of the library, once for every call that it makes and every way in which that call can go wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.conftest import EVERY, Account
from faults.scenario import run_scenario
from pycloudlib.ec2.api import retries, session
from pycloudlib.errors import CleanupError, PycloudlibError
from support.faulty_ec2 import Break, Fault, Refusal

FAULTS: dict[str, Fault] = {
    "RequestLimitExceeded": Refusal("RequestLimitExceeded", 503),
    "InternalError": Refusal("InternalError", 500),
    "Unavailable": Refusal("Unavailable", 503),
    "UnauthorizedOperation": Refusal("UnauthorizedOperation", 403),
    "InsufficientInstanceCapacity": Refusal("InsufficientInstanceCapacity", 500),
    "InvalidInstanceID.NotFound": Refusal("InvalidInstanceID.NotFound"),
    "reset before": Break.BEFORE,
    "reset after": Break.AFTER,
    "silence": Break.SILENCE,
}

ABOUT_INSTANCES = (
    *("AssociateAddress", "AttachNetworkInterface", "AttachVolume", "CreateImage", "DescribeInstances"),
    *("GetConsoleOutput", "ModifyInstanceAttribute", "StartInstances", "StopInstances", "TerminateInstances"),
)
"""The calls to which EC2 may answer that it does not know an instance, which was launched a moment ago."""


@dataclass(frozen=True)
class Outcome:
    """What came of one run.

    Args:
        call: which call went wrong, as in "17 CreateSubnet".
        error: what the user was told; empty when the run succeeded.
        foreign: whether that was no clear error: not one of this library's, or one that goes on and on.
        left: what was left in the account.
    """

    call: str
    error: str
    foreign: bool
    left: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether it succeeded, or failed with one clear error, and left nothing."""
        return not self.foreign and not self.left


@pytest.fixture(scope="module")
def calls(account: Account) -> list[str]:
    """The calls of a run in which nothing goes wrong."""
    account.faulty.behave()
    with account.connect() as ec2:
        run_scenario(ec2, account.public_key, account.username)
    assert account.leftovers() == []
    return list(account.faulty.asked)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is not waited for as long as on AWS."""
    monkeypatch.setattr(session, "READ_TIMEOUT", 2)
    monkeypatch.setattr(retries, "LOOK_FOR_LOST", 0.5)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.1)


@pytest.mark.parametrize("name", FAULTS)
def test_a_call_that_goes_wrong_leaves_nothing(name: str, account: Account, calls: list[str]) -> None:
    numbers = [number for number, action in enumerate(calls) if _can_answer(action, FAULTS[name])]
    # Each fault begins elsewhere, so that a few runs still meet calls of all parts.
    start = list(FAULTS).index(name) * min(EVERY, len(numbers)) // len(FAULTS)
    chosen = numbers[start::EVERY]
    outcomes = [_attempt(account, number, calls[number], FAULTS[name]) for number in chosen]
    _print_table(name, outcomes)
    assert [outcome for outcome in outcomes if not outcome.passed] == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_a_killed_run_left_is_swept(moment: str, account: Account, calls: list[str], tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(account.settings)
    settings.chmod(0o600)
    start = 0 if moment == "before" else EVERY // 2
    numbers = range(start, len(calls), EVERY)
    outcomes = [_killed(account, number, calls[number], moment, settings) for number in numbers]
    _print_table(f"killed {moment}", outcomes)
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def _can_answer(action: str, fault: Fault) -> bool:
    return fault != FAULTS["InvalidInstanceID.NotFound"] or action in ABOUT_INSTANCES


def _attempt(account: Account, number: int, action: str, fault: Fault) -> Outcome:
    account.faulty.fail(number, fault)
    ec2 = account.connect()
    error: BaseException | None = None
    try:
        with ec2:
            run_scenario(ec2, account.public_key, account.username)
    except Exception as raised:
        error = raised
    account.faulty.behave()
    # Where the deleting itself was refused, the user was told, and tries again.
    again = ec2.clean() if error is not None else []
    return Outcome(
        call=f"{number} {action}",
        error=_told(error or (again[0] if again else None)),
        foreign=error is not None and not _is_clear(error),
        left=tuple(_tidied(account)),
    )


def _killed(account: Account, number: int, action: str, moment: str, settings: Path) -> Outcome:
    scenario = Path(__file__).with_name("scenario.py")
    command = [sys.executable, str(scenario), str(settings), str(account.public_key), account.username]
    processes: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()

    account.faulty.interrupt(number, **{moment: kill})
    processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    _, complaints = processes[0].communicate(timeout=120)
    account.faulty.behave()
    failed = processes[0].returncode not in (-signal.SIGKILL, 0)  # It may end before it is killed after its last call.
    report = account.connect().sweep(dry_run=False)
    return Outcome(
        call=f"{number} {action}",
        error="; ".join([*map(str, report.left), *([complaints.decode()] if failed else [])]),
        foreign=failed,
        left=tuple(_tidied(account)),
    )


def _tidied(account: Account) -> Iterator[str]:
    """What is left; the next run finds the account empty."""
    left = account.leftovers()
    if left:
        account.reset()
    yield from left


def _is_clear(error: BaseException) -> bool:
    # A clean-up names each resource in a line of its own.
    return isinstance(error, CleanupError) or (isinstance(error, PycloudlibError) and "\n" not in str(error))


def _told(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"


def _print_table(name: str, outcomes: list[Outcome]) -> None:
    passed = sum(outcome.passed for outcome in outcomes)
    leaked = sum(bool(outcome.left) for outcome in outcomes)
    print(f"\n{name:32} {len(outcomes):3} run {passed:3} passed {leaked:3} leaked")
    for outcome in outcomes:
        mark = "ok  " if outcome.passed else "FAIL"
        print(f"    {mark} {outcome.call:40} {outcome.error[:150]} {' '.join(outcome.left)}")
