"""What waits in ssh/ ends at its deadline, whatever other threads do meanwhile."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from paramiko import Message

from pycloudlib.deadline import Deadline
from pycloudlib.errors import CommandTimeoutError, PycloudlibTimeoutError, SSHConnectionError, SSHError
from pycloudlib.ssh import command as command_module
from pycloudlib.ssh import connection as connection_module
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import MAX_SESSIONS, Connection, State, Target
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.ssh.transport import Transport
from pycloudlib.waiting import wait_until
from support.sshd import Sshd
from unit.ssh.conftest import target_of

SHORT = 0.2

ENDLESS = bytes(64 * 1024 * 1024)


@contextmanager
def silent_host(target: Target) -> Iterator[tuple[Target, threading.Event]]:
    """A host that accepts a connection and never speaks; and the event that it was connected to."""
    connected = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as visitors:

        def accept() -> None:
            while True:
                try:
                    visitors.enter_context(listener.accept()[0])
                except OSError:
                    return
                connected.set()

        threading.Thread(target=accept, daemon=True).start()
        host, port = listener.getsockname()[:2]
        yield replace(target, host=host, port=port, banner_timeout=3600), connected
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def all_sessions_busy(connection: Connection) -> Iterator[None]:
    with ExitStack() as sessions:
        for _ in range(MAX_SESSIONS):
            sessions.enter_context(connection.session())
        yield


def in_background(call: object) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def guarded() -> None:
        assert callable(call)
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    return thread, errors


def test_command_without_a_free_session_ends_at_its_deadline(connection: Connection) -> None:
    with all_sessions_busy(connection):
        with pytest.raises(CommandTimeoutError, match=r"was not started within 0\.2 s: echo hi;.*all of them busy"):
            run(connection, "echo hi", deadline=Deadline.after(SHORT))
        with pytest.raises(PycloudlibTimeoutError), connection.session(Deadline.after(SHORT)):
            pass
    assert run(connection, "echo hi").stdout == "hi"


def test_command_ends_at_its_deadline_while_connecting(target: Target) -> None:
    with silent_host(target) as (silent, _):
        connection = Connection(silent, HostKeys())
        with pytest.raises(CommandTimeoutError, match=r"was not started within 0\.2 s: true;.*cannot connect"):
            run(connection, "true", deadline=Deadline.after(SHORT))
        with pytest.raises(SSHConnectionError):
            connection.open(Deadline.after(SHORT))


def test_open_does_not_wait_for_another_thread_beyond_its_deadline(target: Target) -> None:
    with silent_host(target) as (silent, connected):
        connection = Connection(silent, HostKeys())
        thread, errors = in_background(connection.open)
        connected.wait()
        with pytest.raises(PycloudlibTimeoutError, match=r"waited 0\.2 s for another thread to connect to "):
            connection.open(Deadline.after(SHORT))
        connection.close()
        thread.join()
        assert isinstance(errors[0], SSHError)


def test_close_aborts_an_attempt_to_connect(target: Target) -> None:
    with silent_host(target) as (silent, connected):
        connection = Connection(silent, HostKeys())
        thread, errors = in_background(connection.open)
        connected.wait()
        # The attempt itself would take an hour.
        wait_until(lambda: connection._attempt, what="the attempt", deadline=Deadline.after(60))
        connection.close()
        thread.join()
    assert connection.state is State.CLOSED
    assert "is closed" in str(errors[0])


def test_close_aborts_an_attempt_whose_thread_is_about_to_start(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClosedTransport(Transport):
        def start(self) -> None:
            connection.close()
            super().start()

    monkeypatch.setattr(connection_module, "Transport", ClosedTransport)
    with silent_host(target) as (silent, _):
        connection = Connection(silent, HostKeys())
        with pytest.raises(SSHError, match="is closed"):
            connection.open()


def test_connection_can_be_closed_in_its_own_thread(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[BaseException] = []
    closed = threading.Event()

    class ClosingTransport(Transport):
        def _send_user_message(self, data: Message) -> None:
            if threading.current_thread() is self:
                # As the garbage collector does, at any time.
                try:
                    connection.close()
                except BaseException as error:
                    errors.append(error)
                closed.set()
            super()._send_user_message(data)

    monkeypatch.setattr(connection_module, "Transport", ClosingTransport)
    connection = Connection(target, HostKeys())
    run(connection, "true")
    closed.wait()
    assert errors == []


def test_command_is_sent_over_a_new_connection_when_the_socket_was_just_closed(target: Target) -> None:
    connection = Connection(target, HostKeys())
    connection.open().sock.close()
    assert run(connection, "echo hi", deadline=Deadline.after(60)).stdout == "hi"
    connection.close()


def test_close_ends_a_command(target: Target) -> None:
    connection = Connection(target, HostKeys())
    started = threading.Event()

    def command() -> None:
        run(connection, "echo started; sleep 600", on_output=lambda *_: started.set())

    thread, errors = in_background(command)
    started.wait()
    connection.close()
    thread.join()
    assert isinstance(errors[0], SSHConnectionError)


def test_later_caller_connects_though_an_earlier_one_gave_up(target: Target) -> None:
    connection = Connection(target, HostKeys())
    with pytest.raises(SSHConnectionError):
        connection.open(Deadline.after(0))
    assert run(connection, "echo hi", deadline=Deadline.after(60)).stdout == "hi"
    connection.close()


@contextmanager
def host_that_reads_nothing(
    own_sshd: Sshd, deadline: Deadline | None = None
) -> Iterator[tuple[Connection, threading.Thread]]:
    """A connection over which nothing more can be sent, because its host hangs; and the command that filled it."""
    # Without keep-alives, nothing but the deadline ends a wait.
    connection = Connection(replace(target_of(own_sshd), keepalive=0), HostKeys())
    sock = connection.open().sock
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    begun = threading.Event()

    def fill() -> None:
        command = "echo begun; cat >/dev/null; sleep 600"
        run(connection, command, stdin=ENDLESS, on_output=lambda *_: begun.set(), deadline=deadline)

    filling, _ = in_background(fill)
    begun.wait()
    full = select.poll()
    full.register(sock, select.POLLOUT)
    with own_sshd.suspended():
        wait_until(lambda: not full.poll(100), what="a full buffer", deadline=Deadline.after(60))
        yield connection, filling
        connection.close()
        filling.join()


def test_command_ends_at_its_deadline_on_a_host_that_reads_nothing(own_sshd: Sshd) -> None:
    with host_that_reads_nothing(own_sshd) as (connection, _):
        with pytest.raises(CommandTimeoutError, match=r"was not started within 0\.2 s: true; .*timed out"):
            run(connection, "true", deadline=Deadline.after(SHORT))
        # The connection is still of use to others.
        assert connection.is_alive


def test_command_with_input_ends_at_its_deadline_on_a_host_that_reads_nothing(
    own_sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "HELPER_END_TIMEOUT", 3600)
    with host_that_reads_nothing(own_sshd, Deadline.after(2)) as (_, filling):
        filling.join()


def test_a_host_that_went_on_reading_takes_commands_again(own_sshd: Sshd) -> None:
    connection = Connection(target_of(own_sshd), HostKeys())
    connection.open()
    with own_sshd.suspended(), pytest.raises(CommandTimeoutError, match=r"did not open a session: timed out"):
        run(connection, "true", deadline=Deadline.after(SHORT))
    assert run(connection, "echo hi", deadline=Deadline.after(60)).stdout == "hi"
    connection.close()
