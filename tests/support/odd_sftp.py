"""An SFTP server that answers reads out of order and with less than was asked for, as the protocol allows.

python odd_sftp.py MODE, where MODE is "short" (at most 1000 bytes per answer), "reversed" (answers in the opposite
order), "error" (the third read fails), or "garbage" (the third answer is no SFTP).
"""

from __future__ import annotations

import os
import select
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

VERSION, OPEN, CLOSE, READ, STAT = 2, 3, 4, 5, 17
STATUS, HANDLE, DATA, ATTRIBUTES = 101, 102, 103, 105
OK, EOF, FAILURE = 0, 1, 4


def text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def status(number: int, code: int) -> bytes:
    return struct.pack(">BII", STATUS, number, code) + text(b"told by the test") + text(b"")


class OddServer:
    """Serves one file at a time."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.file = -1
        self.reads = 0
        self.held_back: list[bytes] = []

    def serve(self) -> NoReturn:
        while True:
            (length,) = struct.unpack(">I", self.bytes(4))
            self.answer(self.bytes(length))
            if self.held_back and not select.select([0], [], [], 0.02)[0]:
                for packet in reversed(self.held_back):
                    self.send(packet)
                self.held_back = []

    def bytes(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = os.read(0, count - len(data))
            if not piece:
                sys.exit()
            data += piece
        return data

    def send(self, packet: bytes) -> None:
        data = text(packet)
        while data:
            data = data[os.write(1, data) :]

    def answer(self, request: bytes) -> None:
        kind = request[0]
        if kind == 1:
            self.send(struct.pack(">BI", VERSION, 3))
            return
        number, size = struct.unpack_from(">II", request, 1)
        name, rest = request[9 : 9 + size], request[9 + size :]
        if kind == STAT:
            found = Path(os.fsdecode(name)).stat()
            self.send(struct.pack(">BIIQI", ATTRIBUTES, number, 1 | 4, found.st_size, found.st_mode))
        elif kind == OPEN:
            self.file = os.open(name, os.O_RDONLY)
            self.send(struct.pack(">BI", HANDLE, number) + text(b"a handle"))
        elif kind == READ:
            self.read(number, *struct.unpack(">QI", rest))
        else:
            self.send(status(number, OK))

    def read(self, number: int, offset: int, length: int) -> None:
        self.reads += 1
        if self.mode == "garbage" and self.reads == 3:
            os.write(1, b"garbage that is no SFTP")
            return
        data = os.pread(self.file, min(length, 1000) if self.mode == "short" else length, offset)
        if self.mode == "error" and self.reads == 3:
            packet = status(number, FAILURE)
        else:
            packet = struct.pack(">BI", DATA, number) + text(data) if data else status(number, EOF)
        if self.mode == "reversed":
            self.held_back.append(packet)
        else:
            self.send(packet)


def main(arguments: list[str]) -> Any:
    OddServer(arguments[1]).serve()


if __name__ == "__main__":
    main(sys.argv)
