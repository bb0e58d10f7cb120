"""QMP, the control protocol of a running QEMU process.

https://www.qemu.org/docs/master/interop/qmp-spec.html
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.hardware import HardwareOffError

COMMAND_SECONDS = 30.0
READY: Mapping[str, Any] = {"event": "READY"}

_GREETING_ID = 0
_GREETING_REPLY = json.dumps({"execute": "qmp_capabilities", "id": _GREETING_ID}).encode() + b"\n"


class QMP:
    """A connection to a QEMU process. One thread runs `events()`; any other may execute commands meanwhile.

    Args:
        connection: this end of the monitor socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._write_lock = threading.Lock()
        self._ids = itertools.count(1)
        self._pending: dict[int, Future[Any]] = {}
        self._closed = False

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Yield QEMU's events until it ends, and deliver responses to the waiting threads.

        The first event is READY: QEMU greets early, but executes commands only once the machine is complete.
        """
        try:
            for line in self._lines:
                message = json.loads(line)
                if "QMP" in message:
                    self._connection.sendall(_GREETING_REPLY)
                elif message.get("id") == _GREETING_ID:
                    yield READY
                elif "event" in message:
                    yield message
                else:
                    self._dispatch(message)
        except (OSError, ValueError):
            return
        finally:
            self._end()

    def send(self, command: str, **arguments: Any) -> Future[Any]:
        """Send a command without waiting; the future holds HardwareOffError if QEMU is gone."""
        return self._send(command, arguments)

    def _send(self, command: str, arguments: Mapping[str, Any], fds: Sequence[int] = ()) -> Future[Any]:
        result: Future[Any] = Future()
        number = next(self._ids)
        message = {"execute": command, "id": number, "arguments": arguments}
        with self._write_lock:
            if self._closed:
                result.set_exception(HardwareOffError(f"{command}: the machine is gone"))
                return result
            self._pending[number] = result
            try:
                self._send_line(json.dumps(message).encode() + b"\n", fds)
            except OSError as error:
                self._pending.pop(number, None)
                result.set_exception(HardwareOffError(f"{command}: the machine is gone ({error})"))
        return result

    def execute(self, command: str, **arguments: Any) -> Any:
        """Send a command and return its result.

        Raises:
            HardwareOffError: QEMU is gone.
            MachineError: QEMU returned an error, or did not respond within COMMAND_SECONDS.
        """
        return self._wait(command, self._send(command, arguments))

    def pass_fd(self, name: str, fd: int) -> None:
        """Pass a named file descriptor to QEMU.

        Raises:
            HardwareOffError: QEMU is gone.
            MachineError: QEMU returned an error, or did not respond within COMMAND_SECONDS.
        """
        self._wait("getfd", self._send("getfd", {"fdname": name}, [fd]))

    def _wait(self, command: str, result: Future[Any]) -> Any:
        try:
            return result.result(COMMAND_SECONDS)
        except FutureTimeoutError:
            raise MachineError(f"{command}: QEMU did not respond within {COMMAND_SECONDS:g} s") from None

    def _send_line(self, line: bytes, fds: Sequence[int]) -> None:
        # The kernel may accept a part of the line; the descriptors travel with its first byte.
        sent = socket.send_fds(self._connection, [line], list(fds)) if fds else 0
        self._connection.sendall(line[sent:])

    def close(self) -> None:
        """Close the connection; pending commands fail."""
        self._end()
        self._lines.close()
        self._connection.close()

    def _dispatch(self, message: Mapping[str, Any]) -> None:
        with self._write_lock:
            result = self._pending.pop(message.get("id", 0), None)
        if result is None:
            return
        if "error" in message:
            result.set_exception(MachineError(message["error"].get("desc", "QEMU refused")))
        else:
            result.set_result(message.get("return"))

    def _end(self) -> None:
        with self._write_lock:
            self._closed = True
            pending, self._pending = self._pending, {}
        for result in pending.values():
            result.set_exception(HardwareOffError("the machine is gone"))
