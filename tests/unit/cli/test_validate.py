"""`pycloudlib validate` where no machine boots: wrong usage, and an image that never comes up."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from pycloudlib import EC2
from pycloudlib.local import LocalEC2
from support.command_line import CommandLine
from support.plain_ec2 import reset

NEVER = "ami-00000000000000000"


@pytest.fixture(scope="module")
def local(session_ec2: LocalEC2) -> LocalEC2:
    """Machines that EC2 calls running, and in which there is nobody."""
    reset(session_ec2)
    return session_ec2


@pytest.fixture
def command(cli: CommandLine, local: LocalEC2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    settings = tmp_path / "pycloudlib.toml"
    settings.write_text(local.info.settings_toml())
    settings.chmod(0o600)
    monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(settings))
    return cli


def test_an_image_that_never_comes_up_fails_and_nothing_is_left(command: CommandLine, tmp_path: Path) -> None:
    page, junit = tmp_path / "report.html", tmp_path / "report.xml"
    done = command.run("validate", "bookworm", "--boot-timeout", "2", "--html", str(page), "--junit", str(junit))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_boot.py::test_boots_to_login_in_time FAILED" in done.stdout
    assert "waited 2 s for" in done.stdout
    stages = [re.sub(r"^i-[0-9a-f]+|ami-[0-9a-f]+|[0-9.]+ s$", "X", line) for line in done.stderr.splitlines()]
    assert stages == ["X was launched from X after X", "X is running after X", "X is terminated after X"]
    assert "remedy: Read the end of the console log" in done.stdout
    assert " 1 failed, " in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout + done.stderr
    assert "1 failed" in page.read_text()
    assert "<failure" in junit.read_text()
    with EC2("look") as ec2:
        assert [one.id for one in ec2.instances(state="running")] == []
        assert ec2.list_keys() == []


def test_a_check_that_does_not_import_ends_it_before_anything_is_launched(command: CommandLine, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "test_own.py").write_text("import no_such_module\n")
    done = command.run("validate", "bookworm", "--checks", str(own))
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: a check cannot be imported: ")
    assert last.endswith("test_own.py: ModuleNotFoundError: No module named 'no_such_module'")
    assert "launching" not in done.stdout
    with EC2("look") as ec2:
        assert ec2.list_keys() == []


def test_no_check_that_matches_is_wrong_usage(command: CommandLine) -> None:
    done = command.run("validate", "bookworm", "-m", "no_such_group")
    assert done.returncode == 2
    assert "Error: no check matches -k and -m" in done.stderr


def test_an_image_that_is_not_there_is_no_verdict(command: CommandLine) -> None:
    done = command.run("validate", NEVER)
    assert done.returncode == 3
    assert done.stderr.startswith("pycloudlib: ")
    assert NEVER in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "status", "last_words"),
    [(signal.SIGINT, 130, "pycloudlib: interrupted"), (signal.SIGTERM, 143, "pycloudlib: terminated")],
)
def test_a_validation_that_is_ended_leaves_nothing(
    command: CommandLine, number: signal.Signals, status: int, last_words: str
) -> None:
    with command.start("validate", "bookworm") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("launching"):
                break
        process.send_signal(number)
        _, complaint = process.communicate(timeout=300)
    assert process.returncode == status, complaint
    assert complaint.splitlines()[-1] == last_words
    with EC2("look") as ec2:
        assert ec2.instances(state=["pending", "running"]) == []
        assert ec2.list_keys() == []


def test_a_pipe_that_breaks_ends_it_and_leaves_nothing(command: CommandLine) -> None:
    with command.start("validate", "bookworm", "--boot-timeout", "2") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read()
        process.wait(timeout=120)
    assert process.returncode != 0
    assert "Traceback" not in complaint
    with EC2("look") as ec2:
        assert ec2.instances(state=["pending", "running"]) == []
        assert ec2.list_keys() == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Missing argument 'IMAGE'"),
        (["no/such/disk.img"], "there is no disk file no/such/disk.img"),
        (["nobel.img"], "there is no disk file nobel.img"),
        (["bookwurm"], "unknown release 'bookwurm'; did you mean 'bookworm'?"),
        (["bookworm", "--html", "no/such/directory/x.html"], "the directory no/such/directory does not exist"),
        (["bookworm", "--checks", "no/such/directory"], "Directory 'no/such/directory' does not exist"),
        (["bookworm", "--boot-timeout", "0"], "--boot-timeout"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(command: CommandLine, arguments: list[str], complaint: str) -> None:
    done = command.run("validate", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert complaint.replace("Directory", "") in done.stderr.replace("Path", "").replace("Directory", "")
    assert "Traceback" not in done.stderr
