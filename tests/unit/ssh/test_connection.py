from __future__ import annotations

import gc
import logging
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import paramiko
import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import (
    HostKeyError,
    InvalidArgumentError,
    KeyPairError,
    SSHAuthenticationError,
    SSHConnectionError,
    SSHError,
)
from pycloudlib.ssh import connection as connection_module
from pycloudlib.ssh import transport as transport_module
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection, State, Target
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.private_key import load_private_key
from pycloudlib.ssh.transport import IDLE_INTERVAL, LOG_NAME, READ_AHEAD_SIZE
from pycloudlib.waiting import wait_until
from support.sshd import Sshd, make_key


def connect(target: Target, host_keys: HostKeys | None = None) -> Connection:
    """A connection that is open, or the error, in which case nothing is left of it."""
    connection = Connection(target, host_keys or HostKeys())
    connection.open()
    return connection


def resources() -> tuple[set[threading.Thread], int]:
    return set(threading.enumerate()), len(list(Path("/proc/self/fd").iterdir()))


class Closeable(Protocol):
    def close(self) -> object: ...


@contextmanager
def nothing_left() -> Iterator[None]:
    before = resources()
    yield
    # A timer that was cancelled needs a moment to end.
    wait_until(
        lambda: resources() == before,
        what="threads and sockets to end",
        deadline=Deadline.after(60),
        last_seen=resources,
    )


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server that is no sshd: it gives its one visitor this answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            visitor, _ = listener.accept()
            with visitor:
                answer(visitor)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[:2]
        thread.join(10)


def close_at_once(visitor: socket.socket) -> None:
    visitor.recv(1)


def reset(visitor: socket.socket) -> None:
    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def speak_http(visitor: socket.socket) -> None:
    visitor.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    close_when_left(visitor)


def say_nothing(visitor: socket.socket) -> None:
    close_when_left(visitor)


def close_during_key_exchange(visitor: socket.socket) -> None:
    visitor.sendall(b"SSH-2.0-Test\r\n")
    visitor.recv(1)


def send_garbage_during_key_exchange(visitor: socket.socket) -> None:
    visitor.sendall(b"SSH-2.0-Test\r\n" + b"\xff" * 4096)
    close_when_left(visitor)


def close_when_left(visitor: socket.socket) -> None:
    try:
        while visitor.recv(4096):
            pass
    except ConnectionError:
        pass


def test_a_connection_is_new_then_open_then_closed(target: Target) -> None:
    connection = Connection(target, HostKeys())
    assert (connection.state, connection.is_alive) == (State.NEW, False)
    connection.open()
    assert (connection.state, connection.is_alive) == (State.OPEN, True)
    transport = connection.transport
    connection.open()
    assert connection.transport is transport
    connection.close()
    connection.close()
    assert (connection.state, connection.is_alive) == (State.CLOSED, False)
    assert not transport.is_active()


def test_a_closed_connection_is_not_opened_again(target: Target) -> None:
    with Connection(target, HostKeys()) as connection:
        pass
    with pytest.raises(SSHError, match=r"is closed, and cannot be opened again"):
        connection.open()
    with pytest.raises(SSHError, match="is closed"):
        run(connection, "true")


def test_the_first_use_opens_it(target: Target) -> None:
    connection = Connection(target, HostKeys())
    assert run(connection, "echo hi").stdout == "hi"
    connection.close()


def test_closing_leaves_neither_thread_nor_socket(target: Target) -> None:
    with nothing_left(), Connection(target, HostKeys()) as connection:
        run(connection, "cat", stdin=b"x", deadline=Deadline.after(60))


@pytest.mark.parametrize(("keepalive", "seconds"), [(15.0, IDLE_INTERVAL), (0.0, IDLE_INTERVAL), (1.0, 0.5)])
def test_an_idle_connection_is_looked_at_no_more_often_than_its_signs_of_life_need(
    target: Target, keepalive: float, seconds: float
) -> None:
    with connect(replace(target, keepalive=keepalive)) as connection:
        assert connection.transport.sock.gettimeout() == seconds
        assert run(connection, "echo hi").stdout == "hi"


def test_its_socket_has_no_delay_its_cipher_is_gcm_and_a_dead_host_is_noticed(connection: Connection) -> None:
    sock = connection.transport.sock
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
    assert "gcm" in repr(connection.transport)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (close_at_once, "banner"),
        (reset, "reset|the host closed the connection"),
        (speak_http, "Indecipherable protocol version|banner"),
        (say_nothing, "banner"),
        (close_during_key_exchange, "the host closed the connection|reset"),
        (send_garbage_during_key_exchange, "packet"),
    ],
)
def test_what_is_no_sshd_is_a_connection_error_and_leaves_nothing(
    answer: Callable[[socket.socket], None], why: str, target: Target
) -> None:
    with nothing_left(), server(answer) as (host, port), pytest.raises(SSHConnectionError, match=why) as raised:
        connect(replace(target, host=host, port=port, banner_timeout=0.3 if answer is say_nothing else 60))
    assert str(raised.value).startswith(f"cannot connect to {host}:{port}: ")


@pytest.fixture
def paramiko_loggers() -> Iterator[tuple[logging.Logger, logging.Logger]]:
    """The logger of all of paramiko, and that of this library's connections, as they are in a new process."""
    loggers = logging.getLogger("paramiko"), logging.getLogger(LOG_NAME)
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
    yield loggers
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def logged_by_paramiko(target: Target, caplog: pytest.LogCaptureFixture) -> list[int]:
    """Fail to connect once, connect once, and return the levels of what paramiko logs."""
    caplog.set_level(logging.DEBUG)
    with server(send_garbage_during_key_exchange) as (host, port), pytest.raises(SSHConnectionError):
        connect(replace(target, host=host, port=port))
    with Connection(target, HostKeys()) as connection:
        run(connection, "true")
    return [record.levelno for record in caplog.records if record.name.startswith("paramiko")]


@pytest.mark.usefixtures("paramiko_loggers")
def test_paramiko_logs_nothing_of_its_own_accord(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    assert logged_by_paramiko(target, caplog) == []


def test_paramiko_logs_nothing_when_its_level_is_raised(
    target: Target, caplog: pytest.LogCaptureFixture, paramiko_loggers: tuple[logging.Logger, logging.Logger]
) -> None:
    # pycloudlib's users do so to see less.
    paramiko_loggers[0].setLevel(logging.INFO)
    assert logged_by_paramiko(target, caplog) == []


@pytest.mark.parametrize("which", [0, 1])
def test_paramiko_logs_at_the_configured_level(
    target: Target,
    caplog: pytest.LogCaptureFixture,
    paramiko_loggers: tuple[logging.Logger, logging.Logger],
    which: int,
) -> None:
    paramiko_loggers[which].setLevel(logging.DEBUG)
    assert {logging.DEBUG, logging.ERROR} <= set(logged_by_paramiko(target, caplog))


def test_a_refused_connection_names_address_and_reason(own_sshd: Sshd, target: Target) -> None:
    own_sshd.stop()
    address = f"{own_sshd.host}:{own_sshd.port}"
    with nothing_left(), pytest.raises(SSHConnectionError, match=f"cannot connect to {address}: Connection refused"):
        connect(replace(target, host=own_sshd.host, port=own_sshd.port))


def test_connection_timeout_contains_its_duration(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        host, port = listener.getsockname()[:2]
        # Its queue is full after these, so that the kernel lets further ones wait.
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((host, port))
        with pytest.raises(SSHConnectionError, match=r"no answer within 0\.3 s"):
            connect(replace(target, host=host, port=port, connect_timeout=0.3))
        for each in waiting:
            each.close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "bad..name"])
def test_a_host_that_has_no_address_is_a_connection_error(host: str, target: Target) -> None:
    with pytest.raises(SSHConnectionError, match="cannot connect to"):
        connect(replace(target, host=host))


@pytest.mark.parametrize("change", [{"host": ""}, {"username": ""}, {"port": 0}, {"port": 65536}])
def test_impossible_targets_are_refused(change: dict[str, object], target: Target) -> None:
    with pytest.raises(InvalidArgumentError):
        replace(target, **change)  # type: ignore[arg-type]


def test_a_refused_key_names_user_host_and_path_but_not_the_key(target: Target, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger", "ed25519")
    with nothing_left(), pytest.raises(SSHAuthenticationError) as raised:
        connect(replace(target, private_key_path=stranger))
    message = str(raised.value)
    assert all(part in message for part in (target.username, target.address, str(stranger)))
    assert stranger.read_text().splitlines()[1] not in message


def test_no_other_key_is_offered_than_the_one_given(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_bytes(target.private_key_path.read_bytes())
    (home / ".ssh" / "id_ed25519").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    stranger = make_key(tmp_path / "stranger", "ed25519")
    with pytest.raises(SSHAuthenticationError):
        connect(replace(target, private_key_path=stranger))


@pytest.mark.parametrize(
    ("key_type", "options"),
    [
        ("ed25519", ()),
        ("rsa", ()),
        ("rsa", ("-m", "PEM")),
        ("rsa", ("-m", "PKCS8")),
        ("ecdsa", ()),
        ("ecdsa", ("-m", "PEM", "-b", "384")),
        ("ecdsa", ("-m", "PKCS8", "-b", "521")),
    ],
)
def test_every_kind_of_key_logs_in(key_type: str, options: tuple[str, ...], own_sshd: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key", key_type, *options)
    with own_sshd.authorized_keys_path.open("a") as authorized_keys:
        authorized_keys.write(key.with_suffix(".pub").read_text())
    connect(Target(own_sshd.host, own_sshd.username, key, port=own_sshd.port)).close()


def test_a_certificate_beside_the_key_is_left_alone(target: Target, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(target.private_key_path.read_bytes())
    key.chmod(0o600)
    key.with_suffix(".pub").write_bytes(target.private_key_path.with_suffix(".pub").read_bytes())
    authority = make_key(tmp_path / "authority", "ed25519")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "somebody", "-n", "nobody", str(key.with_suffix(".pub"))]
    subprocess.run(sign, check=True)
    assert (tmp_path / "key-cert.pub").exists()
    connect(replace(target, private_key_path=key)).close()


def missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def garbage(path: Path) -> None:
    path.write_text("hunter2\n")


def truncated(path: Path) -> None:
    make_key(path, "ed25519")
    path.write_text(path.read_text()[:200] + "\n-----END OPENSSH PRIVATE KEY-----\n")


def public(path: Path) -> None:
    path.write_text(make_key(path, "ed25519").with_suffix(".pub").read_text())


def protected(path: Path) -> None:
    make_key(path, "ed25519", passphrase="hunter2")


def protected_pem(path: Path) -> None:
    make_key(path, "rsa", "-m", "PEM", passphrase="hunter2")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (missing, "cannot be read: No such file or directory"),
        (Path.mkdir, "cannot be read: Is a directory"),
        (garbage, "is not a private key in OpenSSH's or PEM format"),
        (truncated, "is damaged, or of an unsupported type"),
        (public, "is a public key"),
        (protected, "has a passphrase"),
        (protected_pem, "has a passphrase"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_before_connecting(
    make: Callable[[Path], None], why: str, tmp_path: Path, target: Target
) -> None:
    path = tmp_path / "unusable"
    make(path)
    # Nothing listens on this port: connecting would be another error.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(KeyPairError, match=why) as raised:
        connect(replace(target, private_key_path=path, port=port))
    assert str(path) in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_host_key_is_verified_before_authentication(own_sshd: Sshd, tmp_path: Path) -> None:
    host_keys = HostKeys("console")
    host_keys.learn([make_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()])
    target = Target(own_sshd.host, "somebody-else", own_sshd.private_key_path, port=own_sshd.port)
    with nothing_left(), pytest.raises(HostKeyError, match=target.address):
        connect(target, host_keys)
    own_sshd.stop()
    assert "Connection from" in own_sshd.log
    assert "somebody-else" not in own_sshd.log


def test_known_host_key_type_is_preferred(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", host_key_types=("ed25519", "ecdsa", "rsa")) as own:
        target = Target(own.host, own.username, own.private_key_path, port=own.port)
        for known in own.host_keys:
            host_keys = HostKeys("console")
            host_keys.learn([known])
            with connect(target, host_keys) as connection:
                assert connection.transport.get_remote_server_key().get_base64() == known.split()[1]


def test_a_lost_connection_is_opened_again_by_the_next_use(own_sshd: Sshd, own_connection: Connection) -> None:
    first = own_connection.transport
    own_sshd.drop_connections()
    assert run(own_connection, "echo back").stdout == "back"
    assert own_connection.transport is not first
    own_sshd.restart()
    assert run(own_connection, "echo back").stdout == "back"
    assert own_connection.state is State.OPEN


def test_a_host_that_comes_back_with_another_key_is_refused(own_sshd: Sshd, own_connection: Connection) -> None:
    own_sshd.restart(new_host_keys=True)
    with pytest.raises(HostKeyError, match=r"was ssh-ed25519 SHA256:.* is ssh-ed25519 SHA256:"):
        run(own_connection, "true")
    own_connection.host_keys.forget()
    assert run(own_connection, "echo back").stdout == "back"


def test_a_host_that_does_not_come_back_is_a_connection_error(own_sshd: Sshd, own_connection: Connection) -> None:
    own_sshd.stop()
    with pytest.raises(SSHConnectionError, match="cannot connect to"):
        run(own_connection, "true")
    own_sshd.start()
    assert run(own_connection, "echo back").stdout == "back"


def test_many_threads_run_commands_at_once_and_each_gets_its_own_output(connection: Connection) -> None:
    def number(n: int) -> str:
        return run(connection, ["sh", "-c", "cat; echo $0 >&2", str(n)], stdin=f"{n}").stdout

    with ThreadPoolExecutor(30) as threads:
        assert list(threads.map(number, range(90))) == [str(n) for n in range(90)]


def test_many_threads_open_a_lost_connection_once(own_sshd: Sshd, own_connection: Connection) -> None:
    own_sshd.drop_connections()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda n: run(own_connection, f"echo {n}").stdout, range(8))) == list("01234567")
    assert own_sshd.log.count("Accepted publickey") == 2


def test_rejected_session_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "REFUSAL_TIMEOUT", 0.1)
    with Sshd(tmp_path / "sshd", options=["MaxSessions 0"]) as own:
        target = Target(own.host, own.username, own.private_key_path, port=own.port)
        with (
            connect(target) as connection,
            pytest.raises(SSHConnectionError, match="did not open a session: too many sessions"),
        ):
            run(connection, "true")


def test_closing_ends_the_commands_that_run(own_connection: Connection, tmp_path: Path) -> None:
    marker = tmp_path / "started"
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run, own_connection, ["sh", "-c", "touch $0; sleep 60", str(marker)])
        wait_until(marker.exists, what="the command to start", deadline=Deadline.after(30))
        own_connection.close()
        with pytest.raises(SSHConnectionError, match="was lost while a command ran"):
            running.result(timeout=30)


def test_ipv6_addresses_work(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", listen="::1") as own:
        target = Target(own.host, own.username, own.private_key_path, port=own.port)
        assert target.address == f"[::1]:{own.port}"
        with connect(target) as connection:
            assert run(connection, "echo six").stdout == "six"


def test_only_the_configured_key_is_offered_and_no_known_hosts_read_or_written(
    own_sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    # Everything that would let it in, or keep it out, if it were looked at.
    for suffix in ("", ".pub"):
        usual = home / ".ssh" / f"id_ed25519{suffix}"
        usual.write_bytes(own_sshd.private_key_path.with_name(own_sshd.private_key_path.name + suffix).read_bytes())
        usual.chmod(0o600)
    known_hosts = home / ".ssh" / "known_hosts"
    elsewhere = make_key(tmp_path / "elsewhere", "ed25519").with_suffix(".pub").read_text()
    known_hosts.write_text(f"[{own_sshd.host}]:{own_sshd.port} {elsewhere}")
    before = known_hosts.read_bytes(), known_hosts.stat().st_mtime_ns
    agent = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(agent))
        listener.listen()
        listener.setblocking(False)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        target = Target(own_sshd.host, own_sshd.username, own_sshd.private_key_path, port=own_sshd.port)
        connect(target).close()
        with pytest.raises(SSHAuthenticationError):
            connect(replace(target, private_key_path=make_key(tmp_path / "wrong", "ed25519")))
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (known_hosts.read_bytes(), known_hosts.stat().st_mtime_ns) == before
    assert sorted(path.name for path in (home / ".ssh").iterdir()) == ["id_ed25519", "id_ed25519.pub", "known_hosts"]


def test_idle_connection_holds_no_receive_buffer(target: Target) -> None:
    tracemalloc.start()
    try:
        with connect(target) as connection:
            run(connection, "true")
            (thread,) = (thread for thread in threading.enumerate() if thread is connection.transport)
            wait_until(
                lambda: sys._current_frames()[thread.ident or 0].f_code.co_name in ("_received", "recv"),
                what="the thread of the transport to be idle",
                deadline=Deadline.after(60),
            )
            held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, transport_module.__file__)])
    finally:
        tracemalloc.stop()
    assert sum(statistic.size for statistic in held.statistics("filename")) < READ_AHEAD_SIZE


def memory_per_connection(open_one: Callable[[], Closeable]) -> float:
    """Bytes of Python objects that each of several connections holds, with everything that is shared loaded before."""
    connections = [open_one()]
    count = 10
    gc.collect()
    tracemalloc.start()
    try:
        connections += [open_one() for _ in range(count)]
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for connection in connections:
            connection.close()
    return held / count


def test_open_connection_takes_less_memory_than_bare_paramiko(target: Target) -> None:
    private_key = load_private_key(target.private_key_path)

    def bare() -> Closeable:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(
            target.host, target.port, target.username, pkey=private_key, allow_agent=False, look_for_keys=False
        )
        client.exec_command("true")[1].read()
        return client

    def ours() -> Closeable:
        connection = connect(target)
        run(connection, "true", deadline=Deadline.after(60))
        return connection

    assert memory_per_connection(ours) < memory_per_connection(bare)


def test_key_exchange_takes_no_thread_beside_that_of_the_connection(target: Target) -> None:
    seen: list[list[threading.Thread]] = []
    before = threading.enumerate()

    def look_during_key_exchange(visitor: socket.socket) -> None:
        visitor.sendall(b"SSH-2.0-Test\r\n")
        with visitor.makefile("rb") as received:
            # The version, and the first byte of KEXINIT, which may arrive together.
            received.readline()
            received.read(1)
        seen.append(threading.enumerate())

    with server(look_during_key_exchange) as (host, port), pytest.raises(SSHConnectionError):
        connect(replace(target, host=host, port=port))
    assert not [thread for thread in seen[0] if isinstance(thread, threading.Timer) and thread not in before]


def test_output_after_the_end_of_a_session_is_dropped(target: Target) -> None:
    with connect(target) as connection:
        with connection.session() as channel:
            channel.exec_command("exec head -c 500000 /dev/zero")
            channel.recv(1)
        # Its answers come after all that the host sent of the session before.
        assert run(connection, "echo hi").stdout == "hi"
        assert channel.recv(1) == b""
        assert connection.is_alive


def test_private_key_is_loaded_once_until_its_file_changes(tmp_path: Path) -> None:
    path = make_key(tmp_path / "key", "rsa")
    key = load_private_key(path)
    assert load_private_key(path) is key
    make_key(path, "ed25519")
    assert load_private_key(path).get_name() == "ssh-ed25519"
    path.unlink()
    with pytest.raises(KeyPairError, match="cannot be read"):
        load_private_key(path)
