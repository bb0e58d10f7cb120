"""`pycloudlib ssh`: the user's own OpenSSH, against a real sshd."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from support.cli_world import CliWorld, QuickCommandLine
from support.sshd import make_key


def test_a_command_has_its_output_and_its_exit_status(world: CliWorld, machine: str) -> None:
    done = world.process.run("ssh", "--local", machine, "--", "echo", "there;", "exit", "5", stdin="")
    assert (done.returncode, done.stdout) == (5, "there\n")


def test_standard_input_goes_through(world: CliWorld, machine: str) -> None:
    assert world.process.run("ssh", "--local", machine, "--", "cat", stdin="typed\n").stdout == "typed\n"


def test_without_a_terminal_a_shell_reads_standard_input(world: CliWorld, machine: str) -> None:
    done = world.process.run("ssh", "--local", machine, "-o", "RequestTTY=no", "--", "sh", stdin="echo $((20 + 3))\n")
    assert (done.returncode, done.stdout) == (0, "23\n")


def test_the_ssh_command_is_printed_instead(world: CliWorld, machine: str) -> None:
    printed = world.cli.run("ssh", "--local", "--print", machine).stdout
    words = shlex.split(printed)
    assert "StrictHostKeyChecking=yes" in words
    assert "IdentitiesOnly=yes" in words
    done = subprocess.run([*words, "echo", "by", "hand"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "by hand\n")


def test_openssh_accepts_only_the_host_key_that_was_verified(world: CliWorld, machine: str, tmp_path: Path) -> None:
    words = shlex.split(world.cli.run("ssh", "--local", "--print", machine).stdout)
    (known,) = [word.partition("=")[2] for word in words if word.startswith("UserKnownHostsFile=")]
    line = Path(known).read_text()
    assert line == f"{machine} {world.guest.sshd.host_key}\n"
    other = make_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text().split()
    elsewhere = tmp_path / "known_hosts"
    elsewhere.write_text(f"{machine} {other[0]} {other[1]}\n")
    words = [word.replace(known, str(elsewhere)) for word in words]
    done = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_in_the_console_mode_a_host_that_is_not_on_the_console_is_refused(world: CliWorld, machine: str) -> None:
    strict = world.cli.home / "strict.toml"
    strict.write_text((world.cli.home / ".config" / "pycloudlib.toml").read_text() + 'host_keys = "console"\n')
    complaint = world.cli.complaint("ssh", "--local", "--config", str(strict), machine, "--", "true", status=255)
    assert "does not show its host keys yet" in complaint


def test_another_key_is_refused_in_one_line(world: CliWorld, machine: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / "stranger", "ed25519")
    complaint = world.cli.complaint("ssh", "--local", "--key", str(key), machine, status=255)
    assert f"refused the key {key}" in complaint


def test_a_machine_that_there_is_not_is_not_found(world: CliWorld) -> None:
    assert "no instance 'i-00000000000000000'" in world.cli.complaint("ssh", "--local", "i-00000000000000000", status=3)


def test_missing_openssh_names_the_package(world: CliWorld, machine: str) -> None:
    environment = {**(world.cli.environment or {}), "PATH": str(world.cli.home)}
    complaint = QuickCommandLine(world.cli.home, environment).complaint("ssh", "--local", machine)
    assert complaint == "ssh is required to open a session, but not installed: apt-get install openssh-client"


def test_what_was_written_about_a_host_goes_with_it(world: CliWorld) -> None:
    machine = world.launch("--tag", "forgotten")
    known = world.cli.home / "cache" / "pycloudlib" / "known_hosts" / machine
    assert known.exists()
    assert world.cli.run("delete", "--local", "--yes", machine).returncode == 0
    assert not known.exists()


def test_print_config_prints_a_block_that_openssh_accepts(world: CliWorld, machine: str, tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(world.cli.run("ssh", "--local", "--print-config", machine).stdout)
    done = subprocess.run(["ssh", "-F", config, machine, "echo there"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "there\n")


@pytest.mark.parametrize("more", [["--print"], ["-o", "Compression=yes"], ["--", "true"]], ids=str)
def test_print_config_rejects_options_of_a_session(world: CliWorld, machine: str, more: list[str]) -> None:
    before, after = (more, []) if more[0] != "--" else ([], more)
    done = world.cli.run("ssh", "--local", "--print-config", *before, machine, *after)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("--print-config takes neither --print, nor -o, nor a COMMAND\n")
