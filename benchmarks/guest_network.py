"""A guest on the namespaces network against one on user networking: boot, commands over SSH, and throughput.

python benchmarks/guest_network.py [--runs N] [--json FILE] [--strict]

Each run launches one instance of the default image on each network, one after the other, without a warm start.
"""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path

from peers import progress
from report import Figure, Report, Target, parser

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.local import LocalEC2
from pycloudlib.releases import DEFAULT_RELEASE

NAMESPACES, USER = "namespaces", "user"
HOST = {NAMESPACES: "198.51.100.1", USER: "172.31.0.1"}
"""The host's address, as the guest of each network sees it."""

BOOT, COMMAND, THROUGHPUT = "launch to ready", "execute('true')", "host to guest"
THROUGHPUT_LIMIT, COMMAND_LIMIT, BOOT_LIMIT = 1.5, 1.0, 1.0
BYTES = 1 << 28
COMMANDS = 50
RECEIVE = """
import socket, sys, time
buffer, begin, size = bytearray(1 << 20), time.monotonic(), 0
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    while received := connection.recv_into(buffer):
        size += received
print(size / (time.monotonic() - begin))
"""


@contextmanager
def sender() -> Iterator[int]:
    """Send zeros to every client, and yield the port on the host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    block = bytes(1 << 20)
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with closing(connection):
            for _ in range(BYTES // len(block)):
                connection.sendall(block)


def measure_network(network: str, port: int, key_pair: KeyPair) -> Mapping[str, float]:
    with LocalEC2(network=network, host_ports=[port], warm_start=False) as local:
        settings = StringIO(local.info.settings_toml(public_key_path=key_pair.public_key_path))
        with EC2("bench", config_file=settings) as ec2:
            image_id = ec2.daily_image(DEFAULT_RELEASE)
            begin = time.monotonic()
            with ec2.launch(image_id) as instance:
                ready = time.monotonic() - begin
                bytes_per_second = instance.execute(["python3", "-c", RECEIVE, HOST[network], str(port)]).check()
                return {BOOT: ready, COMMAND: command_seconds(instance), THROUGHPUT: float(bytes_per_second)}


def command_seconds(instance: EC2Instance) -> float:
    seconds = []
    for _ in range(COMMANDS):
        begin = time.monotonic()
        instance.execute("true").check()
        seconds.append(time.monotonic() - begin)
    return statistics.median(seconds)


def measure(runs: int) -> list[Figure]:
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as directory, sender() as port:
        key_pair = KeyPair.generate(Path(directory))
        for _ in range(runs):
            for network in (USER, NAMESPACES):
                measured = measure_network(network, port, key_pair)
                progress(
                    "guest_network", network, ", ".join(f"{what}: {value:.3g}" for what, value in measured.items())
                )
                for quantity, value in measured.items():
                    found.setdefault((network, quantity), []).append(value)
    units = {BOOT: "s", COMMAND: "ms", THROUGHPUT: "MB/s"}
    return [Figure(network, quantity, units[quantity], tuple(values)) for (network, quantity), values in found.items()]


def main() -> int:
    arguments = parser(__doc__, runs=3).parse_args()
    figures = measure(arguments.runs)
    median = {(one.way, one.quantity): one.median for one in figures}

    def ratio(quantity: str) -> float:
        return median[NAMESPACES, quantity] / median[USER, quantity]

    targets = (
        Target(f"time of {THROUGHPUT} against user networking", 1 / ratio(THROUGHPUT), 1 / THROUGHPUT_LIMIT, "x"),
        Target(f"{COMMAND} against user networking", ratio(COMMAND), COMMAND_LIMIT, "x"),
        Target(f"{BOOT} against user networking", ratio(BOOT), BOOT_LIMIT, "x"),
    )
    title = "a guest of the local EC2 on both networks"
    return Report("guest_network", title, arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
