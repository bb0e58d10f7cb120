from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycloudlib.errors import HostKeyError, SSHConnectionError, TransferError
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.transfer import PIECE_SIZE, pull, push
from support.sshd import Sshd, sftp_server_program

MIB = 1024 * 1024

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "file"
    path.parent.mkdir()
    return path


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "there" / "file"
    path.parent.mkdir()
    return path


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk does to this process: writing beyond fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_disk(directory: Path) -> Iterator[Connection]:
    """A host whose SFTP server cannot write more than 1 MiB."""
    program = sftp_server_program()
    wrapper = directory / "sftp"
    wrapper.write_text(f"#!/bin/bash\ntrap '' XFSZ\nulimit -f 1024\nexec {program}\n")
    wrapper.chmod(0o755)
    with Sshd(directory / "sshd", sftp=str(wrapper)) as sshd:
        target = Target(sshd.host, sshd.username, sshd.private_key_path, port=sshd.port)
        with Connection(target, HostKeys()) as connection:
            yield connection


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 20 * MIB + 7])
def test_a_file_goes_there_and_back_unchanged(connection: Connection, local: Path, remote: Path, size: int) -> None:
    local.write_bytes(os.urandom(size))
    push(connection, local, str(remote))
    assert remote.read_bytes() == local.read_bytes()
    back = local.with_name("back")
    pull(connection, str(remote), back)
    assert back.read_bytes() == local.read_bytes()


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o440, 0o4711])
def test_push_keeps_the_mode(connection: Connection, local: Path, remote: Path, mode: int) -> None:
    local.write_text("#!/bin/sh\n")
    local.chmod(mode | 0o400)
    push(connection, local, str(remote))
    assert mode_of(remote) == mode


def test_pull_makes_a_file_that_others_may_read(connection: Connection, local: Path, remote: Path) -> None:
    remote.write_text("x")
    remote.chmod(0o600)
    pull(connection, str(remote), local)
    beside = local.with_name("beside")
    os.close(os.open(beside, os.O_CREAT, 0o644))
    assert mode_of(local) == mode_of(beside)


def test_pull_keeps_the_mode_of_the_file_it_replaces(connection: Connection, local: Path, remote: Path) -> None:
    remote.write_text("secret")
    local.write_text("old")
    local.chmod(0o600)
    pull(connection, str(remote), local)
    assert (local.read_text(), mode_of(local)) == ("secret", 0o600)


def test_the_destination_is_replaced_rather_than_written_to(connection: Connection, local: Path, remote: Path) -> None:
    local.write_text("new")
    remote.write_text("old")
    with remote.open() as opened_before:
        push(connection, local, str(remote))
        assert opened_before.read() == "old"
    assert remote.read_text() == "new"
    remote.write_text("newer")
    with local.open() as opened_before:
        pull(connection, str(remote), local)
        assert opened_before.read() == "new"
    assert local.read_text() == "newer"


def test_a_symbolic_link_stays_and_its_target_is_replaced(connection: Connection, local: Path, remote: Path) -> None:
    local.write_text("new")
    remote.write_text("old")
    link = remote.with_name("link")
    link.symlink_to(remote.name)
    push(connection, local, str(link))
    assert link.is_symlink()
    assert remote.read_text() == "new"
    local_link = local.with_name("link")
    local_link.symlink_to(local.name)
    remote.write_text("newer")
    pull(connection, str(remote), local_link)
    assert local_link.is_symlink()
    assert local.read_text() == "newer"


def test_names_with_blanks_quotes_and_other_letters_work(connection: Connection, local: Path, remote: Path) -> None:
    local.write_text("x")
    path = remote.with_name("it's a “größe” $HOME.txt")
    push(connection, local, str(path))
    assert path.read_text() == "x"
    pull(connection, str(path), local)


def test_files_that_have_no_size_are_pulled_to_their_end(connection: Connection, local: Path) -> None:
    pull(connection, "/proc/version", local)
    assert local.read_text() == Path("/proc/version").read_text()


Prepare = Callable[[Path, Path], tuple[Path, Path]]


def source_missing(source: Path, destination: Path) -> tuple[Path, Path]:
    return source, destination


def source_is_directory(source: Path, destination: Path) -> tuple[Path, Path]:
    source.mkdir()
    return source, destination


def source_is_fifo(source: Path, destination: Path) -> tuple[Path, Path]:
    os.mkfifo(source)
    return source, destination


def destination_is_directory(source: Path, destination: Path) -> tuple[Path, Path]:
    source.write_text("x")
    destination.mkdir()
    return source, destination


def destination_is_device(source: Path, destination: Path) -> tuple[Path, Path]:
    source.write_text("x")
    return source, Path("/dev/null")


def no_directory_for_destination(source: Path, destination: Path) -> tuple[Path, Path]:
    source.write_text("x")
    return source, destination / "below"


def destination_below_a_file(source: Path, destination: Path) -> tuple[Path, Path]:
    source.write_text("x")
    destination.write_text("x")
    return source, destination / "below"


def destination_not_permitted(source: Path, destination: Path) -> tuple[Path, Path]:
    source.write_text("x")
    destination.parent.chmod(0o555)
    return source, destination


def source_not_permitted(source: Path, destination: Path) -> tuple[Path, Path]:
    source.write_text("x")
    source.chmod(0)
    return source, destination


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (source_missing, "No such file"),
        (source_is_directory, "is a directory, not a regular file"),
        (source_is_fifo, "is a special file, not a regular file"),
        (destination_is_directory, "is a directory; give the whole path"),
        (destination_is_device, "is a special file; give the whole path"),
        (no_directory_for_destination, "No such file"),
        (destination_below_a_file, "No such file|Not a directory|Failure"),
        pytest.param(destination_not_permitted, "Permission denied", marks=needs_permissions),
        pytest.param(source_not_permitted, "Permission denied", marks=needs_permissions),
    ],
)
@pytest.mark.parametrize("direction", ["push", "pull"])
def test_what_cannot_be_copied_is_named_with_both_paths_and_leaves_nothing(
    *, connection: Connection, local: Path, remote: Path, direction: str, prepare: Prepare, why: str
) -> None:
    source, destination = prepare(*((local, remote) if direction == "push" else (remote, local)))
    before = sorted(local.parent.iterdir()), sorted(remote.parent.iterdir())
    copy = push if direction == "push" else pull
    with pytest.raises(TransferError, match=why) as raised:
        copy(connection, str(source), str(destination))
    assert str(source) in str(raised.value)
    assert str(destination) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (sorted(local.parent.iterdir()), sorted(remote.parent.iterdir())) == before
    assert Path("/dev/null").is_char_device()


def test_transfer_errors_name_the_side(connection: Connection, local: Path, remote: Path) -> None:
    with pytest.raises(TransferError, match=r"\(here, "):
        push(connection, local, str(remote))
    with pytest.raises(TransferError, match=r"\(on the host\)"):
        pull(connection, str(remote), local)


@pytest.mark.parametrize("size", [MIB + 1, 8 * MIB])
def test_a_full_disk_of_the_host_leaves_the_destination_as_it_was(
    tmp_path: Path, local: Path, remote: Path, size: int
) -> None:
    local.write_bytes(b"x" * size)
    remote.write_text("old")
    with full_disk(tmp_path) as connection, pytest.raises(TransferError, match="is the disk full"):
        push(connection, local, str(remote))
    assert [path.name for path in remote.parent.iterdir()] == [remote.name]
    assert remote.read_text() == "old"


def test_a_full_disk_here_leaves_the_destination_as_it_was(connection: Connection, local: Path, remote: Path) -> None:
    remote.write_bytes(b"x" * 2 * MIB)
    local.write_text("old")
    with file_size_limit(MIB), pytest.raises(TransferError, match=r"too large.*\(here\)"):
        pull(connection, str(remote), local)
    assert [path.name for path in local.parent.iterdir()] == [local.name]
    assert local.read_text() == "old"


def test_a_connection_lost_during_a_transfer_is_a_connection_error(tmp_path: Path, local: Path) -> None:
    local.write_text("x")
    killer = tmp_path / "killer"
    killer.write_text("#!/bin/sh\nkill -9 $PPID\n")
    killer.chmod(0o755)
    with Sshd(tmp_path / "sshd", sftp=f"exec {killer}") as sshd:
        target = Target(sshd.host, sshd.username, sshd.private_key_path, port=sshd.port)
        with Connection(target, HostKeys()) as connection, pytest.raises(SSHConnectionError, match="was lost"):
            push(connection, local, "file")


def test_a_lost_connection_is_opened_again_for_a_transfer(
    own_sshd: Sshd, own_connection: Connection, local: Path, remote: Path
) -> None:
    local.write_text("x")
    own_sshd.drop_connections()
    push(own_connection, local, str(remote))
    assert remote.read_text() == "x"
    own_sshd.restart(new_host_keys=True)
    with pytest.raises(HostKeyError):
        push(own_connection, local, str(remote))


def test_a_transfer_and_commands_share_a_connection(connection: Connection, local: Path, remote: Path) -> None:
    local.write_text("#!/bin/sh\necho ran\n")
    local.chmod(0o700)
    push(connection, local, str(remote))
    assert run(connection, [str(remote)]).stdout == "ran"
