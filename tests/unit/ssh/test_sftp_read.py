"""Reading files over SFTP: what servers other than OpenSSH's may answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycloudlib.errors import TransferError
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.sftp_read import PIECE_SIZE
from pycloudlib.ssh.transfer import pull
from support import odd_sftp
from support.sshd import Sshd

from .conftest import target_of


@contextmanager
def host(directory: Path, mode: str) -> Iterator[Connection]:
    program = f"{sys.executable} -S {odd_sftp.__file__} {mode}"
    with Sshd(directory / "sshd", sftp=program) as server, Connection(target_of(server), HostKeys()) as connection:
        yield connection


@pytest.mark.parametrize("mode", ["short", "reversed"])
@pytest.mark.parametrize("size", [0, 999, PIECE_SIZE, 5 * PIECE_SIZE + 7])
def test_short_and_unordered_answers_make_the_same_file(mode: str, size: int, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(os.urandom(size))
    with host(tmp_path, mode) as connection:
        pull(connection, str(tmp_path / "there"), tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


@pytest.mark.parametrize(("mode", "why"), [("error", "told by the test"), ("garbage", "which is not SFTP")])
def test_a_failed_read_is_a_transfer_error_and_leaves_nothing(mode: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(os.urandom(10 * PIECE_SIZE))
    with host(tmp_path, mode) as connection, pytest.raises(TransferError, match=why):
        pull(connection, str(tmp_path / "there"), tmp_path / "here")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sshd", "there"]
