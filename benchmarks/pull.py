"""How long a pull of a large image takes, from loopback, verified and registered.

python benchmarks/pull.py [--runs N] [--json FILE] [--strict]
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers import progress
from report import OURS, Figure, Report, Target, parser

from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.sources.published import Wanted
from pycloudlib.local.images.sources.pull import Puller
from pycloudlib.local.images.sources.site import Sites

CURL = "curl, then sha256sum"
MIB = 2**20
SIZE = 600 * MIB
DISK = "9/images/x86_64/Rocky-9-EC2-Base-9.8-20260525.0.x86_64.qcow2"
LIMIT = 1.2


def publish(directory: Path) -> None:
    """Write a disk of random blocks, and its checksum."""
    disk = directory / DISK
    disk.parent.mkdir(parents=True)
    digest = hashlib.sha256()
    with disk.open("wb") as file:
        for block in (b"\x55\xaa".rjust(512, b"\0"), *(os.urandom(MIB) for _ in range(SIZE // MIB))):
            file.write(block)
            digest.update(block)
    disk.with_name(f"{disk.name}.CHECKSUM").write_text(f"{digest.hexdigest()}  {disk.name}\n")


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory by a process of its own, and yield the URL."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(directory), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{server.stdout.readline().split(' port ')[1].split()[0]}"
        finally:
            server.terminate()


def by_curl(url: str, directory: Path) -> None:
    file = directory / "disk"
    subprocess.run(["curl", "--silent", "--fail", "--output", str(file), f"{url}/{DISK}"], check=True)
    subprocess.run(["sha256sum", str(file)], check=True, stdout=subprocess.DEVNULL)


def by_this(url: str, directory: Path) -> None:
    Puller(Catalog(directory), Sites(mirrors={"rocky": url})).pull([Wanted("rocky-9")])


def measure(runs: int) -> list[Figure]:
    found: dict[str, list[float]] = {OURS: [], CURL: []}
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as url:
        publish(Path(name))
        for _ in range(runs):
            for way, pull in ((OURS, by_this), (CURL, by_curl)):
                with tempfile.TemporaryDirectory() as target:
                    began = time.monotonic()
                    pull(url, Path(target))
                    found[way].append(time.monotonic() - began)
                progress("pull", way, f"{found[way][-1]:.2f} s")
    return [Figure(way, "pull of 600 MiB", "s", tuple(values)) for way, values in found.items()]


def main() -> int:
    arguments = parser(__doc__, runs=3).parse_args()
    figures = measure(arguments.runs)
    ours, curl = (one.median for one in figures)
    targets = (Target("pull of 600 MiB, verified and registered, against curl and sha256sum", ours / curl, LIMIT, "x"),)
    title = "pull: an image is downloaded from loopback, verified, and registered"
    return Report("pull", title, arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
