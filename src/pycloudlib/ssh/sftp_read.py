"""Read a file of the host over SFTP at the full speed of the connection.

paramiko's SFTPFile.prefetch() sends a request per 32 KiB from its own thread. With a limit on the requests in flight,
that thread sleeps 10 ms whenever the limit is reached, so the host runs idle. Without one, some servers hang (paramiko
issues 1779 and 1788). Here a single thread reads responses and sends the next requests, many per packet.
"""

from __future__ import annotations

import errno
import struct
from typing import BinaryIO

import paramiko
from paramiko.sftp import CMD_DATA, CMD_READ, CMD_STATUS, SFTP_EOF, SFTP_PERMISSION_DENIED

PIECE_SIZE = 32 * 1024
"""Bytes of one SFTP request: the maximum that every server supports."""

REQUESTS_IN_FLIGHT = 128
"""The number of outstanding requests: twice the window of a channel, so that the host never runs idle."""

REQUESTS_AT_ONCE = 32
"""Requests per packet."""

READ_SIZE = 4 * 1024 * 1024
"""Bytes per read: more than the window, so a read drains the buffer."""

HEADER = struct.Struct(">IBI")
"""The length, type, and request id of a response (draft-ietf-secsh-filexfer-02, section 3)."""

LENGTH = struct.Struct(">I")

MAX_RESPONSE_SIZE = 256 * 1024
"""The size of the longest valid response in bytes. A longer one is not SFTP."""


class SFTPReader:
    """A read of one file. Nothing else may use the session meanwhile, or after an error.

    Args:
        sftp: an open session.
        file: the file, opened in that session for reading.
        target: the file to write to, from its current position.
    """

    def __init__(self, sftp: paramiko.SFTPClient, file: paramiko.SFTPFile, target: BinaryIO) -> None:
        channel = sftp.get_channel()
        assert channel is not None  # noqa: S101  (the session has one)
        self._channel = channel
        self._handle: bytes = file.handle  # type: ignore[assignment]
        self._target = target
        self._position = 0
        self._ahead = b""
        self._at = 0
        self._next_id = 0
        self._in_flight: dict[int, tuple[int, int]] = {}
        self._received = 0
        self._at_end = False

    def read(self, size: int) -> int:
        """Read the whole file.

        Args:
            size: the expected size. The file is read to its end in any case, because a log may grow, and files in /proc
                have no size.

        Returns:
            The number of bytes read.

        Raises:
            OSError: the host could not read the file, or the target could not be written.
            EOFError: the host closed the session.
        """
        offset = 0
        todo: list[tuple[int, int]] = []
        while True:
            # Send one request beyond the size, so that detecting the end needs no extra round trip.
            while offset <= size and not self._at_end and len(todo) + len(self._in_flight) < REQUESTS_IN_FLIGHT:
                todo.append((offset, PIECE_SIZE))
                offset += PIECE_SIZE
            if not todo and not self._in_flight:
                if self._at_end:
                    return self._received
                todo.append((self._received, PIECE_SIZE))
            if len(todo) >= REQUESTS_AT_ONCE or len(self._in_flight) < REQUESTS_AT_ONCE:
                self._request(todo)
                todo = []
            todo += self._take_response()

    def _request(self, pieces: list[tuple[int, int]]) -> None:
        packets = b""
        for offset, length in pieces:
            self._next_id += 1
            self._in_flight[self._next_id] = (offset, length)
            body = struct.pack(">BII", CMD_READ, self._next_id, len(self._handle)) + self._handle
            body += struct.pack(">QI", offset, length)
            packets += LENGTH.pack(len(body)) + body
        if packets:
            self._channel.sendall(packets)

    def _take_response(self) -> list[tuple[int, int]]:
        """Handle one response; return the range to request again after a short read."""
        length, kind, number = HEADER.unpack(self._bytes(HEADER.size))
        if length > MAX_RESPONSE_SIZE or number not in self._in_flight:
            raise paramiko.SFTPError(f"a response of {length} bytes to request {number}, which is not SFTP")
        offset, requested = self._in_flight.pop(number)
        if kind == CMD_DATA:
            (received,) = LENGTH.unpack(self._bytes(LENGTH.size))
            self._write(offset, received)
            self._received += received
            self._at_end = self._at_end or not received
            return [(offset + received, requested - received)] if 0 < received < requested else []
        if kind != CMD_STATUS:
            raise paramiko.SFTPError(f"a response of type {kind}, which is neither data nor a status")
        self._handle_status(paramiko.Message(self._bytes(length + LENGTH.size - HEADER.size)))
        return []

    def _handle_status(self, message: paramiko.Message) -> None:
        code, text = message.get_int(), message.get_text()
        if code == SFTP_PERMISSION_DENIED:
            raise OSError(errno.EACCES, text)
        if code != SFTP_EOF:
            raise OSError(text)
        self._at_end = True

    def _write(self, offset: int, length: int) -> None:
        if offset != self._position:
            self._target.seek(offset)
        self._position = offset + length
        while length:
            if self._at == len(self._ahead):
                self._ahead, self._at = self._received_bytes(), 0
            piece = memoryview(self._ahead)[self._at : self._at + length]
            self._target.write(piece)
            length -= len(piece)
            self._at += len(piece)

    def _bytes(self, count: int) -> bytes:
        while len(self._ahead) - self._at < count:
            self._ahead, self._at = self._ahead[self._at :] + self._received_bytes(), 0
        self._at += count
        return self._ahead[self._at - count : self._at]

    def _received_bytes(self) -> bytes:
        data = self._channel.recv(READ_SIZE)
        if not data:
            raise EOFError
        return data
