"""Hosts whose users have other login shells than bash: everything works as with bash."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import LoginShellError
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.transfer import pull, push
from pycloudlib.ssh.tree import pull_tree, push_tree
from support.sshd import Sshd

from .conftest import target_of


@pytest.fixture(scope="module", params=["tcsh", "fish", "zsh", "dash", "rbash"])
def connection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    shell = shutil.which(str(request.param))
    if shell is None:
        pytest.skip(f"{request.param} is not installed")
    with (
        Sshd(tmp_path_factory.mktemp("sshd"), shell=shell) as server,
        Connection(target_of(server), HostKeys()) as opened,
    ):
        yield opened


def test_a_script_of_several_lines_runs(connection: Connection) -> None:
    result = run(connection, "echo one\necho two; exit 3")
    assert (result.stdout, result.stderr, result.return_code) == ("one\ntwo", "", 3)


def test_plain_commands_run(connection: Connection) -> None:
    assert run(connection, "echo hi").stdout == "hi"
    assert run(connection, "cat /proc/sys/kernel/ostype").stdout == "Linux"


def test_exclamation_marks_and_newlines_arrive_in_commands_variables_and_stdin(connection: Connection) -> None:
    result = run(connection, 'printf "%s|" "$A" "wow!"; cat', env={"A": "one!\ntwo\\"}, stdin="!!\n!")
    assert result.raw_stdout == b"one!\ntwo\\|wow!|!!\n!"
    assert run(connection, ["printf", "%s", "a!b\nc\\"]).raw_stdout == b"a!b\nc\\"


def test_files_and_directories_go_there_and_back(connection: Connection, tmp_path: Path) -> None:
    name = "wow!\n\\'"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / name).write_text("x")
    push_tree(connection, tmp_path / "here", str(tmp_path / "there!"))
    push(connection, tmp_path / "here" / name, str(tmp_path / "there!" / "file"))
    pull_tree(connection, str(tmp_path / "there!"), tmp_path / "back")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["file", name]
    pull(connection, str(tmp_path / "there!" / name), tmp_path / "one")
    assert (tmp_path / "one").read_text() == "x"


@pytest.fixture(scope="module")
def restricted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A login shell that may run two programs only."""
    directory = tmp_path_factory.mktemp("restricted")
    (directory / "bin").mkdir()
    for program in ("cat", "true"):
        (directory / "bin" / program).symlink_to(f"/bin/{program}")
    shell = directory / "rbash"
    shell.write_text(f'#!/bin/sh\nPATH={directory}/bin; export PATH\nexec /bin/bash -r "$@"\n')
    shell.chmod(0o755)
    with Sshd(directory / "sshd", shell=str(shell)) as server, Connection(target_of(server), HostKeys()) as opened:
        yield opened


def test_a_restricted_login_shell_without_sh_runs_single_programs(restricted: Connection) -> None:
    assert run(restricted, "echo hi").stdout == "hi"
    assert run(restricted, ["cat"], stdin="from here").stdout == "from here"
    assert run(restricted, ["ls"]).return_code == 127


def test_a_restricted_login_shell_without_sh_is_named_for_what_needs_sh(restricted: Connection) -> None:
    with pytest.raises(LoginShellError, match=r"the restricted login shell of .* does not find sh, .*: .*bash"):
        run(restricted, "cat /dev/null | cat", deadline=Deadline.after(60))


def test_a_command_that_prints_what_a_restricted_shell_prints_runs_once(connection: Connection, tmp_path: Path) -> None:
    command = f"echo again >>{tmp_path}/runs; echo 'bash: exec: restricted' >&2; exit 1"
    result = run(connection, command)
    assert (result.return_code, result.stderr) == (1, "bash: exec: restricted")
    assert (tmp_path / "runs").read_text() == "again\n"
