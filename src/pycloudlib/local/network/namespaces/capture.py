"""Packet capture: the frames of a machine's interface, as a pcap file.

A separate process enters the VPC's network namespace and writes the frames. It exits on EOF of its standard input, and
therefore never outlives the process that started it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.run_module import module_command

FRAME_BYTES = 262_144
"""The snapshot length in bytes, above the largest frame: segmentation offload produces frames of 64 KiB."""

# https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html
_NANOSECOND_MAGIC, _ETHERNET = 0xA1B23C4D, 1
FILE_HEADER = struct.pack("=IHHiIII", _NANOSECOND_MAGIC, 2, 4, 0, 0, FRAME_BYTES, _ETHERNET)
RECORD_HEADER = struct.Struct("=IIII")

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_TIMESPEC = struct.Struct("@ll")
_QUEUE_BYTES = 32 << 20
"""The buffer size in bytes for a slow disk; frames beyond it are dropped and counted."""
_STDIN, _STDOUT = 0, 1


@dataclass(frozen=True)
class Tap:
    """The location of an interface's tap, sent as JSON.

    Args:
        entrance: the entrance of its VPC.
        device: the name of the network device.
    """

    entrance: Entrance
    device: str

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Tap:
        """Parse the output of asdict()."""
        return cls(Entrance(**document["entrance"]), document["device"])


@dataclass(frozen=True)
class Captured:
    """The result of a capture.

    Args:
        packets: the number of written frames.
        dropped: the number of frames dropped because the output was too slow.
    """

    packets: int
    dropped: int


class Capture:
    """A running capture; see capturing()."""

    def __init__(self, process: subprocess.Popen[bytes], reports: Iterator[dict[str, Any]]) -> None:
        self._process = process
        self._reports = reports
        self._captured: Captured | None = None

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the machine ends, or the capture fails.

        Args:
            seconds: the maximum wait in seconds; default no limit.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def stop(self) -> Captured:
        """Stop the capture after writing all frames received so far. Idempotent.

        Raises:
            LocalEC2Error: not all frames could be written; the message says why.
        """
        if self._captured is None:
            assert self._process.stdin is not None  # noqa: S101  (a pipe was asked for)
            self._process.stdin.close()
            self._captured = Captured(**next_report(self._reports))
        return self._captured


@contextlib.contextmanager
def capturing(tap: Tap, output: int) -> Iterator[Capture]:
    """Capture the frames of a machine's interface until the context exits.

    Args:
        tap: the interface's tap.
        output: the file descriptor to write to; it stays open.

    Raises:
        LocalEC2Error: the local EC2 has ended, the kernel refused, or the output cannot be written.
    """
    parent_end, child_end = os.pipe()
    with open(parent_end, encoding="utf-8") as pipe:  # noqa: PTH123  (a file descriptor)
        try:
            process = subprocess.Popen(
                module_command(__name__, json.dumps(asdict(tap)), str(child_end)),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.DEVNULL,
                pass_fds=[child_end],
                # Only this process handles SIGINT, and then stops the capture.
                start_new_session=True,
            )
        finally:
            os.close(child_end)
        reports = map(json.loads, pipe)
        with process:
            next_report(reports)
            capture = Capture(process, reports)
            yield capture
            capture.stop()


def next_report(reports: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return the next report of the capturing process.

    Raises:
        LocalEC2Error: the capture failed.
    """
    report = next(reports, {"error": "the capture ended unexpectedly"})
    if "error" in report:
        raise LocalEC2Error(report["error"])
    return report


def main() -> int:
    """Capture to standard output, until the end of standard input."""
    tap = Tap.from_document(json.loads(sys.argv[1]))
    with open(int(sys.argv[2]), "w", encoding="utf-8", buffering=1) as pipe:  # noqa: PTH123  (a file descriptor)

        def report(**message: Any) -> None:
            # The reader may have exited.
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(message), file=pipe)

        try:
            tap.entrance.enter_network()
            with _listen(tap.device) as frames:
                captured = _capture(frames, report)
        except LocalEC2Error as error:
            report(error=str(error))
            return 1
        report(**asdict(captured))
    return 0


def _listen(device: str) -> socket.socket:
    try:
        frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        frames.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            frames.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
        except PermissionError:
            frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        frames.bind((device, _ETH_P_ALL))
        frames.setblocking(False)
    except OSError as error:
        raise LocalEC2Error(f"cannot capture packets: {error.strerror}; is the machine still running?") from error
    return frames


def _capture(frames: socket.socket, report: Callable[..., None]) -> Captured:
    packets, is_running = 0, True
    poll = select.poll()
    poll.register(frames, select.POLLIN)
    poll.register(_STDIN, select.POLLIN)
    try:
        _write(FILE_HEADER)
        report(ready=True)
        while is_running:
            is_running = not any(fd == _STDIN for fd, _ in poll.poll())
            for record in _records(frames):
                _write(record)
                packets += 1
    except (_InterfaceGoneError, BrokenPipeError):
        # The machine has stopped, or the reader, such as `head`, has closed the pipe.
        pass
    except OSError as error:
        raise LocalEC2Error(f"cannot write the captured packets: {error.strerror}") from error
    return Captured(packets, _dropped(frames))


class _InterfaceGoneError(Exception):
    pass


def _records(frames: socket.socket) -> Iterator[bytes]:
    """Read the pending frames as pcap records."""
    is_gone = False
    while True:
        try:
            record = _read(frames)
        except BlockingIOError as error:
            if is_gone:
                raise _InterfaceGoneError from error
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            # The kernel reports the error before the last frames are read.
            is_gone = True
            continue
        yield record


def _read(frames: socket.socket) -> bytes:
    frame, ancillary, _, _ = frames.recvmsg(FRAME_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
    seconds = nanoseconds = 0
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(content)
    return RECORD_HEADER.pack(seconds, nanoseconds, len(frame), len(frame)) + frame


def _write(data: bytes) -> None:
    """Write a complete record; truncate a partial one if the output is a file."""
    before = os.lseek(_STDOUT, 0, os.SEEK_CUR) if _is_file(_STDOUT) else None
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(_STDOUT, view) :]
    except OSError:
        if before is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(_STDOUT, before)
        raise


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _dropped(frames: socket.socket) -> int:
    _, dropped = struct.unpack("=II", frames.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return int(dropped)


if __name__ == "__main__":
    sys.exit(main())
