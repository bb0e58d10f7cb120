"""Files to and from hosts that speak no SFTP, and hosts whose login shell prints something."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from pycloudlib.errors import SSHConnectionError, TransferError
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.stream_transfer import WRITE
from pycloudlib.ssh.transfer import pull, push
from pycloudlib.ssh.tree import pull_tree, push_tree
from support.sshd import Sshd

from .conftest import target_of

MIB = 1024 * 1024


def sshd_of(kind: str, directory: Path) -> Sshd:
    """Make a host without SFTP, with an SFTP program that fails, or with start-up files that print."""
    if kind == "no SFTP":
        return Sshd(directory, sftp=None)
    if kind == "SFTP that fails":
        return Sshd(directory, sftp="/bin/false")
    name, start_up_file = {"bash that prints": ("bash", ".bashrc"), "tcsh that prints": ("tcsh", ".cshrc")}[kind]
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"{name} is not installed")
    server = Sshd(directory, shell=shell)
    server.home_path.mkdir(parents=True)
    (server.home_path / start_up_file).write_text("echo Welcome to this host\necho tar no-newline-at-the-end\n")
    return server


@pytest.fixture(scope="module", params=["no SFTP", "SFTP that fails", "bash that prints", "tcsh that prints"])
def connection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with (
        sshd_of(str(request.param), tmp_path_factory.mktemp("sshd")) as server,
        Connection(target_of(server), HostKeys()) as opened,
    ):
        yield opened


@pytest.mark.parametrize("size", [0, 1, 5 * MIB + 7])
def test_a_file_goes_there_and_back_unchanged(connection: Connection, tmp_path: Path, size: int) -> None:
    (tmp_path / "here").write_bytes(os.urandom(size))
    (tmp_path / "here").chmod(0o741)
    push(connection, tmp_path / "here", str(tmp_path / "there's $HOME!"))
    assert stat.S_IMODE((tmp_path / "there's $HOME!").stat().st_mode) == 0o741
    pull(connection, str(tmp_path / "there's $HOME!"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "here", "there's $HOME!"]


def test_the_destination_is_replaced_and_a_link_to_it_stays(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("new")
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to("there")
    with (tmp_path / "there").open() as opened_before:
        push(connection, tmp_path / "here", str(tmp_path / "link"))
        assert opened_before.read() == "old"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


def test_a_directory_goes_there_and_back(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_text("x")
    push_tree(connection, tmp_path / "here", str(tmp_path / "there"))
    pull_tree(connection, str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "back" / "file").read_text() == "x"


def test_faults_are_the_errors_that_sftp_gives(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"x" * MIB)
    with pytest.raises(FileNotFoundError, match=r"cannot pull .*: No such file"):
        pull(connection, str(tmp_path / "missing"), tmp_path / "back")
    with pytest.raises(IsADirectoryError, match=r"cannot pull .*: Is a directory"):
        pull(connection, str(tmp_path), tmp_path / "back")
    with pytest.raises(IsADirectoryError, match=r"cannot push .*: Is a directory"):
        push(connection, tmp_path / "here", str(tmp_path))
    with pytest.raises(FileNotFoundError) as raised:
        push(connection, tmp_path / "here", str(tmp_path / "missing" / "file"))
    assert isinstance(raised.value, TransferError)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, str(tmp_path / "missing" / "file"))
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_lost_connection_leaves_the_destination_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    # The host's wc loses the connection, when the whole file is there and not yet renamed.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "wc").write_text(f"#!/bin/sh\nkill -9 $(cat {tmp_path}/sshd.pid)\nsleep 60\n")
    (tmp_path / "bin" / "wc").chmod(0o755)
    (tmp_path / "here").write_text("new")
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    with (
        Sshd(tmp_path / "sshd", sftp=None, options=[f"SetEnv PATH={path}"]) as server,
        Connection(target_of(server), HostKeys()) as connection,
    ):
        (tmp_path / "sshd.pid").write_text(run(connection, "ps -o ppid= -p $PPID; echo $PPID"))
        with pytest.raises(SSHConnectionError, match="the connection was lost"):
            push(connection, tmp_path / "here", str(tmp_path / "there"))
    assert (tmp_path / "there").read_text() == "old"


def test_a_part_of_a_file_is_not_taken_for_the_file(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    arguments = [str(tmp_path / "there"), ".part", "10", "644"]
    result = run(connection, ["sh", "-c", WRITE, "sh", *arguments], stdin="short")
    assert "10 bytes were sent, and 5 arrived" in result.stderr
    assert result.failed
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("there", "old")]


def test_what_the_login_shell_prints_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "here").write_text("x")
    with (
        sshd_of("bash that prints", tmp_path / "sshd") as server,
        Connection(target_of(server), HostKeys()) as connection,
    ):
        for _ in range(2):
            push(connection, tmp_path / "here", str(tmp_path / "there"))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "prints 'Welcome to this host" in warnings[0]


def test_a_login_shell_that_prints_and_runs_nothing_is_a_transfer_error(tmp_path: Path) -> None:
    shell = tmp_path / "nologin"
    shell.write_text("#!/bin/sh\necho This account is not available\nexit 1\n")
    shell.chmod(0o755)
    (tmp_path / "here").write_text("x")
    with (
        Sshd(tmp_path / "sshd", shell=str(shell)) as server,
        Connection(target_of(server), HostKeys()) as connection,
        pytest.raises(
            TransferError, match="the login shell ran no sh; it printed 'This account is not available'"
        ) as raised,
    ):
        push(connection, tmp_path / "here", str(tmp_path / "there"))
    assert isinstance(raised.value, paramiko.SSHException)


def test_a_host_with_neither_tar_nor_sftp_is_a_transfer_error(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "mkdir"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    (tmp_path / "here").mkdir()
    with (
        Sshd(tmp_path / "sshd", sftp=None, options=[f"SetEnv PATH={tmp_path / 'bin'}"]) as server,
        Connection(target_of(server), HostKeys()) as connection,
        pytest.raises(TransferError, match="the host has no tar, and its sshd has no SFTP"),
    ):
        push_tree(connection, tmp_path / "here", str(tmp_path / "there"))
