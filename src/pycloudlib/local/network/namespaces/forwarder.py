"""Forward TCP ports of loopback addresses, such as public addresses, to machines in VPCs and to the host."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.redirection import original_destination

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 120.0
"""The connect timeout in seconds; packets that no rule allows are dropped silently."""
CHUNK = 1 << 20
"""The number of bytes moved per system call."""
PORTS_OF_EACH_ADDRESS = 16
"""The guaranteed number of listening ports per address, regardless of other addresses."""
NAMED_PORTS = 5
"""The maximum number of ports in an error message."""

_REDIRECTED = ("", 0)
"""The selector key of the listener for redirected connections."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Target:
    """The target of a port.

    Args:
        vpc_id: the VPC; None for the host.
        address: a private address in the VPC, or an address of the host.
        port: the target port.
    """

    vpc_id: str | None
    address: str
    port: int


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket on an address of the host.

    Raises:
        OSError: the port is in use, or needs privileges.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(socket.SOMAXCONN)
    except BaseException:
        listener.close()
        raise
    return listener


class Forwarder:
    """Listens on public addresses. Thread-safe.

    Connections to guests come from a socket inside the VPC, so that guests see the host's address as the client. If
    the guest refuses a connection, the accepted client connection is reset.

    Args:
        open_socket: creates an unconnected TCP socket inside a VPC, given its id, or on the host, given None; see
            Fabric.client_socket().
        listen: creates a listening socket, given address and port; default: listen().
        max_listeners: the maximum number of listening ports; default half of the process's limit of open files. Each
            address gets its first 16 ports regardless.
    """

    def __init__(
        self,
        open_socket: Callable[[str | None], socket.socket],
        listen: Callable[[str, int], socket.socket] = listen,
        max_listeners: int | None = None,
    ) -> None:
        self._open_socket = open_socket
        self._listen = listen
        self._max_listeners = max_listeners or resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._reported_limit = False
        self._lock = threading.Lock()
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self._targets: dict[tuple[str, int], Target] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._redirected: socket.socket | None = None
        self._find: Callable[[str, int], Target | None] = lambda *_: None
        self._spare_fd = os.open(os.devnull, os.O_RDONLY)
        self._closed = False
        self._thread = threading.Thread(target=self._accept_all, name="forwarder", daemon=True)
        self._thread.start()

    def set_ports(self, public_ip: str, targets: Mapping[int, Target]) -> None:
        """Listen on exactly these ports of a public address. Established connections are unaffected.

        Call it from one thread at a time per address.

        Args:
            public_ip: an address in 127.0.0.0/8.
            targets: the target of each port, in descending order of importance.

        Raises:
            LocalEC2Error: listening failed for some ports; all others are open.
        """
        desired = {(public_ip, port): target for port, target in targets.items()}
        refused: list[str] = []
        with self._lock:
            for endpoint in [
                existing for existing in self._listeners if existing[0] == public_ip and existing not in desired
            ]:
                self._stop_listening(endpoint)
            listening = desired.keys() & self._listeners.keys()
            self._targets.update((endpoint, desired[endpoint]) for endpoint in listening)
            added = self._within_limit([endpoint for endpoint in desired if endpoint not in listening], len(listening))
        for endpoint in added:
            try:
                # Do not hold the lock: listening may wait for another thread that closes this forwarder.
                listener = self._listen(*endpoint)
            except (OSError, LocalEC2Error) as error:
                refused.append(f"{endpoint[1]} ({getattr(error, 'strerror', None) or error})")
                continue
            self._add(endpoint, listener, desired[endpoint])
        if refused:
            rest = f", and {len(refused) - NAMED_PORTS} more" if len(refused) > NAMED_PORTS else ""
            raise LocalEC2Error(f"cannot listen on {public_ip}, port {', '.join(refused[:NAMED_PORTS])}{rest}")

    def accept_redirected(self, listener: socket.socket, find: Callable[[str, int], Target | None]) -> None:
        """Forward connections to many ports that the kernel redirects to one listener.

        Args:
            listener: the listener, which is closed with this object.
            find: returns the target of a port of a public address; None resets the connection.
        """
        listener.setblocking(False)
        with self._lock:
            self._redirected, self._find = listener, find
            self._selector.register(listener, selectors.EVENT_READ, _REDIRECTED)

    def addresses(self) -> set[str]:
        """Return the public addresses with listening ports."""
        with self._lock:
            return {address for address, _ in self._listeners}

    def ports(self, public_ip: str) -> set[int]:
        """Return the listening ports of a public address."""
        with self._lock:
            return {port for address, port in self._listeners if address == public_ip}

    def close(self) -> None:
        """Stop listening. Established connections end with their peers."""
        with self._lock:
            self._closed = True
            for endpoint in list(self._listeners):
                self._stop_listening(endpoint)
            if self._redirected is not None:
                self._selector.unregister(self._redirected)
                self._redirected.close()
            self._wake()
        self._thread.join()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
        os.close(self._spare_fd)

    def _within_limit(self, endpoints: Sequence[tuple[str, int]], listening: int) -> Sequence[tuple[str, int]]:
        """Return the first of an address's new endpoints, up to the limit of listeners."""
        room = max(self._max_listeners - len(self._listeners), PORTS_OF_EACH_ADDRESS - listening, 0)
        if len(endpoints) > room and not self._reported_limit:
            self._reported_limit = True
            logger.warning(
                "listening on %d ports, and no more: raise the limit of open files (ulimit -n), or let security groups "
                "open fewer ports to the host",
                self._max_listeners,
            )
        return endpoints[:room]

    def _add(self, endpoint: tuple[str, int], listener: socket.socket, target: Target) -> None:
        listener.setblocking(False)
        with self._lock:
            if self._closed:
                listener.close()
                return
            self._selector.register(listener, selectors.EVENT_READ, endpoint)
            self._listeners[endpoint] = listener
            self._targets[endpoint] = target

    def _stop_listening(self, endpoint: tuple[str, int]) -> None:
        listener = self._listeners.pop(endpoint)
        self._targets.pop(endpoint, None)
        self._selector.unregister(listener)
        listener.close()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_writer.send(b"x")

    def _accept_all(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._accept(key.data)

    def _accept(self, endpoint: tuple[str, int]) -> None:
        with self._lock:
            if self._closed:
                return
            listener = self._redirected if endpoint == _REDIRECTED else self._listeners.get(endpoint)
            target = self._targets.get(endpoint)
            if listener is None:
                return
            try:
                client, _ = listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._refuse(listener)
                return
        client.setblocking(True)
        if endpoint == _REDIRECTED:
            original = original_destination(client)
            target = self._find(*original) if original is not None else None
        if target is None:
            _reset(client)
            client.close()
            return
        threading.Thread(target=self._serve, args=(client, target), name="forward", daemon=True).start()

    def _refuse(self, listener: socket.socket) -> None:
        """Drop a queued connection when no file descriptor is left: the selector would report it forever."""
        logger.warning("too many open files to forward another connection")
        os.close(self._spare_fd)
        try:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                _reset(client)
        finally:
            self._spare_fd = os.open(os.devnull, os.O_RDONLY)

    def _serve(self, client: socket.socket, target: Target) -> None:
        with client:
            try:
                guest = self._open_socket(target.vpc_id)
            except LocalEC2Error as error:
                logger.debug("no connection to %s: %s", target, error)
                _reset(client)
                return
            with guest:
                try:
                    guest.settimeout(CONNECT_SECONDS)
                    guest.connect((target.address, target.port))
                    guest.settimeout(None)
                except OSError:
                    _reset(client)
                    return
                _exchange(client, guest)


def _reset(connection: socket.socket) -> None:
    """Make close() reset the connection, as the peer would observe without a forwarder."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def _exchange(client: socket.socket, server: socket.socket) -> None:
    for connection in (client, server):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = threading.Thread(target=_copy, args=(server, client), name="forward-back", daemon=True)
    back.start()
    _copy(client, server)
    back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Splice bytes until EOF of the source, then shut down the sink's sending side.

    The thread of the other direction may wait for either socket: every failure here wakes it.
    """
    reader, writer = os.pipe()
    try:
        while count := _read(source, writer, sink):
            _write(reader, sink, count, source)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
    except OSError:
        # _read() and _write() have shut the connections down already.
        return
    finally:
        os.close(reader)
        os.close(writer)


def _read(source: socket.socket, pipe: int, sink: socket.socket) -> int:
    """Splice a chunk into a pipe. If the source was reset, make close() reset the sink."""
    try:
        return os.splice(source.fileno(), pipe, CHUNK)
    except OSError:
        with contextlib.suppress(OSError):
            _reset(sink)
            # Not SHUT_WR, which would signal a regular EOF to the peer.
            sink.shutdown(socket.SHUT_RD)
        raise


def _write(pipe: int, sink: socket.socket, count: int, source: socket.socket) -> None:
    """Splice bytes out of a pipe. Shut the source down if the sink is closed."""
    try:
        while count:
            count -= os.splice(pipe, sink.fileno(), count)
    except OSError:
        with contextlib.suppress(OSError):
            _reset(source)
            source.shutdown(socket.SHUT_RDWR)
        raise
