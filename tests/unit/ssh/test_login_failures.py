from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from pycloudlib import errors
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.target import Target
from support.sshd import Sshd, make_key

EXPIRED = "Your account has expired; please contact your system administrator.\n"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key", "ed25519")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def refused(target: Target) -> errors.SSHConnectionError:
    with pytest.raises(errors.SSHConnectionError) as caught:
        Connection(target, HostKeys()).open()
    return caught.value


def test_a_host_that_accepts_and_never_answers_is_unresponsive(listener: socket.socket, key: Path) -> None:
    error = refused(Target("127.0.0.1", "me", key, port=listener.getsockname()[1], banner_timeout=0.2))
    assert error.unresponsive


def test_a_host_that_closes_at_once_is_not_unresponsive(listener: socket.socket, key: Path) -> None:
    def close() -> None:
        listener.accept()[0].close()

    closing = threading.Thread(target=close)
    closing.start()
    assert not refused(Target("127.0.0.1", "me", key, port=listener.getsockname()[1])).unresponsive
    closing.join()


def test_a_host_that_refuses_the_connection_is_not_unresponsive(key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not refused(Target("127.0.0.1", "me", key, port=port)).unresponsive


@pytest.mark.parametrize("option", ["KexAlgorithms sntrup761x25519-sha512@openssh.com", "MACs umac-64@openssh.com"])
def test_no_common_algorithm_is_an_error_of_its_own(tmp_path: Path, option: str) -> None:
    ciphers = ["Ciphers aes256-ctr"] if option.startswith("MACs") else []
    with Sshd(tmp_path / "sshd", options=[option, *ciphers]) as sshd:
        error = refused(Target("127.0.0.1", sshd.username, sshd.private_key_path, port=sshd.port))
    assert isinstance(error, errors.SSHNegotiationError)
    assert isinstance(error, paramiko.SSHException)


class ClosingServer(paramiko.ServerInterface):
    """An sshd whose PAM refuses every account: it says why, and hangs up."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport

    def get_banner(self) -> tuple[str, str]:
        return EXPIRED, "en-US"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._transport.sock.shutdown(socket.SHUT_RDWR)
        return int(paramiko.AUTH_FAILED)


def test_pam_message_before_the_disconnect_is_in_the_error(listener: socket.socket, key: Path, tmp_path: Path) -> None:
    host_key = paramiko.Ed25519Key.from_private_key_file(str(make_key(tmp_path / "host", "ed25519")))

    def serve() -> None:
        transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(host_key)
        transport.start_server(server=ClosingServer(transport))
        transport.join()

    serving = threading.Thread(target=serve)
    serving.start()
    error = refused(Target("127.0.0.1", "me", key, port=listener.getsockname()[1]))
    serving.join()
    assert str(error).endswith(f"as me: the host closed the connection: {EXPIRED.strip()}")
