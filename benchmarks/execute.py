"""How long a command takes over an open connection, against raw paramiko on the same sshd.

python benchmarks/execute.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import paramiko

from pycloudlib.ssh.command import command_line, run
from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.host_keys import HostKeys

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.sshd import Sshd

COMMAND = "echo hi"
SAME_LINE = "raw paramiko, TCP_NODELAY, the same line"
LIMIT = 1.15
READ_SIZE = 64 * 1024
WARM_UP_RUNS = 5


@dataclass(frozen=True)
class Row:
    """One way of running the command.

    Args:
        name: what it is.
        median: milliseconds.
        fastest: milliseconds.
        ratio: its median, as a multiple of raw paramiko's.
    """

    name: str
    median: float
    fastest: float
    ratio: float


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


def measure(runs: int) -> list[Row]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        sshd = stack.enter_context(Sshd(Path(directory) / "sshd"))
        raw = stack.enter_context(raw_transport(sshd))
        target = Target(sshd.host, sshd.username, sshd.private_key_path, port=sshd.port)
        ours = stack.enter_context(Connection(target, HostKeys()))
        line = command_line(COMMAND)
        ways: dict[str, Callable[[], object]] = {
            "raw paramiko, TCP_NODELAY": lambda: raw_command(raw, COMMAND),
            "pycloudlib": lambda: run(ours, COMMAND),
            SAME_LINE: lambda: raw_command(raw, line),
        }
        return rows(interleaved(ways, runs))


def interleaved(ways: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """The milliseconds of every run; each way takes its turn, so that a busy moment meets them all."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP_RUNS + runs):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number >= WARM_UP_RUNS:
                times[name].append((time.perf_counter() - started) * 1000)
    return times


def rows(times: dict[str, list[float]]) -> list[Row]:
    medians = {name: statistics.median(each) for name, each in times.items()}
    base = next(iter(medians.values()))
    return [Row(name, medians[name], min(each), medians[name] / base) for name, each in times.items()]


def machine() -> dict[str, object]:
    return {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "paramiko": paramiko.__version__,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="runs of each way (default 300)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--strict", action="store_true", help="end with status 1 on MISS")
    arguments = parser.parse_args()

    results = measure(arguments.runs)
    ours = next(row for row in results if row.name == "pycloudlib")
    same_line = next(row for row in results if row.name == SAME_LINE)
    passed = ours.ratio <= LIMIT
    verdict = "PASS" if passed else "MISS"

    print(f"{COMMAND!r}, {arguments.runs} runs each")
    print(f"{'':42}{'median':>10}{'fastest':>10}{'ratio':>8}")
    for row in results:
        print(f"{row.name:42}{row.median:>7.2f} ms{row.fastest:>7.2f} ms{row.ratio:>8.2f}")
    print(f"{verdict}: {ours.ratio:.2f} x raw paramiko with TCP_NODELAY; at most {LIMIT} is wanted")
    print(f"Of that, {same_line.ratio:.2f} x is what the host needs for {command_line(COMMAND)!r} in its place.")

    if arguments.json:
        figures = {
            "command": COMMAND,
            "runs": arguments.runs,
            "limit": LIMIT,
            "verdict": verdict,
            "rows": [asdict(row) for row in results],
            "machine": machine(),
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if arguments.strict and not passed else 0


if __name__ == "__main__":
    sys.exit(main())
