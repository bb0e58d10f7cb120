"""Another EC2, behind a connection on which one call goes wrong, in a way that is chosen."""

from __future__ import annotations

import enum
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RESET = struct.pack("ii", 1, 0)
"""Linger for no time: closing resets the connection."""


class Break(enum.Enum):
    """Where the connection breaks."""

    BEFORE = "connection reset before EC2 acted"
    AFTER = "connection reset after EC2 acted"
    SILENCE = "EC2 acted and its answer never came"
    DEAF = "EC2 did not act and nothing ever came"


@dataclass(frozen=True)
class Refusal:
    """An answer of EC2 that is no.

    Args:
        code: the AWS error code.
        status: the HTTP status.
    """

    code: str
    status: int = 400


Fault = Break | Refusal


@dataclass
class FaultyEC2:
    """What has been asked, and what goes wrong.

    Args:
        url: where it answers.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    fault: Fault | None = None
    at: int | None = None
    action: str = ""
    for_good: bool = False
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    hooks: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)
    barriers: dict[str, threading.Barrier] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, call: int, fault: Fault) -> None:
        """Let the call of this number go wrong; the first one is 0."""
        self.asked, self.at, self.fault = [], call, fault

    def fail_action(self, action: str, fault: Fault, *, for_good: bool = False) -> None:
        """Let the first call of this action go wrong; and, for good, every call from then on."""
        self.asked, self.at, self.action, self.fault, self.for_good = [], None, action, fault, for_good

    def fail_all(self, fault: Fault) -> None:
        """Let every call go wrong from now on."""
        self.asked, self.at, self.action, self.fault, self.for_good = [], None, "", fault, True

    def interrupt(
        self, call: int, *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
    ) -> None:
        """Let something happen just before, or just after, EC2 acts on the call of this number."""
        self.asked, self.at, self.fault = [], call, None
        self.before, self.after = before, after

    def on(
        self, action: str, *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
    ) -> None:
        """Let something happen just before, or just after, EC2 acts on the next call of an action."""
        for moment, hook in (("before", before), ("after", after)):
            if hook is not None:
                self.hooks[moment, action] = hook

    def meet_at(self, action: str, parties: int, patience: float = 30.0) -> None:
        """Hold the first calls of an action until that many have come."""
        self.barriers[action] = threading.Barrier(parties, lambda: self.barriers.pop(action, None), patience)

    def behave(self) -> None:
        """Let nothing go wrong any more, and hold no connection any more."""
        self.released.set()
        self.released = threading.Event()
        self.asked, self.at, self.fault, self.before, self.after = [], None, None, None, None
        self.action, self.for_good = "", False
        self.hooks.clear()
        self.barriers.clear()

    def is_hit_by(self, action: str) -> bool:
        """Count a call, and tell whether it is the one."""
        with self._lock:
            self.asked.append(action)
            if self.for_good and (not self.action or self.action in self.asked):
                return True
            if self.action:
                return action == self.action and self.asked.count(action) == 1
            return len(self.asked) - 1 == self.at


@contextmanager
def faulty_ec2(upstream: str) -> Iterator[FaultyEC2]:
    """Serve it on a loopback port for as long as the context lasts.

    Args:
        upstream: the URL of the EC2 that acts.
    """
    with _Server(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.faulty
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        self.faulty = FaultyEC2()
        self.upstream = upstream
        self.ending = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faulty.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Let a client that was killed go without a word."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = parse_qs(body.decode())["Action"][0]
        if not self.server.faulty.is_hit_by(action):
            if action in self.server.faulty.barriers:
                self.server.faulty.barriers[action].wait()
            self._run_hook("before", action)
            answer = self._forwarded(body)
            self._run_hook("after", action)
            self._answer(*answer)
            return
        if isinstance(self.server.faulty.fault, Refusal):
            self._answer(self.server.faulty.fault.status, "text/xml", _refused(self.server.faulty.fault.code))
            return
        self._go_wrong(body)

    def _run_hook(self, moment: str, action: str) -> None:
        hook = self.server.faulty.hooks.pop((moment, action), None)
        if hook is not None:
            hook()

    def _go_wrong(self, body: bytes) -> None:
        if self.server.faulty.fault is Break.BEFORE:
            self._reset()
            return
        if self.server.faulty.fault is Break.DEAF:
            self._hold()
            return
        if self.server.faulty.before is not None:
            self.server.faulty.before()
        answer = self._forwarded(body)
        if self.server.faulty.after is not None:
            self.server.faulty.after()
        if self.server.faulty.fault is Break.AFTER:
            self._reset()
        elif self.server.faulty.fault is Break.SILENCE:
            self._hold()
        else:
            self._answer(*answer)

    def _hold(self) -> None:
        """Say nothing until the other side gives up."""
        _wait_for_the_end(self.connection, self.server.ending, self.server.faulty.released)
        self.close_connection = True

    def _forwarded(self, body: bytes) -> tuple[int, str, bytes]:
        target = urlsplit(self.server.upstream)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            connection.request("POST", target.path or "/", body, headers | {"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type", "text/xml"), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        # After a reset there is nothing left to flush.
        try:
            super().finish()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _refused(code: str) -> bytes:
    error = f"<Error><Code>{code}</Code><Message>it was told to</Message></Error>"
    return f"<Response><Errors>{error}</Errors><RequestID>r-fault</RequestID></Response>".encode()


def _wait_for_the_end(connection: socket.socket, *endings: threading.Event) -> None:
    """Hold a connection until the other side gives up, or one of these events."""
    connection.settimeout(0.2)
    while not any(ending.is_set() for ending in endings):
        try:
            if not connection.recv(1024):
                return
        except TimeoutError:
            continue
        except OSError:
            return
