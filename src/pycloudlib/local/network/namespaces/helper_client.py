"""The server's side of the network helper: starts it, sends commands, and detects its exit."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces import protocol
from pycloudlib.local.run_module import module_command

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 120.0
"""The command timeout in seconds; the slowest command takes 0.2 s on an idle machine."""

_MODULE = "pycloudlib.local.network.namespaces.helper"


class HelperClient:
    """A running helper. Thread-safe: commands run one at a time.

    The kernel kills the helper when the thread that created this object exits, so that it never outlives the server.

    Args:
        directory: the absolute path of an existing directory, for logs and files of the helper and its programs.
        on_end: called once with this object and the reason, in a separate thread, if the helper exits before close().

    Raises:
        LocalEC2Error: the helper could not be started.
    """

    def __init__(self, directory: Path, on_end: Callable[[HelperClient, str], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._closed = False
        self._connection, helper_end = socket.socketpair()
        self._connection.settimeout(ANSWER_SECONDS)
        self._log = directory / "helper.log"
        with helper_end, self._log.open("ab") as log_file:
            command = module_command(_MODULE, str(os.getpid()), str(helper_end.fileno()), str(directory))
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    pass_fds=[helper_end.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                self._connection.close()
                raise LocalEC2Error(f"cannot start the network helper: {error.strerror}") from error
        self._watcher = threading.Thread(target=self._watch, name="network-helper", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        """The helper's process id."""
        return self._process.pid

    def call(self, command: str, vpc_id: str, **arguments: Any) -> tuple[Any, list[int]]:
        """Execute a command.

        Args:
            command: the command's name; see Helper.
            vpc_id: the VPC.
            **arguments: the command's arguments.

        Returns:
            The result, and the received file descriptors, which the caller owns.

        Raises:
            LocalEC2Error: the command failed, or the helper has exited.
        """
        request = {"command": command, "vpc_id": vpc_id, "arguments": arguments}
        with self._lock:
            try:
                protocol.send(self._connection, request)
                response, fds = protocol.receive(self._connection)
            except (OSError, EOFError) as error:
                # After a partial response, the stream is out of sync.
                self._process.kill()
                raise LocalEC2Error(f"the network helper has ended: {self._last_log_line() or error}") from error
        if "error" in response:
            raise LocalEC2Error(f"the network of {vpc_id}: {command}: {response['error']}")
        return response["result"], fds

    def close(self) -> None:
        """Kill the helper and all of its child processes."""
        self._closed = True
        self._process.kill()
        self._watcher.join()

    def _last_log_line(self) -> str:
        """Return the last line of the helper's log, such as an exception message."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def _watch(self) -> None:
        status = self._process.wait()
        with self._lock:
            self._connection.close()
        if not self._closed:
            self._on_end(self, f"the network helper ended with status {status}")
