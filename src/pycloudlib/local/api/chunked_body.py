"""Bodies in the chunked transfer coding (RFC 9112, section 7.1)."""

from __future__ import annotations

import re
from io import BufferedIOBase

LONGEST_LINE = 8192
"""The maximum length of a line between chunks in bytes."""
MOST_TRAILERS = 100

_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(;.*)?")


class ChunkedBody:
    """Reads a body in chunks. Chunk extensions and trailer fields are ignored, as the RFC demands of those unknown.

    Args:
        stream: the connection, at the first chunk.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return the body, or its first bytes if it is longer.

        Args:
            size: the maximum length in bytes.

        Raises:
            OSError: the body is malformed, or ends early.
        """
        body = bytearray()
        while True:
            length = self._chunk_size()
            if length == 0:
                self._skip_trailers()
                return bytes(body)
            chunk = self._stream.read(min(length, size - len(body)))
            body += chunk
            if len(body) == size:
                return bytes(body)
            if len(chunk) < length or self._line():
                raise OSError("a chunk does not end where it says")

    def _chunk_size(self) -> int:
        match = _SIZE.fullmatch(self._line())
        if match is None:
            raise OSError("the size of a chunk is not a hexadecimal number")
        return int(match[1], 16)

    def _skip_trailers(self) -> None:
        for _ in range(MOST_TRAILERS):
            if not self._line():
                return
        raise OSError("a body has too many trailer fields")

    def _line(self) -> bytes:
        line = self._stream.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise OSError("a line is too long, or the body ended")
        return line.rstrip(b"\r\n")
