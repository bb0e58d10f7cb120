"""A TCP relay that can stop passing data on while it goes on acknowledging it, as QEMU does for a dead guest."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import ExitStack
from types import TracebackType


class Relay:
    """Relays connections to a loopback port for as long as the context lasts.

    Args:
        port: the port of the server.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passes_on = threading.Event()
        self._passes_on.set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def drop_everything(self) -> None:
        """Read and drop all data from now on."""
        self._passes_on.clear()

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        with ExitStack() as opened:
            while not self._ended.is_set():
                for ready in select.select([self._listener, *peers], [], [], 0.05)[0]:
                    if ready is self._listener:
                        near = opened.enter_context(self._listener.accept()[0])
                        far = opened.enter_context(socket.create_connection(self._server))
                        peers |= {near: far, far: near}
                        continue
                    data = ready.recv(65536)
                    if self._passes_on.is_set():
                        peers[ready].sendall(data)
                    if not data:
                        del peers[ready]
