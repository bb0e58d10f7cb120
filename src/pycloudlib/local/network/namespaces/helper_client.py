"""The server's side of the network helper: starts it, sends commands, and notices its end."""

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
"""How long a command may take; on an idle computer, the longest takes 0.2 s."""

_MODULE = "pycloudlib.local.network.namespaces.helper"


class HelperClient:
    """A running helper. Safe for threads: commands run one after the other.

    The kernel ends the helper with the thread that created this object, so that it never outlives the server.

    Args:
        directory: for files and logs of the helper and its programs; it must exist, and be absolute.
        on_end: called once, from a thread of its own, when the helper ends before close(); receives this object and the
            reason.

    Raises:
        LocalEC2Error: it could not be started.
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
        """The helper's process."""
        return self._process.pid

    def call(self, command: str, vpc_id: str, **arguments: Any) -> tuple[Any, list[int]]:
        """Execute a command.

        Args:
            command: its name; see Helper.
            vpc_id: the VPC that it concerns.
            **arguments: those of the command.

        Returns:
            Its result, and the file descriptors that came with it, which the caller owns.

        Raises:
            LocalEC2Error: the command failed, or the helper has ended.
        """
        request = {"command": command, "vpc_id": vpc_id, "arguments": arguments}
        with self._lock:
            try:
                protocol.send(self._connection, request)
                response, fds = protocol.receive(self._connection)
            except (OSError, EOFError) as error:
                # After half an answer nothing that follows can be understood.
                self._process.kill()
                raise LocalEC2Error(f"the network helper has ended: {self._last_log_line() or error}") from error
        if "error" in response:
            raise LocalEC2Error(f"the network of {vpc_id}: {command}: {response['error']}")
        return response["result"], fds

    def close(self) -> None:
        """End the helper, and everything that it has started."""
        self._closed = True
        self._process.kill()
        self._watcher.join()

    def _last_log_line(self) -> str:
        """Return the last line of its log, such as an exception's."""
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
