"""A listener on every loopback address and on no other, which starts a program for each connection, as inetd does."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class LoopbackGate:
    """Listens from the start until it is closed.

    Args:
        port: its port; 0 for any free one.
        command: what is started for each connection, which is its standard input and output.
        log: where the command's standard error goes.
        is_open: whether it accepts connections at once; default yes. Before open(), it refuses them.
    """

    def __init__(self, port: int, command: Sequence[str], log: Path, *, is_open: bool = True) -> None:
        self._command = list(command)
        self._log = log
        self._children: list[subprocess.Popen[bytes]] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # All addresses of one interface: what comes from outside never gets here.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        self._listener.bind(("", port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="loopback-gate", daemon=True)
        if is_open:
            self.open()

    def open(self) -> None:
        """Accept connections from now on."""
        self._listener.listen(socket.SOMAXCONN)
        self._thread.start()

    @property
    def children(self) -> set[int]:
        """The processes of the connections that there are."""
        self._children = [child for child in self._children if child.poll() is None]
        return {child.pid for child in self._children}

    def close(self) -> None:
        """Listen no more; connections that there are go on."""
        # Closing a socket does not wake who accepts on it; shutting it down does.
        if self._thread.ident is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join()
        self._listener.close()

    def reap(self) -> None:
        """Wait for the processes of connections that were killed."""
        for child in self._children:
            child.wait()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, self._log.open("ab") as log:
                    self._children.append(
                        subprocess.Popen(
                            self._command, stdin=connection, stdout=connection, stderr=log, env=dict(os.environ)
                        )
                    )
