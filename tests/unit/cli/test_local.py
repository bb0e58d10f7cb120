"""`pycloudlib local`: what its users see, above all when something is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from pycloudlib import EC2
from pycloudlib.cli import settings_file
from pycloudlib.cli.local import start
from pycloudlib.config import load_settings
from pycloudlib.deadline import Deadline
from pycloudlib.errors import LocalEC2Error
from pycloudlib.installation import install_extras
from pycloudlib.local import LocalEC2, daemon, paths
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.prerequisites import MOTO_VERSION, find
from pycloudlib.waiting import wait_until
from support.command_line import CommandLine
from support.processes import is_alive
from support.small_disk import fill, small_disk

SIMULATED = ("local", "start", "--driver", "simulated")

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "{module}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.metadata
installed = importlib.metadata.version
def version(name):
    if name == "{module}":
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)
importlib.metadata.version = version
"""

HALFWAY = """
import pathlib, signal, sys
class Halfway:
    def find_spec(self, name, path=None, target=None):
        if name == "moto":
            pathlib.Path("{mark}").touch()
            signal.pause()
sys.meta_path.insert(0, Halfway())
"""


def test_a_started_one_is_listed_and_stopped(cli: CommandLine) -> None:
    assert cli.run(*SIMULATED).stdout.startswith("[ec2]\nendpoint_url = ")
    status = cli.run("local", "status")
    assert status.stdout.startswith("default: http://127.0.0.1:")
    assert "simulated machines" in status.stdout
    assert "simulated" in json.loads(cli.run("local", "status", "--json").stdout)["default"]["driver"]
    assert cli.run("local", "logs").returncode == 0
    assert cli.run("local", "stop").stdout == "Stopped default.\n"


def test_whoever_has_read_enough_of_a_growing_log_ends_it_without_a_complaint(cli: CommandLine) -> None:
    path = cli.home / "local.toml"
    cli.run(*SIMULATED, "--write-config", str(path))
    with EC2("log", config_file=path) as ec2:
        ec2.client.describe_instances()
        with cli.start("local", "logs", "--follow") as following:
            with contextlib.closing(following.stdout):
                assert "DescribeInstances" in following.stdout.readline()
            ec2.client.describe_instances()
            assert following.stderr.read() == ""
    assert following.returncode == -signal.SIGPIPE


def test_start_and_status_print_the_same_json(cli: CommandLine) -> None:
    path = cli.home / "local.toml"
    started = json.loads(cli.run(*SIMULATED, "--json", "--write-config", str(path)).stdout)
    assert started["default"]["endpoint_url"] == load_settings(path).endpoint_url
    assert started == json.loads(cli.run("local", "status", "--json").stdout)


def test_every_server_option_has_a_command_line_option() -> None:
    said = {option.name: option.default for option in start.params}
    options = {field.name: field.default for field in dataclasses.fields(daemon.ServerOptions)}
    del options["end_with_stdin"]  # which only a program can use
    assert {name: said.get(name) for name in options} == options


def test_it_can_be_under_a_path(cli: CommandLine) -> None:
    path = cli.home / "local.toml"
    assert cli.run(*SIMULATED, "--path", "/services/Cloud", "--write-config", str(path)).returncode == 0
    assert str(load_settings(path).endpoint_url).endswith("/services/Cloud")
    assert "/services/Cloud in us-east-1" in cli.run("local", "status").stdout


def test_it_can_have_credentials_of_its_own_which_only_its_user_can_read(cli: CommandLine) -> None:
    path = cli.home / "local.toml"
    assert cli.run(*SIMULATED, "--write-config", str(path)).returncode == 0
    assert cli.run("local", "stop").returncode == 0
    path.chmod(0o644)
    assert cli.run(*SIMULATED, "--auth", "--write-config", str(path)).returncode == 0
    settings = load_settings(path)
    assert (settings.access_key_id or "").startswith("LOCAL")
    assert path.stat().st_mode & 0o777 == 0o600
    assert cli.run("sweep", "--config-file", str(path)).stdout == "Nothing found.\n"
    path.write_text(path.read_text().replace(str(settings.secret_access_key), "guessed"))
    assert "SignatureDoesNotMatch" in cli.complaint("sweep", "--config-file", str(path))


def test_a_path_that_is_none_is_refused(cli: CommandLine) -> None:
    assert "cannot be under the path 'Cloud'" in cli.complaint(*SIMULATED, "--path", "Cloud")


def test_stop_of_an_unknown_name_lists_those_that_run(cli: CommandLine) -> None:
    cli.run(*SIMULATED)
    for command in ("stop", "logs"):
        complaint = cli.complaint("local", command, "--name", "defualt", status=3)
        assert complaint == "no local EC2 named 'defualt' is running; running: 'default'"


def test_status_without_a_local_ec2_is_an_error(cli: CommandLine) -> None:
    assert cli.complaint("local", "stop", status=3) == "no local EC2 named 'default' is running"
    assert cli.complaint("local", "logs", status=3) == "no local EC2 named 'default' is running"
    status = cli.run("local", "status")
    assert (status.returncode, status.stderr) == (1, "No local EC2 is running.\n")


def test_the_written_settings_are_its_owners_and_lead_to_it(cli: CommandLine, caplog: pytest.LogCaptureFixture) -> None:
    path = cli.home / "local.toml"
    told = cli.run(*SIMULATED, "--write-config", str(path)).stdout
    settings = load_settings(path)
    assert told == f"{settings.endpoint_url} (settings in {path})\n"
    assert caplog.messages == []
    cli.run("local", "stop")
    assert cli.run(*SIMULATED, "--write-config", str(path)).returncode == 0


def test_settings_of_another_one_that_runs_are_not_overwritten(cli: CommandLine) -> None:
    path = cli.home / "made-by-mktemp"
    path.touch()
    assert cli.run(*SIMULATED, "--name", "first", "--write-config", str(path)).returncode == 0
    before = path.read_text()
    complaint = cli.complaint(*SIMULATED, "--name", "second", "--write-config", str(path))
    assert complaint == (
        f"{path} contains the settings of the local EC2 'first', which is running: give another file, or stop it "
        "first: pycloudlib local stop --name first"
    )
    assert (path.read_text(), list(daemon.running_servers())) == (before, ["first"])


def test_settings_that_another_start_has_written_meanwhile_are_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "local.toml"
    with LocalEC2("second", driver="simulated") as second:
        with LocalEC2("first", driver="simulated") as first:
            settings_file.check_writing(path, "second")
            settings_file.write(path, "first", first.info)
            with pytest.raises(LocalEC2Error, match="contains the settings of the local EC2 'first', which is running"):
                settings_file.write(path, "second", second.info)
            assert load_settings(path).endpoint_url == first.endpoint_url
        settings_file.write(path, "second", second.info)
        assert load_settings(path).endpoint_url == second.endpoint_url


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/dev/full", "it is not a regular file"),
        ("others.toml", "contains other settings"),
    ],
)
def test_settings_that_cannot_be_written_are_refused_before_the_start(
    path: str, complaint: str, cli: CommandLine
) -> None:
    (cli.home / "others.toml").write_text('[ec2]\nregion = "eu-central-1"\n')
    assert complaint in cli.complaint(*SIMULATED, "--write-config", str(cli.home / path))
    assert daemon.running_servers() == {}


def test_when_its_settings_find_no_room_it_does_not_stay(cli: CommandLine) -> None:
    with small_disk(cli.home / "small", "64k") as disk:
        fill(disk)
        path = disk / "local.toml"
        assert cli.complaint(*SIMULATED, "--write-config", str(path)) == f"cannot write {path}: No space left on device"
    assert daemon.running_servers() == {}


def test_when_nobody_reads_its_settings_it_does_not_stay(cli: CommandLine) -> None:
    with cli.start(*SIMULATED) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, complaint = process.communicate(timeout=120)
    assert (process.returncode, complaint) == (1, "")
    assert daemon.running_servers() == {}


@pytest.mark.parametrize("name", ["../elsewhere", "", ".hidden", "x" * 65, "a b"])
def test_a_name_that_cannot_be_a_directory_is_refused(name: str, cli: CommandLine) -> None:
    for command in (SIMULATED, ("local", "stop"), ("local", "logs")):
        assert "cannot be named" in cli.complaint(*command, "--name", name)


def test_a_second_one_of_that_name_is_refused(cli: CommandLine) -> None:
    cli.run(*SIMULATED)
    assert cli.complaint(*SIMULATED) == (
        "a local EC2 named 'default' is already running: "
        "use it, stop it with `pycloudlib local stop --name default`, or give another name"
    )
    assert list(daemon.running_servers()) == ["default"]


def test_a_region_that_there_is_not_is_refused_with_the_nearest(cli: CommandLine) -> None:
    assert cli.complaint(*SIMULATED, "--region", "eu-centrall-1") == (
        "there is no region 'eu-centrall-1': did you mean eu-central-1?"
    )


needs_qemu = pytest.mark.skipif(
    None in map(find, ("qemu-system-x86_64", "qemu-img", "socat", "setpriv")), reason="needs QEMU's programs"
)


@pytest.mark.parametrize(
    "options", [("--driver", "simulated", "--port"), pytest.param(("--ssh-port",), marks=needs_qemu)], ids=" ".join
)
def test_a_port_in_use_is_named(options: tuple[str, ...], cli: CommandLine) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        complaint = cli.complaint("local", "start", *options, port)
    assert port in complaint
    assert "Address already in use; choose another" in complaint


def test_missing_qemu_names_the_package(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cli.home))
    complaint = cli.complaint("local", "start")
    assert complaint.startswith("qemu-system-x86_64")
    assert "apt-get install -y qemu-system-x86" in complaint


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        ("moto", f"the local EC2 needs moto {MOTO_VERSION}: {install_extras('local')}"),
        ("click", f"the command line needs click: {install_extras('cli')}"),
    ],
)
def test_missing_optional_package_names_the_package(
    module: str, complaint: str, process: CommandLine, sitecustomize: Path
) -> None:
    sitecustomize.write_text(WITHOUT.format(module=module))
    assert process.complaint(*SIMULATED) == complaint


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="needs a /dev/kvm to find fault with")
@needs_qemu
def test_broken_kvm_is_reported_once(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = cli.home / "bin"
    programs.mkdir()
    (programs / "qemu-system-x86_64").write_text("#!/bin/sh\necho 'failed to set MSR 0x10a' >&2\nexit 1\n")
    (programs / "qemu-system-x86_64").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    disk = cli.home / "disk"
    disk.write_bytes(b"\0" * 510 + b"\x55\xaa")
    Catalog(paths.images_dir()).add(disk, release="bookworm", kernel=disk)
    first = cli.run("local", "start", "--name", "first")
    second = cli.run("local", "start", "--name", "second")
    warning = (
        "WARNING: /dev/kvm exists but does not work, so instances run under software emulation: failed to set MSR 0x10a"
    )
    network, *others = second.stderr.splitlines()
    assert first.stderr.splitlines() == [warning, network]
    assert network.startswith("Network: ")
    assert others == []
    assert {info.accelerator for info in daemon.running_servers().values()} == {"tcg"}


@pytest.mark.parametrize(
    ("number", "status", "complaint"),
    [(signal.SIGINT, 130, "pycloudlib: interrupted"), (signal.SIGTERM, 143, "pycloudlib: terminated")],
)
def test_a_start_that_is_cut_off_leaves_nothing(
    number: signal.Signals, status: int, complaint: str, cli: CommandLine, sitecustomize: Path
) -> None:
    mark = cli.home / "halfway"
    sitecustomize.write_text(HALFWAY.format(mark=mark))
    with cli.start(*SIMULATED) as process:
        wait_until(mark.exists, what="the server to be halfway", deadline=Deadline.after(60), interval=0.05)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.strip()) == (status, complaint)
    assert list(paths.state_dir().iterdir()) == []


def test_server_exits_if_its_starter_is_killed_early(cli: CommandLine, sitecustomize: Path) -> None:
    mark, go = cli.home / "halfway", cli.home / "go"
    os.mkfifo(go)
    sitecustomize.write_text(HALFWAY.format(mark=mark).replace("signal.pause()", f"open({str(go)!r}).read()"))
    with cli.start(*SIMULATED) as process:
        wait_until(mark.exists, what="the server to be halfway", deadline=Deadline.after(60), interval=0.05)
        process.kill()
        process.communicate(timeout=60)
    go.write_text("")
    wait_until(
        lambda: not list(paths.state_dir().iterdir()),
        what="the server to be gone",
        deadline=Deadline.after(60),
        interval=0.05,
    )


def test_a_server_whose_description_is_damaged_is_not_taken_for_none(cli: CommandLine) -> None:
    info = daemon.LocalEC2("default", driver="simulated").start()
    description = paths.state_dir() / "default" / "server.json"
    for garbage in ("", "[1]", "{}", "\0\0\0", '{"pid": 1'):
        description.write_text(garbage)
        assert cli.run("local", "status").stderr == "No local EC2 is running.\n"
        assert cli.complaint("local", "stop").startswith(f"{description} does not name the process")
        assert "a local EC2 named 'default' is already running" in cli.complaint(*SIMULATED)
    os.kill(info.pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(info.pid), what="it to be gone", deadline=Deadline.after(30), interval=0.05)


def test_a_lock_of_nobody_is_no_server(cli: CommandLine) -> None:
    left = paths.state_dir() / "default"
    left.mkdir()
    (left / "lock").touch()
    (left / "server.json").write_text("{}")
    assert cli.complaint("local", "stop", status=3) == "no local EC2 named 'default' is running"
    assert cli.run(*SIMULATED).returncode == 0


def test_full_disk_is_reported(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(cli.home / "small", "64k") as disk:
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        state = paths.state_dir()
        fill(disk)
        assert "No space left on device" in cli.complaint(*SIMULATED)
        assert list(state.iterdir()) == []


def test_a_home_that_cannot_be_written_is_named(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = cli.home / "file"
    in_the_way.touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(in_the_way))
    assert cli.complaint(*SIMULATED).startswith(f"cannot create the directory {in_the_way}/pycloudlib/local (")


def test_a_directory_that_is_taken_by_a_file_is_named(cli: CommandLine) -> None:
    in_the_way = paths.state_dir() / "default"
    in_the_way.touch()
    assert cli.complaint(*SIMULATED) == f"cannot write to {in_the_way}: File exists"
    in_the_way.unlink()
