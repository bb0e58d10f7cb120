"""The errors of pycloudlib.ssh are paramiko's and Python's own too."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from paramiko.ssh_exception import NoValidConnectionsError

from pycloudlib import errors
from pycloudlib.deadline import Deadline
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.errors import CommandTimeoutError, SSHError, transfer_error
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.transfer import pull, push
from pycloudlib.ssh.tree import pull_tree, push_tree
from support.sshd import Sshd, make_key

FAULTS = [
    pytest.param(errno.ENOENT, FileNotFoundError, id="missing"),
    pytest.param(errno.EACCES, PermissionError, id="forbidden"),
    pytest.param(errno.EPERM, PermissionError, id="not permitted"),
    pytest.param(errno.EISDIR, IsADirectoryError, id="a directory"),
    pytest.param(errno.ENOTDIR, NotADirectoryError, id="not a directory"),
    pytest.param(errno.EEXIST, FileExistsError, id="exists"),
    pytest.param(errno.ETIMEDOUT, TimeoutError, id="silent"),
    pytest.param(errno.ENOSPC, OSError, id="full"),
]


def assert_pickles(error: errors.PycloudlibError) -> None:
    passed = pickle.loads(pickle.dumps(error))
    assert type(passed) is type(error)
    assert str(passed) == str(error)
    for name in ("errno", "strerror", "filename"):
        assert getattr(passed, name, None) == getattr(error, name, None)
    assert repr(vars(passed)) == repr(vars(error))


def test_a_refused_connection_is_a_no_valid_connections_error(own_sshd: Sshd, target: Target) -> None:
    own_sshd.stop()
    with pytest.raises(paramiko.SSHException, match="Connection refused") as raised:
        Connection(replace(target, port=own_sshd.port), HostKeys()).open()
    error = raised.value
    assert isinstance(error, errors.SSHConnectionError)
    assert isinstance(error, NoValidConnectionsError)
    assert list(error.errors) == [(target.host, own_sshd.port)]
    assert_pickles(error)


def test_a_refused_key_is_an_authentication_exception(target: Target, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other", "ed25519")
    with pytest.raises(paramiko.AuthenticationException) as raised:
        Connection(replace(target, private_key_path=other), HostKeys()).open()
    assert isinstance(raised.value, errors.SSHAuthenticationError)
    assert_pickles(raised.value)


def test_an_unusable_key_is_an_ssh_exception(target: Target, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("no key")
    with pytest.raises(paramiko.SSHException) as raised:
        Connection(replace(target, private_key_path=tmp_path / "none"), HostKeys()).open()
    assert isinstance(raised.value, errors.KeyPairError)
    locked = make_key(tmp_path / "locked", "ed25519", passphrase="secret")
    with pytest.raises(paramiko.PasswordRequiredException) as raised_for_passphrase:
        Connection(replace(target, private_key_path=locked), HostKeys()).open()
    assert isinstance(raised_for_passphrase.value, errors.KeyPairError)
    assert_pickles(raised.value)


def test_another_host_key_is_a_bad_host_key_exception(own_sshd: Sshd, own_connection: Connection) -> None:
    expected = own_sshd.host_key
    own_sshd.restart(new_host_keys=True)
    with pytest.raises(paramiko.BadHostKeyException) as raised:
        run(own_connection, "true")
    error = raised.value
    assert isinstance(error, errors.HostKeyError)
    assert (error.hostname, f"ssh-ed25519 {error.key.get_base64()}") == (
        own_connection.target.address,
        own_sshd.host_key,
    )
    assert f"ssh-ed25519 {error.expected_key.get_base64()}" == expected
    assert_pickles(error)


def test_an_unknown_host_key_expects_none(target: Target) -> None:
    with pytest.raises(paramiko.BadHostKeyException) as raised:
        Connection(target, HostKeys("console")).open()
    assert raised.value.expected_key is None


def test_a_closed_connection_is_an_ssh_exception(target: Target) -> None:
    connection = Connection(target, HostKeys())
    connection.close()
    with pytest.raises(paramiko.SSHException) as raised:
        run(connection, "true")
    assert isinstance(raised.value, errors.SSHError)
    assert_pickles(raised.value)


def test_a_lost_command_is_an_ssh_exception(own_connection: Connection) -> None:
    with pytest.raises(paramiko.SSHException) as raised:
        run(own_connection, "kill -9 $PPID; kill -9 $(ps -o ppid= -p $PPID)")
    assert isinstance(raised.value, errors.SSHConnectionError)


def test_a_command_timeout_is_an_ssh_exception_and_a_timeout_error(connection: Connection) -> None:
    with pytest.raises(paramiko.SSHException) as raised:
        run(connection, "sleep 60", deadline=Deadline.after(0.1))
    error = raised.value
    assert isinstance(error, errors.CommandTimeoutError)
    assert isinstance(error, TimeoutError)
    assert_pickles(error)


@pytest.mark.parametrize(("number", "kind"), FAULTS)
def test_a_transfer_error_is_the_os_error_of_its_number(number: int, kind: type[OSError]) -> None:
    error = transfer_error("cannot push a to host:b: why", number, "b")
    assert isinstance(error, kind)
    assert isinstance(error, errors.TransferError)
    # Suites handle a lost connection and a missing file in different ways.
    assert not isinstance(error, paramiko.SSHException)
    assert (error.errno, error.strerror, error.filename) == (number, os.strerror(number), "b")
    assert str(error) == "cannot push a to host:b: why"
    assert_pickles(error)


def test_a_transfer_error_without_a_number_is_an_os_error() -> None:
    error = transfer_error("cannot push a to host:b: 3 bytes were sent, and 2 arrived")
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (None, None)
    assert_pickles(error)


Copy = Callable[[Connection, str, str], None]


@pytest.mark.parametrize("copy", [push, pull, push_tree, pull_tree])
def test_a_missing_source_is_a_file_not_found_error(copy: Copy, connection: Connection, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as raised:
        copy(connection, missing, str(tmp_path / "copy"))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, missing)
    assert isinstance(raised.value, errors.TransferError)


@pytest.mark.parametrize("copy", [push, pull])
@pytest.mark.parametrize("place", ["source", "destination"])
def test_a_directory_in_a_file_s_place_is_an_is_a_directory_error(
    copy: Copy, place: str, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "source").write_text("x")
    (tmp_path / "directory").mkdir()
    paths = {"source": str(tmp_path / "source"), "destination": str(tmp_path / "new")}
    paths[place] = str(tmp_path / "directory")
    with pytest.raises(IsADirectoryError) as raised:
        copy(connection, paths["source"], paths["destination"])
    assert (raised.value.errno, raised.value.filename) == (errno.EISDIR, paths[place])


@pytest.mark.parametrize("copy", [push_tree, pull_tree])
def test_a_file_in_a_directory_s_place_is_a_not_a_directory_error(
    copy: Copy, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError) as raised:
        copy(connection, str(tmp_path / "file"), str(tmp_path / "new"))
    assert raised.value.errno == errno.ENOTDIR


WRITE_ONLY = Path("/proc/sys/net/ipv4/route/flush")
"""Not even root may read it."""


@pytest.mark.skipif(not WRITE_ONLY.exists(), reason="this kernel has no such file")
@pytest.mark.parametrize("copy", [push, pull])
def test_a_forbidden_source_is_a_permission_error(copy: Copy, connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(PermissionError) as raised:
        copy(connection, str(WRITE_ONLY), str(tmp_path / "copy"))
    assert isinstance(raised.value, errors.TransferError)
    assert (raised.value.errno in (errno.EACCES, errno.EPERM), raised.value.filename) == (True, str(WRITE_ONLY))


def test_every_error_is_still_caught_by_its_own_class() -> None:
    assert issubclass(SSHError, errors.SSHError)
    assert issubclass(CommandTimeoutError, errors.PycloudlibTimeoutError)
