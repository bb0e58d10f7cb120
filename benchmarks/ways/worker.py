"""What all ways of doing something have in common: each is a process that answers requests, a line of JSON each.

It runs in the environment of each competitor, so it needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_SECONDS = 0.05


def serve(**actions: Callable[..., dict[str, Any]]) -> None:
    """Answer until there are no more requests: {"do": "execute", "runs": 3} calls execute(runs=3)."""
    actions["ready"] = dict
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Whatever a library prints is not an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        answer = actions[request.pop("do")](**request)
        print(json.dumps(answer), file=answers, flush=True)


def timed(call: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def resident() -> int:
    """Bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE


class Memory:
    """The memory in use beyond that of the beginning, in bytes."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._base = resident()
        self.samples: list[tuple[float, int]] = []

    def take(self) -> None:
        self.samples.append((time.perf_counter() - self._began, resident() - self._base))

    def peak(self, until: float = float("inf")) -> int:
        """The most, in the first seconds."""
        return max((grown for seconds, grown in self.samples if seconds <= until), default=0)


@contextmanager
def watched_memory() -> Iterator[Memory]:
    """Look at the memory in use, all the time."""
    memory = Memory()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            memory.take()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()
        memory.take()


def timed_with_memory(call: Callable[[], object]) -> dict[str, Any]:
    """The seconds that a call takes, and the most memory beyond that before it."""
    with watched_memory() as memory:
        seconds = timed(call)
    return {"seconds": seconds, "grown": memory.peak()}


def timed_launch(launch_all: Callable[[], object], cloud_seconds: float) -> dict[str, Any]:
    """What a launch takes: seconds, calls, seconds of the processor, and memory.

    Args:
        launch_all: launches all instances, and waits until they are ready.
        cloud_seconds: the cloud's own time, in which nothing but waiting happens.
    """
    with watched_memory() as memory, Calls() as calls:
        before = time.process_time()
        seconds = timed(launch_all)
        processor = time.process_time() - before
    return {
        "seconds": seconds,
        "calls": calls.count,
        "processor": processor,
        "waiting": memory.peak(until=cloud_seconds),
        "peak": memory.peak(),
    }


class Calls:
    """Counts the requests that botocore sends, whichever of its clients sends them."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Calls:
        from botocore.httpsession import URLLib3Session  # noqa: PLC0415  (not every environment has it)

        self._session = URLLib3Session
        self._send = URLLib3Session.send
        lock = threading.Lock()

        def counted(session: Any, request: Any) -> Any:
            with lock:
                self.count += 1
            return self._send(session, request)

        URLLib3Session.send = counted
        return self

    def __exit__(self, *_: object) -> None:
        self._session.send = self._send
