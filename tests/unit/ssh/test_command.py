from __future__ import annotations

import logging
import os
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor

import paramiko
import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import CommandTimeoutError, PycloudlibTimeoutError, SSHConnectionError
from pycloudlib.ssh.command import run
from pycloudlib.ssh.command_line import MAX_LINE_LENGTH, command_line
from pycloudlib.ssh.connection import Connection
from support.sshd import Sshd

MIB = 1024 * 1024


def test_the_longest_command_runs(connection: Connection) -> None:
    padding = MAX_LINE_LENGTH - len(command_line("echo  ")) - len(" </dev/null")
    assert run(connection, "echo  " + "x" * padding).stdout == "x" * padding


def test_undecodable_file_names_keep_their_bytes(connection: Connection) -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    assert run(connection, ["printf", "%s", name]).raw_stdout == b"caf\xe9"


def test_result_has_both_streams_status_command_and_duration(connection: Connection) -> None:
    result = run(connection, "echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.return_code) == ("out", "err", 3)
    assert result.command == "echo out; echo err >&2; exit 3"
    assert result.duration > 0
    assert not result


def test_a_list_is_shown_as_one_would_type_it(connection: Connection) -> None:
    assert run(connection, ["echo", "a b"]).command == "echo 'a b'"


def test_streams_keep_any_bytes(connection: Connection) -> None:
    every_byte = bytes(range(256)) * 100
    result = run(connection, "tee /dev/stderr", stdin=every_byte)
    assert result.raw_stdout == every_byte
    assert result.raw_stderr == every_byte


def test_much_on_both_streams_while_stdin_is_fed_does_not_hang(connection: Connection) -> None:
    size = 64 * MIB
    script = f"head -c {size} /dev/zero >&2; head -c {8 * MIB} /dev/zero; cat | wc -c"
    result = run(connection, script, stdin=b"x" * (16 * MIB))
    assert len(result.raw_stderr) == size
    assert result.raw_stdout.lstrip(b"\0").strip() == str(16 * MIB).encode()


def test_stdin_as_text_is_sent_as_utf8(connection: Connection) -> None:
    assert run(connection, "cat", stdin="grüße").raw_stdout == "grüße".encode()


@pytest.mark.parametrize("stdin", [None, "", b""])
def test_without_stdin_a_command_that_reads_sees_its_end(connection: Connection, stdin: str | bytes | None) -> None:
    assert run(connection, "cat; echo end", stdin=stdin).stdout == "end"


def test_commands_may_leave_their_stdin_unread_without_harm_to_others(own_connection: Connection) -> None:
    transport = own_connection.transport
    with ThreadPoolExecutor(12) as threads:
        codes = threads.map(lambda _: run(own_connection, "exit 7", stdin=b"x" * 300_000).return_code, range(300))
        assert set(codes) == {7}
    assert own_connection.transport is transport


@pytest.mark.parametrize(("signal", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("HUP", 1)])
def test_a_command_ended_by_a_signal_has_128_plus_its_number(connection: Connection, signal: str, number: int) -> None:
    assert run(connection, f"kill -{signal} $$").return_code == 128 + number


@pytest.mark.skipif(os.geteuid() != 0, reason="an sshd that is not root's cannot hand terminals over")
def test_get_pty_allocates_a_terminal(connection: Connection) -> None:
    assert run(connection, "test -t 1", get_pty=True).ok
    assert run(connection, "test -t 1").failed


def test_a_timeout_names_the_command_and_its_last_output(connection: Connection) -> None:
    with pytest.raises(CommandTimeoutError, match=r"within 10 s: echo so far.*last output: so far") as raised:
        run(connection, "echo so far; sleep 60", deadline=Deadline.after(10))
    assert isinstance(raised.value, PycloudlibTimeoutError)
    assert raised.value.last_seen == "so far"
    assert raised.value.seconds == 10


def test_a_timeout_ends_a_command_that_does_not_take_its_stdin(connection: Connection) -> None:
    with pytest.raises(CommandTimeoutError, match="it had no output"):
        run(connection, "sleep 60", stdin=b"x" * (32 * MIB), deadline=Deadline.after(0.5))
    assert run(connection, "echo on").stdout == "on"


@pytest.mark.parametrize(("deadline", "timeout", "seconds"), [(None, 0.2, "0.2"), (60, 0.2, "0.2"), (0.2, 60, "0.2")])
def test_timeout_is_within_the_deadline(
    connection: Connection, deadline: float | None, timeout: float, seconds: str
) -> None:
    with pytest.raises(CommandTimeoutError, match=f"within {seconds} s"):
        run(connection, "sleep 60", deadline=Deadline.after(deadline), timeout=timeout)


def test_a_timeout_that_is_not_reached_changes_nothing(connection: Connection) -> None:
    before = threading.active_count()
    assert run(connection, "echo hi", deadline=Deadline.after(60)).stdout == "hi"
    assert threading.active_count() <= before


def test_a_connection_lost_while_a_command_runs_is_an_error(own_sshd: Sshd, own_connection: Connection) -> None:
    marker = own_sshd.home_path / "runs"
    with pytest.raises(SSHConnectionError, match="was lost while a command ran") as raised:
        run(own_connection, f"echo x >> {shlex.quote(str(marker))}; kill -9 $PPID; sleep 60")
    assert own_sshd.host in str(raised.value)
    assert marker.read_text() == "x\n"


def test_many_changes_of_keys_do_not_lock_the_connection_up(
    own_connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paramiko.packet.Packetizer, "REKEY_BYTES", 100_000)
    transport = own_connection.transport
    for _ in range(60):
        assert len(run(own_connection, "head -c 101000 /dev/zero").raw_stdout) == 101_000
    assert own_connection.transport is transport


def test_the_command_is_logged_and_its_stdin_is_not(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pycloudlib")
    run(connection, "cat >/dev/null; echo shown", stdin="hidden")
    run(connection, "echo replaced", description="says something")
    assert "echo shown" in caplog.text
    assert "says something" in caplog.text
    assert "echo replaced" not in caplog.text
    assert "hidden" not in caplog.text


def test_description_stands_for_the_command_in_results_and_errors(connection: Connection) -> None:
    assert run(connection, "true; : script", description="set up").command == "set up"
    with pytest.raises(CommandTimeoutError, match=r"did not end within 0\.2 s: set up; it had no output"):
        run(connection, "sleep 60; : script", description="set up", deadline=Deadline.after(0.2))


def test_no_log_keeps_the_command_out_of_log_result_and_errors(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    result = run(connection, "echo secret", no_log=True, description="log in", env={"TOKEN": "secret"})
    assert result.command == "log in"
    assert "secret" not in run(connection, "true secret", no_log=True).command
    with pytest.raises(CommandTimeoutError) as raised:
        run(connection, "sleep 60; : secret", no_log=True, deadline=Deadline.after(0.2))
    assert "secret" not in str(raised.value)
    assert "secret" not in caplog.text
