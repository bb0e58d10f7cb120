"""Forward UDP ports of public addresses to machines in VPCs."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.forwarder import Target

logger = logging.getLogger(__name__)

MAX_SESSIONS = 256
"""The maximum number of client sessions; a new session evicts the least recently used one."""

_LARGEST = 65535

Endpoint = tuple[str, int]


class DatagramForwarder:
    """Receives datagrams at public addresses. Thread-safe.

    Each client of each port has its own socket inside the VPC, which receives the machine's replies. Datagrams that
    cannot be forwarded are dropped.

    Args:
        open_socket: creates a UDP socket inside a VPC, given its id; see Fabric.client_socket().
        max_sessions: default MAX_SESSIONS.
    """

    def __init__(self, open_socket: Callable[[str], socket.socket], max_sessions: int = MAX_SESSIONS) -> None:
        self._open_socket = open_socket
        self._max_sessions = max_sessions
        self._lock = threading.Lock()
        self._listeners: dict[Endpoint, tuple[socket.socket, Target]] = {}
        self._sessions: OrderedDict[tuple[Endpoint, Endpoint], socket.socket] = OrderedDict()
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._closed = False
        self._thread = threading.Thread(target=self._forward_all, name="datagrams", daemon=True)
        self._thread.start()

    def set_ports(self, ports: Mapping[str, Mapping[int, Target]]) -> None:
        """Bind exactly these ports.

        Args:
            ports: the target of each port, by public address.

        Raises:
            LocalEC2Error: some ports cannot be bound; all others are bound.
        """
        desired = {
            (address, port): target
            for address, address_ports in ports.items()
            for port, target in address_ports.items()
        }
        refused = []
        with self._lock:
            if self._closed:
                return
            for endpoint in [bound for bound, (_, target) in self._listeners.items() if desired.get(bound) != target]:
                self._forget(endpoint)
            for endpoint in sorted(desired.keys() - self._listeners.keys()):
                try:
                    self._bind(endpoint, desired[endpoint])
                except OSError as error:
                    refused.append(f"{endpoint[0]}:{endpoint[1]} ({error.strerror})")
        if refused:
            raise LocalEC2Error(f"cannot receive datagrams at {', '.join(refused)}")

    def close(self) -> None:
        """Stop forwarding."""
        with self._lock:
            self._closed = True
            self._wake_writer.send(b"x")
        self._thread.join()
        with self._lock:
            for endpoint in list(self._listeners):
                self._forget(endpoint)
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _bind(self, endpoint: Endpoint, target: Target) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            listener.setblocking(False)
            listener.bind(endpoint)
        except BaseException:
            listener.close()
            raise
        self._listeners[endpoint] = listener, target
        self._selector.register(listener, selectors.EVENT_READ, (endpoint, None))

    def _forget(self, endpoint: Endpoint) -> None:
        listener, _ = self._listeners.pop(endpoint)
        self._drop(listener)
        for key in [session for session in self._sessions if session[0] == endpoint]:
            self._drop(self._sessions.pop(key))

    def _drop(self, closed: socket.socket) -> None:
        self._selector.unregister(closed)
        closed.close()

    def _forward_all(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if self._closed:
                    return
                endpoint, client = key.data
                # The socket was closed concurrently, or the machine rejects datagrams.
                with contextlib.suppress(OSError):
                    if client is None:
                        self._receive(endpoint)
                    else:
                        self._receive_reply(endpoint, client)

    def _receive(self, endpoint: Endpoint) -> None:
        """Forward a client's datagram."""
        with self._lock:
            if endpoint not in self._listeners:
                return
            listener, target = self._listeners[endpoint]
            data, client = listener.recvfrom(_LARGEST)
            session = self._sessions.get((endpoint, client))
        if session is None:
            try:
                # Do not hold the lock: opening a socket waits for the network, which may be calling this object.
                session = self._open_session(endpoint, client, target)
            except LocalEC2Error as error:
                logger.debug("no datagrams to %s: %s", target, error)
                return
        with self._lock:
            if (endpoint, client) in self._sessions:
                self._sessions.move_to_end((endpoint, client))
                session.send(data)

    def _open_session(self, endpoint: Endpoint, client: Endpoint, target: Target) -> socket.socket:
        assert target.vpc_id is not None  # noqa: S101  (public addresses lead to machines)
        session = self._open_socket(target.vpc_id)
        try:
            session.setblocking(False)
            session.connect((target.address, target.port))
        except BaseException:
            session.close()
            raise
        with self._lock:
            if endpoint not in self._listeners:
                session.close()
                return session
            if len(self._sessions) >= self._max_sessions:
                self._drop(self._sessions.popitem(last=False)[1])
            self._sessions[endpoint, client] = session
            self._selector.register(session, selectors.EVENT_READ, (endpoint, client))
        return session

    def _receive_reply(self, endpoint: Endpoint, client: Endpoint) -> None:
        """Forward a machine's reply to its client."""
        with self._lock:
            session = self._sessions.get((endpoint, client))
            if session is not None:
                self._listeners[endpoint][0].sendto(session.recv(_LARGEST), client)
