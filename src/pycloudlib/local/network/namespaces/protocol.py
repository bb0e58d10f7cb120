"""Messages between the server and the network helper: JSON with file descriptors, over a Unix stream socket.

A message is its length (32 bits, network byte order) and a JSON object. File descriptors travel with the first byte.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

MAX_FDS = 64
"""The maximum number of file descriptors per message; the kernel's limit is 253."""

_HEADER = struct.Struct("!I")


def send(connection: socket.socket, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    """Send a message. The caller keeps its own copies of the file descriptors.

    Raises:
        OSError: the peer has exited, or does not read.
    """
    body = json.dumps(message).encode()
    data = _HEADER.pack(len(body)) + body
    sent = socket.send_fds(connection, [data], list(fds)) if fds else 0
    connection.sendall(data[sent:])


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive a message and its file descriptors.

    Raises:
        EOFError: the peer has exited.
        OSError: the peer did not respond in time.
    """
    header, fds = _receive_first(connection)
    with contextlib.ExitStack() as on_failure:
        for fd in fds:
            on_failure.callback(os.close, fd)
        if not header:
            raise EOFError("the peer has ended")
        header += _receive_exactly(connection, _HEADER.size - len(header))
        message: dict[str, Any] = json.loads(_receive_exactly(connection, *_HEADER.unpack(header)))
        on_failure.pop_all()
    return message, fds


def _receive_first(connection: socket.socket) -> tuple[bytes, list[int]]:
    # Not socket.recv_fds(), which ignores the flags in Python 3.11: child processes would inherit the descriptors.
    fds = array.array("i")
    space = socket.CMSG_SPACE(MAX_FDS * fds.itemsize)
    data, ancillary, _, _ = connection.recvmsg(_HEADER.size, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, fds.tolist()


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the peer ended within a message")
        data += part
    return bytes(data)
