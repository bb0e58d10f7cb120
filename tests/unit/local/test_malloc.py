"""One arena of malloc for all threads of a server."""

from __future__ import annotations

import itertools
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.plain_ec2 import simulated_ec2
from support.query_api import QueryAPI

CLIENTS = 8
HEAP = 64 * 1024 * 1024

ARENAS = """
import ctypes, sys, threading
from pycloudlib.local.malloc import limit_malloc
if sys.argv[1] == "limited":
    limit_malloc()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
"""


def arenas(how: str) -> int:
    program = subprocess.run([sys.executable, "-c", ARENAS, how], stdout=subprocess.PIPE, check=True, text=True)
    return program.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_info() is glibc's")
def test_threads_share_one_arena() -> None:
    assert arenas("default") > 1
    assert arenas("limited") == 1


def arenas_of_threads(pid: int) -> int:
    """Count the heaps of threads' arenas: 64 MiB each, aligned, of which the first part is accessible."""
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    maps = [(*(int(end, 16) for end in line[0].split("-")), line[1]) for line in lines]
    return sum(
        (first[2], second[2]) == ("rw-p", "---p") and first[0] % HEAP == 0 and second[1] == first[0] + HEAP
        for first, second in itertools.pairwise(maps)
    )


def test_threads_of_a_server_share_one_arena(tmp_path: Path) -> None:
    with simulated_ec2(tmp_path) as local, ThreadPoolExecutor(CLIENTS) as clients:
        api = QueryAPI(local)
        replies = clients.map(lambda _: api.ask("DescribeInstanceTypes"), range(CLIENTS))
        assert {reply.status for reply in replies} == {200}
        assert local.info is not None
        assert arenas_of_threads(local.info.pid) == 0
