from __future__ import annotations

import io
import os
import re
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycloudlib.errors import SSHConnectionError, TransferError
from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.tree import PIECE_SIZE, pull_tree, push_tree
from support.sshd import Sshd, sftp_server_program

MIB = 1024 * 1024
NOT_UTF8 = os.fsdecode(b"not utf-8 \xff\xfe")

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


@contextmanager
def host(directory: Path, *tools: str, **programs: str) -> Iterator[Connection]:
    """A host that has these programs of this machine, and these scripts, and no others."""
    folder = directory / "bin"
    folder.mkdir()
    for tool in ("sh", "mkdir", "chmod", "cat", "head", "grep", *tools):
        found = shutil.which(tool)
        assert found, f"these tests need {tool}"
        (folder / tool).symlink_to(found)
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    force = f'ForceCommand PATH={folder}; export PATH; eval "$SSH_ORIGINAL_COMMAND"'
    sftp = sftp_server_program()
    with Sshd(directory / "sshd", options=[force], sftp=sftp) as sshd:
        target = Target(sshd.host, sshd.username, sshd.private_key_path, port=sshd.port)
        with Connection(target, HostKeys()) as connection:
            yield connection


@pytest.fixture(scope="module")
def with_tar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with host(tmp_path_factory.mktemp("with-tar"), "tar") as connection:
        yield connection


@pytest.fixture(scope="module")
def without_tar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with host(tmp_path_factory.mktemp("without-tar")) as connection:
        yield connection


@pytest.fixture(params=["with_tar", "without_tar"])
def connection(request: pytest.FixtureRequest) -> Connection:
    """A host with tar, and one that has SFTP only: what they do is the same."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "here"
    path.mkdir()
    return path


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


Transfer = Callable[[Path, Path], None]


@pytest.fixture(params=["push", "pull"])
def transfer(request: pytest.FixtureRequest, connection: Connection) -> Transfer:
    """Both directions: what they do is the same."""
    if request.param == "push":
        return lambda source, target: push_tree(connection, source, str(target))
    return lambda source, target: pull_tree(connection, str(source), target)


def described(root: Path) -> dict[str, object]:
    """What a directory holds: modes, contents and targets of links, by name."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name, mode = str(path.relative_to(root)), stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = (mode, "a directory" if path.is_dir() else path.read_bytes())
    return found


def fill(root: Path) -> None:
    """Make one of everything that is copied."""
    (root / "a b's “größe”\n$HOME").write_text("x")
    (root / "-option").write_text("x")
    (root / ".hidden").write_text("x")
    (root / "empty").touch()
    (root / "empty folder").mkdir()
    (root / "private").mkdir(mode=0o700)
    (root / "private" / "key").write_text("secret")
    (root / "private" / "key").chmod(0o600)
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    (root / "read only").mkdir()
    (root / "read only" / "file").write_text("x")
    (root / "read only" / "file").chmod(0o444)
    (root / "read only").chmod(0o555)
    (root / "link").symlink_to("program")
    (root / "dangling").symlink_to("nowhere")
    (root / "empty folder" / "up").symlink_to("../private/key")
    (root / "to folder").symlink_to("private")
    deep = root.joinpath(*["long name " * 10] * 6)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")


def test_a_tree_goes_over_as_it_is(transfer: Transfer, here: Path, there: Path) -> None:
    fill(here)
    transfer(here, there)
    assert described(there) == described(here)


@pytest.mark.parametrize("size", [1, 511, 512, PIECE_SIZE - 512, PIECE_SIZE, PIECE_SIZE + 1, 20 * MIB + 7])
def test_files_of_any_size_go_over_unchanged(transfer: Transfer, here: Path, there: Path, size: int) -> None:
    (here / "first").write_bytes(os.urandom(size))
    (here / "second").write_bytes(b"second")
    transfer(here, there)
    assert described(there) == described(here)


def test_names_that_are_not_utf8_go_over_with_tar(with_tar: Connection, here: Path, there: Path) -> None:
    (here / NOT_UTF8).write_text("x")
    (here / "link").symlink_to(NOT_UTF8)
    push_tree(with_tar, here, str(there))
    assert described(there) == described(here)
    pull_tree(with_tar, str(there), here.with_name("back"))
    assert described(here.with_name("back")) == described(here)


def test_names_that_are_not_utf8_are_refused_without_tar(without_tar: Connection, here: Path, there: Path) -> None:
    (here / NOT_UTF8).write_text("x")
    with pytest.raises(TransferError, match="a name is not UTF-8, which SFTP needs"):
        push_tree(without_tar, here, str(there))
    with pytest.raises(TransferError, match="a name is not UTF-8, which SFTP needs"):
        pull_tree(without_tar, str(here), here.with_name("back"))


def test_directories_may_have_odd_names_too(transfer: Transfer, tmp_path: Path) -> None:
    source, target = tmp_path / "it's -x", tmp_path / "-x $HOME"
    source.mkdir()
    (source / "file").write_text("x")
    transfer(source, target)
    assert described(target) == described(source)


def test_parents_are_made_and_a_new_directory_gets_the_mode(transfer: Transfer, here: Path, there: Path) -> None:
    (here / "file").write_text("x")
    here.chmod(0o700)
    transfer(here, there / "new" / "one")
    assert described(there / "new" / "one") == described(here)
    assert stat.S_IMODE((there / "new" / "one").stat().st_mode) == 0o700


def test_what_is_there_stays_unless_it_has_the_same_name(transfer: Transfer, here: Path, there: Path) -> None:
    (here / "both").mkdir()
    (here / "both" / "same").write_text("new")
    (here / "link").symlink_to("both")
    (there / "both").mkdir(parents=True)
    (there / "both" / "same").write_text("old")
    (there / "both" / "other").write_text("other")
    (there / "link").write_text("a file")
    there.chmod(0o711)
    transfer(here, there)
    assert (there / "both" / "same").read_text() == "new"
    assert (there / "both" / "other").read_text() == "other"
    assert (there / "link").is_symlink()
    assert stat.S_IMODE(there.stat().st_mode) == 0o711


def test_an_empty_directory_is_one_there(transfer: Transfer, here: Path, there: Path) -> None:
    transfer(here, there)
    assert list(there.iterdir()) == []


def test_relative_paths_begin_at_home(connection: Connection, here: Path) -> None:
    (here / "file").write_text("x")
    push_tree(connection, here, "below/home")
    pull_tree(connection, "below/home", here.with_name("back"))
    assert described(here.with_name("back")) == described(here)


def test_times_of_files_are_kept_with_tar(with_tar: Connection, here: Path, there: Path) -> None:
    (here / "old").write_text("x")
    os.utime(here / "old", (1_000_000_000, 1_000_000_000))
    push_tree(with_tar, here, str(there))
    pull_tree(with_tar, str(there), here.with_name("back"))
    assert (there / "old").stat().st_mtime == 1_000_000_000
    assert (here.with_name("back") / "old").stat().st_mtime == 1_000_000_000


def test_hard_links_are_files_there(transfer: Transfer, here: Path, there: Path) -> None:
    (here / "one").write_text("x")
    (here / "two").hardlink_to(here / "one")
    transfer(here, there)
    assert described(there) == described(here)


def test_what_is_neither_file_nor_directory_is_left_out_with_a_warning(
    transfer: Transfer, here: Path, there: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "file").write_text("x")
    os.mkfifo(here / "pipe")
    monkeypatch.chdir(here)  # A socket's path has a hundred characters at most.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        transfer(here, there)
    assert [path.name for path in there.iterdir()] == ["file"]
    assert re.search("skipping .*pipe: it is not a file", caplog.text)
    assert "socket" in caplog.text


def test_links_that_lead_out_are_pushed_and_not_pulled(
    connection: Connection, here: Path, there: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "in").symlink_to("../file")
    (here / "folder" / "out").symlink_to("../../file")
    (here / "absolute").symlink_to("/etc/hostname")
    (here / "parent").symlink_to("..")
    push_tree(connection, here, str(there))
    assert described(there) == described(here)
    pull_tree(connection, str(there), here.with_name("back"))
    assert sorted(described(here.with_name("back"))) == ["folder", "folder/in"]
    assert "absolute: it is a link that leads out of the directory, to /etc/hostname" in caplog.text


def test_programs_of_another_user_do_not_become_so_here(connection: Connection, here: Path, there: Path) -> None:
    (there / "folder").mkdir(parents=True)
    (there / "folder").chmod(0o2775)
    (there / "program").write_text("x")
    (there / "program").chmod(0o4755)
    pull_tree(connection, str(there), here)
    assert stat.S_IMODE((here / "program").stat().st_mode) == 0o755
    assert stat.S_IMODE((here / "folder").stat().st_mode) == 0o775


def test_a_link_to_a_directory_there_is_followed_by_a_push(with_tar: Connection, here: Path, there: Path) -> None:
    (here / "lib").mkdir()
    (here / "lib" / "new").write_text("x")
    (there / "usr").mkdir(parents=True)
    (there / "lib").symlink_to("usr")
    push_tree(with_tar, here, str(there))
    assert (there / "lib").is_symlink()
    assert (there / "usr" / "new").read_text() == "x"


def test_a_link_to_a_directory_here_is_not_followed_by_a_pull(connection: Connection, here: Path, there: Path) -> None:
    (there / "folder").mkdir(parents=True)
    (there / "folder" / "file").write_text("x")
    outside = here.with_name("outside")
    outside.mkdir()
    (here / "folder").symlink_to(outside)
    with pytest.raises(TransferError, match="folder is a symbolic link here, which is not followed"):
        pull_tree(connection, str(there), here)
    assert list(outside.iterdir()) == []


# What a host could send on purpose


def archive_of(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(mode="w", fileobj=buffer) as archive:
        for member in members:
            content = b"evil" if member.isreg() else b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member_of(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@contextmanager
def sender(directory: Path, archive: bytes, then: str = "") -> Iterator[Connection]:
    """A host whose tar sends this."""
    (directory / "archive").write_bytes(archive)
    with host(directory, tar=f"cat {directory}/archive; {then}") as connection:
        yield connection


@pytest.mark.parametrize(
    "members",
    [
        [member_of("../evil")],
        [member_of("./folder/../../evil")],
        [member_of("/{outside}/evil")],
        [member_of("folder/..", tarfile.DIRTYPE), member_of("evil")],
        [member_of("link", tarfile.LNKTYPE, "../secret")],
        [member_of("link", tarfile.LNKTYPE, "/etc/passwd")],
        [member_of("folder", tarfile.DIRTYPE), member_of("in", tarfile.SYMTYPE, "folder"), member_of("in/evil")],
        [member_of(".")],
        [member_of("file"), member_of("file/evil")],
        [member_of("folder", tarfile.DIRTYPE), member_of("folder", tarfile.SYMTYPE, "x")],
    ],
    ids=lambda members: " ".join(f"{member.name},{member.linkname}" for member in members),
)
def test_nothing_is_written_where_it_does_not_belong(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    inside = tmp_path / "outside" / "inside"
    inside.mkdir(parents=True)
    (tmp_path / "outside" / "secret").write_text("secret")
    for member in members:
        member.name = member.name.format(outside=tmp_path / "outside")
    with sender(tmp_path, archive_of(*members)) as connection, pytest.raises(TransferError) as raised:
        pull_tree(connection, "/", inside)
    assert "\n" not in str(raised.value)
    assert sorted(path.name for path in inside.parent.iterdir()) == ["inside", "secret"]
    assert not list(inside.rglob("evil"))
    assert not list(inside.rglob(".*.part"))


def test_a_link_that_leads_out_is_no_way_out(tmp_path: Path) -> None:
    inside = tmp_path / "outside" / "inside"
    archive = archive_of(member_of("out", tarfile.SYMTYPE, ".."), member_of("out/evil"))
    with sender(tmp_path, archive) as connection:
        pull_tree(connection, "/", inside)
    assert [path.name for path in inside.parent.iterdir()] == ["inside"]
    assert (inside / "out").is_dir()


@pytest.mark.parametrize("archive", [b"", b"no archive" * 100, archive_of(member_of("file"))[:514]])
def test_what_is_no_archive_is_an_error(tmp_path: Path, archive: bytes) -> None:
    with sender(tmp_path, archive) as connection, pytest.raises(TransferError, match="the archive is invalid"):
        pull_tree(connection, "/", tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_tar_that_fails_gives_its_reason(tmp_path: Path) -> None:
    with (
        sender(tmp_path, b"", then="echo 'tar: out of memory' >&2; exit 2") as connection,
        pytest.raises(TransferError, match=r"tar: out of memory \(on the host\)"),
    ):
        pull_tree(connection, "/", tmp_path / "here")


def test_a_file_that_changes_as_gnu_tar_reads_it_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    then = '[ "$1" != --version ] || echo GNU; echo "tar: ./file: file changed as we read it" >&2; exit 1'
    with sender(tmp_path, archive_of(member_of("file")), then=then) as connection:
        pull_tree(connection, "/", tmp_path / "here")
    assert (tmp_path / "here" / "file").read_text() == "evil"
    assert "file changed as we read it" in caplog.text


def test_any_complaint_of_another_tar_is_an_error(tmp_path: Path) -> None:
    then = 'echo "tar: ./file: Permission denied" >&2; exit 1'
    with (
        sender(tmp_path, archive_of(member_of("file")), then=then) as connection,
        pytest.raises(TransferError, match="Permission denied"),
    ):
        pull_tree(connection, "/", tmp_path / "here")


# What goes wrong


def missing(path: Path) -> None:
    path.rmdir()


def a_file(path: Path) -> None:
    path.rmdir()
    path.write_text("x")


@pytest.mark.parametrize(("prepare", "why"), [(missing, "No such"), (a_file, "(is not a|Not a) directory")])
def test_a_source_that_is_no_directory_is_named_and_nothing_is_made(
    transfer: Transfer, here: Path, there: Path, prepare: Callable[[Path], None], why: str
) -> None:
    prepare(here)
    with pytest.raises(TransferError, match=why) as raised:
        transfer(here, there)
    assert str(here) in str(raised.value)
    assert str(there) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not there.exists()


def test_a_destination_that_is_a_file_is_an_error(transfer: Transfer, here: Path, there: Path) -> None:
    there.write_text("x")
    with pytest.raises(TransferError, match="File exists"):
        transfer(here, there)
    assert there.read_text() == "x"


def test_a_file_where_a_directory_belongs_is_no_way_around(connection: Connection, here: Path, there: Path) -> None:
    (there / "name").mkdir(parents=True)
    (here / "name").write_text("x")
    with pytest.raises(TransferError, match="name is not a directory here, but it is one on the host"):
        pull_tree(connection, str(there), here)


def test_a_directory_where_a_file_belongs_is_an_error(connection: Connection, here: Path, there: Path) -> None:
    (here / "name" / "inner").mkdir(parents=True)
    there.mkdir()
    (there / "name").write_text("x")
    with pytest.raises(TransferError, match="name is a directory here, but not on the host"):
        pull_tree(connection, str(there), here)
    assert (here / "name" / "inner").is_dir()


@needs_permissions
def test_what_may_not_be_read_or_written_is_an_error(transfer: Transfer, here: Path, there: Path) -> None:
    (here / "secret").write_text("x")
    (here / "secret").chmod(0)
    with pytest.raises(TransferError, match="Permission denied"):
        transfer(here, there)
    (here / "secret").unlink()
    (here / "file").write_text("x")
    there.chmod(0o555)
    with pytest.raises(TransferError, match="Permission denied"):
        transfer(here, there)


@pytest.mark.parametrize("size", [2 * MIB, 20 * MIB])
def test_a_full_disk_of_the_host_is_an_error(tmp_path: Path, here: Path, size: int) -> None:
    (here / "big").write_bytes(b"x" * size)
    tar = shutil.which("tar")
    script = f"trap '' XFSZ\nulimit -f 1024\nexec {tar} \"$@\""
    with (
        host(tmp_path, tar=script) as connection,
        pytest.raises(TransferError, match=r"big: .*(too large|Wrote only).*\(on the host\)") as raised,
    ):
        push_tree(connection, here, str(tmp_path / "there"))
    assert "\n" not in str(raised.value)


def test_a_full_disk_here_is_an_error(connection: Connection, here: Path, there: Path) -> None:
    there.mkdir()
    (there / "big").write_bytes(b"x" * 2 * MIB)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        with pytest.raises(TransferError, match=r"too large.*\(here\)"):
            pull_tree(connection, str(there), here)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(here.iterdir()) == []


def test_a_tar_that_ends_early_does_not_end_the_connection(tmp_path: Path, here: Path) -> None:
    (here / "big").write_bytes(b"x" * 8 * MIB)
    with host(tmp_path, tar="echo 'tar: no' >&2; exit 2") as connection:
        with pytest.raises(TransferError, match=r"tar: no \(on the host\)"):
            push_tree(connection, here, str(tmp_path / "there"))
        assert connection.is_alive


def test_a_connection_lost_meanwhile_is_a_connection_error(tmp_path: Path, here: Path) -> None:
    (here / "file").write_text("x")
    # Whoever is above it: shells, and then the sshd of this connection.
    script = (
        "pid=$PPID; until grep -q ^sshd /proc/$pid/comm; do read -r _ _ _ pid _ </proc/$pid/stat; done; kill -9 $pid"
    )
    with (
        host(tmp_path, tar=script) as connection,
        pytest.raises(SSHConnectionError, match=r"cannot push .* the connection was lost"),
    ):
        push_tree(connection, here, str(tmp_path / "there"))


def test_a_file_that_becomes_shorter_is_an_error(with_tar: Connection, there: Path) -> None:
    # The files of /sys say that they have a page, and have less.
    with pytest.raises(TransferError, match="became shorter while it was read"):
        push_tree(with_tar, "/sys/kernel/mm", str(there))


MEMORY = """
import resource, sys
from pathlib import Path
from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.tree import pull_tree, push_tree
host, port, user, key, here, there, back = sys.argv[1:]
with Connection(Target(host, user, Path(key), port=int(port)), HostKeys()) as connection:
    connection.open()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    push_tree(connection, here, there)
    pull_tree(connection, there, back)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_size(sshd: Sshd, here: Path, there: Path, tmp_path: Path) -> None:
    with (here / "big").open("wb") as file:
        file.truncate(200 * MIB)
    arguments = [sshd.host, str(sshd.port), sshd.username, sshd.private_key_path, here, there, tmp_path / "back"]
    done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50 * 1024
    assert (tmp_path / "back" / "big").stat().st_size == 200 * MIB
