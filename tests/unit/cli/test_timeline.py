from __future__ import annotations

import json
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path

import pytest

from pycloudlib import EC2
from pycloudlib.cli.exit_statuses import NOT_FOUND
from pycloudlib.local import LocalEC2
from pycloudlib.timeline.model import read, to_json
from support.boots import boot
from support.command_line import CommandLine
from support.guest import Guest
from support.sshd import ALL_LOOPBACK


@pytest.fixture
def before(tmp_path: Path) -> Path:
    path = tmp_path / "before.json"
    path.write_text(to_json([boot("before", 1), boot("before", 2, 1.25)]))
    return path


@pytest.fixture
def after(tmp_path: Path) -> Path:
    path = tmp_path / "after.json"
    path.write_text(to_json([boot("after", 3, 1.5)]))
    return path


def test_files_are_shown_side_by_side(cli: CommandLine, before: Path, after: Path) -> None:
    done = cli.run("timeline", str(before), str(after))
    assert done.returncode == 0, done.stderr
    header, first, second, third, spread = done.stdout.splitlines()
    assert header.split()[:4] == ["image", "instance", "running", "kernel"]
    assert first.split() == ["before", boot("", 1).instance_id, "0.6", "1.2", "7.4", "18.0", "18.6", "24.0"]
    assert second.endswith("+6.0 s (+25 %)")
    assert third.split()[0] == "after"
    assert third.endswith("+12.0 s (+50 %)")
    assert spread == "before: 2 boots, median 27.0 s, 24.0 to 30.0 s"


def test_what_is_written_can_be_read_again(cli: CommandLine, before: Path, after: Path, tmp_path: Path) -> None:
    both, html, svg = tmp_path / "both.json", tmp_path / "boots.html", tmp_path / "boots.svg"
    done = cli.run(
        "timeline", str(before), str(after), "--json", "--save", str(both), "--html", str(html), "--svg", str(svg)
    )
    assert done.returncode == 0, done.stderr
    assert read(both) == [*read(before), *read(after)]
    assert json.loads(done.stdout) == json.loads(both.read_text())
    assert html.read_text().startswith("<!doctype html>")
    assert svg.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Missing argument 'SOURCE...'"),
        (["missing.json"], "cannot read missing.json: No such file or directory"),
        (["{empty}"], "is not a file of `pycloudlib timeline --save`"),
        (["{before}", "--html", "no/such/directory/x.html"], "the directory no/such/directory does not exist"),
        (["{before}", "--runs", "0"], "--runs"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(
    cli: CommandLine, before: Path, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    done = cli.run("timeline", *(one.format(before=before, empty=empty) for one in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


UNITS = """\
Id=ssh.service
InactiveExitTimestampMonotonic=12500000
ActiveEnterTimestampMonotonic=15000000
InactiveEnterTimestampMonotonic=0
"""


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    """A guest that tells of its boot; what it is asked as root is answered by whoever runs the tests."""
    with Guest(tmp_path / "guest", listen=ALL_LOOPBACK) as guest:
        guest.program("sudo", 'while [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"')
        guest.program("systemctl", f"cat <<'END'\n{UNITS}END")
        yield guest


def test_running_instance_reports_its_boot(
    cli: CommandLine, guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "pycloudlib.toml"
    with LocalEC2(driver="simulated", ssh_port=guest.sshd.port) as local:
        settings.write_text(
            local.info.settings_toml(public_key_path=guest.key_pair.public_key_path, username=getuser())
        )
        settings.chmod(0o600)
        monkeypatch.setenv("PYCLOUDLIB_CONFIG", str(settings))
        with EC2("running", config_file=settings) as ec2, ec2.launch(ec2.daily_image("bookworm")) as instance:
            done = cli.run("timeline", instance.id, "--json")
            missing = cli.run("timeline", "i-00000000000000000")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["boots"]
    assert told["instance_id"] == instance.id
    assert told["reached"] == {"kernel": 0.0, "reachable": 15.0}
    assert [(span["name"], span["seconds"]) for span in told["spans"]] == [("ssh.service", 2.5)]
    assert missing.returncode == NOT_FOUND
    assert missing.stderr.startswith("pycloudlib: ")
