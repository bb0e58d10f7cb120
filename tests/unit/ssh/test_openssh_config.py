from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path

import pytest

from pycloudlib.errors import InvalidArgumentError, PycloudlibError
from pycloudlib.key import KeyPair
from pycloudlib.ssh.openssh_config import quoted, write_known_hosts
from support.plain_instance import PlainInstance
from support.sshd import Sshd, make_key


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


@pytest.fixture
def instance(sshd: Sshd) -> Iterator[PlainInstance]:
    pair = KeyPair(sshd.private_key_path.with_suffix(".pub"), sshd.private_key_path)
    instance = PlainInstance("i-0123456789abcdef0", username=getuser(), key_pair=pair, port=sshd.port)
    yield instance
    instance._ssh.close()


def ssh(config: str, directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = directory / "ssh_config"
    path.write_text(config)
    words = ["ssh", "-F", str(path), "-o", "BatchMode=yes", "i-0123456789abcdef0", *command]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def known_hosts_of(config: str) -> Path:
    (line,) = [line for line in config.splitlines() if "UserKnownHostsFile" in line]
    return Path(line.split(maxsplit=1)[1].strip('"'))


def test_openssh_logs_in_with_the_block(instance: PlainInstance, sshd: Sshd, tmp_path: Path) -> None:
    config = instance.ssh_config()
    done = ssh(config, tmp_path, "echo", "$SSH_CONNECTION")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[2:] == ["127.0.0.1", str(sshd.port)]
    assert known_hosts_of(config).read_text() == f"i-0123456789abcdef0 {sshd.host_key}\n"


def test_block_names_the_login_and_the_key(instance: PlainInstance, sshd: Sshd) -> None:
    lines = instance.ssh_config().splitlines()
    assert lines[:5] == [
        "Host i-0123456789abcdef0",
        "  HostName 127.0.0.1",
        f"  Port {sshd.port}",
        f"  User {getuser()}",
        f"  IdentityFile {sshd.private_key_path}",
    ]


def test_openssh_rejects_another_host_key(instance: PlainInstance, tmp_path: Path) -> None:
    config = instance.ssh_config(tmp_path / "known_hosts")
    other = make_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text().split()
    (tmp_path / "known_hosts").write_text(f"i-0123456789abcdef0 {other[0]} {other[1]}\n")
    done = ssh(config, tmp_path, "true")
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_openssh_reads_paths_with_spaces_and_percent_signs(instance: PlainInstance, tmp_path: Path) -> None:
    directory = tmp_path / "a 100% odd directory"
    directory.mkdir()
    config = instance.ssh_config(directory / "known hosts")
    done = ssh(config, tmp_path, "echo", "there")
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr


def test_relative_path_is_written_as_absolute(
    instance: PlainInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert known_hosts_of(instance.ssh_config("known_hosts")) == tmp_path / "known_hosts"


def test_temporary_file_is_deleted_at_exit() -> None:
    program = (
        "from pycloudlib.ssh.openssh_config import temporary_directory as d; print(d(), d().stat().st_mode & 0o777)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    path, mode = done.stdout.split()
    assert int(mode) == 0o700
    assert not Path(path).exists()


def test_unwritable_file_is_one_error(instance: PlainInstance) -> None:
    with pytest.raises(PycloudlibError, match=r"^cannot write /proc/none/known_hosts: "):
        write_known_hosts(Path("/proc/none/known_hosts"), "i-0123456789abcdef0", instance.host_key())


@pytest.mark.parametrize(("path", "text"), [("/a/b", "/a/b"), ("/a b/c", '"/a b/c"'), ("/a%h/c", "/a%%h/c")], ids=str)
def test_quoted_path_has_no_meaning_to_openssh(path: str, text: str) -> None:
    assert quoted(Path(path)) == text


@pytest.mark.parametrize("path", ['/a"b', "/a\nb"], ids=repr)
def test_path_that_openssh_cannot_read_is_rejected(path: str) -> None:
    with pytest.raises(InvalidArgumentError, match="double quote or a newline"):
        quoted(Path(path))
