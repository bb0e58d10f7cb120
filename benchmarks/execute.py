"""How long a command takes over an open connection, against raw paramiko on the same sshd.

python benchmarks/execute.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import paramiko

from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.host_keys import HostKeys

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from report import parser, report, rows

from support.sshd import Sshd

COMMAND = "echo hi"
OURS = "pycloudlib"
LIMIT = 1.15
READ_SIZE = 64 * 1024
WARM_UP_RUNS = 5


def raw_command(transport: paramiko.Transport, line: str) -> bytes:
    channel = transport.open_session()
    channel.exec_command(line)
    pieces = []
    while piece := channel.recv(READ_SIZE):
        pieces.append(piece)
    channel.recv_exit_status()
    channel.close()
    return b"".join(pieces)


@contextmanager
def raw_transport(sshd: Sshd) -> Iterator[paramiko.Transport]:
    connected = socket.create_connection((sshd.host, sshd.port))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(connected)
    try:
        transport.connect(
            username=sshd.username,
            pkey=paramiko.Ed25519Key.from_private_key_file(str(sshd.private_key_path)),
        )
        yield transport
    finally:
        transport.close()


def measure(runs: int) -> dict[str, list[float]]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        sshd = stack.enter_context(Sshd(Path(directory) / "sshd"))
        raw = stack.enter_context(raw_transport(sshd))
        target = Target(sshd.host, sshd.username, sshd.private_key_path, port=sshd.port)
        ours = stack.enter_context(Connection(target, HostKeys()))
        ways: dict[str, Callable[[], object]] = {
            "raw paramiko, TCP_NODELAY": lambda: raw_command(raw, COMMAND),
            OURS: lambda: run(ours, COMMAND),
        }
        return interleaved(ways, runs)


def interleaved(ways: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """The seconds of every run; each way takes its turn, so that a busy moment meets them all."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP_RUNS + runs):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number >= WARM_UP_RUNS:
                times[name].append(time.perf_counter() - started)
    return times


def main() -> int:
    arguments = parser(__doc__, runs=300).parse_args()
    results = rows(measure(arguments.runs))
    return report(f"execute({COMMAND!r})", results, ours=OURS, limit=LIMIT, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
