"""The time service of a VPC: SNTP with the host's clock (RFC 4330, RFC 5905)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

PORT = 123

# Flags, stratum, poll, precision, root delay, root dispersion, reference id, and four timestamps.
MESSAGE = struct.Struct("!BBbbIIIQQQQ")
_CLIENT, _SERVER = 3, 4
_VERSIONS = range(1, 5)
_STRATUM = 3
_PRECISION = -20
"""The base-2 logarithm of the clock's precision in seconds: a microsecond."""
_DISPERSION = 1 << 6
"""One millisecond in units of 1/65536 s."""
_REFERENCE_ID = int.from_bytes(socket.inet_aton("169.254.169.122"), "big")
_SECONDS_FROM_1900_TO_1970 = 2_208_988_800
_NANOSECONDS = 10**9
_MOST_BYTES = 1024


class TimeServer:
    """Serves time requests in a thread until its context exits.

    Args:
        sockets: the bound datagram sockets, which are closed on exit.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = {server_socket.fileno(): server_socket for server_socket in sockets}
        self._stopped, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="time", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._stop)
        self._thread.join()
        os.close(self._stopped)
        for server_socket in self._sockets.values():
            server_socket.close()

    def _serve(self) -> None:
        poll = select.poll()
        for fd in (self._stopped, *self._sockets):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._stopped:
                    return
                # The guest or the namespace may be gone; go on with the next request.
                with contextlib.suppress(OSError):
                    _reply(self._sockets[fd])


def _reply(server_socket: socket.socket) -> None:
    message, sender = server_socket.recvfrom(_MOST_BYTES, socket.MSG_DONTWAIT)
    received = time.time_ns()
    reply = reply_to(message, received)
    if reply is not None:
        server_socket.sendto(reply, sender)


def reply_to(message: bytes, received: int) -> bytes | None:
    """Return the response to a client's message; None for any other message.

    Args:
        message: the datagram.
        received: when it arrived, in nanoseconds since 1970.
    """
    if len(message) < MESSAGE.size:
        return None
    flags, _, interval, *_, sent = MESSAGE.unpack_from(message)
    version, mode = flags >> 3 & 7, flags & 7
    # Responding to a server's response could loop forever.
    if mode != _CLIENT or version not in _VERSIONS:
        return None
    return MESSAGE.pack(
        version << 3 | _SERVER,
        _STRATUM,
        interval,
        _PRECISION,
        0,
        _DISPERSION,
        _REFERENCE_ID,
        _timestamp(received),
        sent,
        _timestamp(received),
        _timestamp(time.time_ns()),
    )


def _timestamp(nanoseconds: int) -> int:
    """Return an NTP timestamp: seconds since 1900, which wrap around in 2036, and a fraction of 32 bits."""
    seconds, fraction = divmod(nanoseconds, _NANOSECONDS)
    return (seconds + _SECONDS_FROM_1900_TO_1970) % (1 << 32) << 32 | (fraction << 32) // _NANOSECONDS
