"""The contents of pcap files."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Frame:
    """A captured frame, and when it was seen, in nanoseconds since 1970."""

    nanoseconds: int
    data: bytes


def read_pcap(file: Path) -> list[Frame]:
    """Read a file of Ethernet frames with nanoseconds, which must end with a whole record."""
    content = file.read_bytes()
    magic, major, minor, _, _, most, link = struct.unpack("=IHHiIII", content[:24])
    assert (magic, major, minor, link) == (0xA1B23C4D, 2, 4, 1)
    frames, rest = [], content[24:]
    while rest:
        seconds, nanoseconds, length, original = struct.unpack("=IIII", rest[:16])
        assert length == original <= most
        assert len(rest) >= 16 + length
        frames.append(Frame(seconds * 10**9 + nanoseconds, rest[16 : 16 + length]))
        rest = rest[16 + length :]
    return frames
