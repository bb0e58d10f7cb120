"""Redirection of many ports of public addresses to one listener, by the host's kernel."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Mapping, Sequence

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.nftables import Nftables

_SO_ORIGINAL_DST = 80
_SOCKADDR_IN = struct.Struct("!HH4s8x")


class Redirection:
    """An nftables table in the process's network namespace, which requires root.

    This object owns the table: `nft flush ruleset` of other programs does not delete it, and the kernel deletes it when
    the process exits.

    Args:
        port: the port of 127.0.0.1 that receives the redirected connections.

    Raises:
        LocalEC2Error: nftables rejected the table, or libnftables is not installed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._closed = False
        self._table = f"inet pycloudlib_{os.getpid()}_{port}"
        self._nftables = Nftables()
        if not self._nftables.owns_tables:
            self._nftables.close()
            raise LocalEC2Error("redirecting all ports needs libnftables: install the package libnftables1")
        self.set_ports({})

    def set_ports(self, ports: Mapping[str, Sequence[range]]) -> None:
        """Redirect exactly these TCP ports. Established connections are unaffected.

        Args:
            ports: port ranges that do not overlap, by address.
        """
        elements = [
            f"{address} . {port_range[0]}-{port_range[-1]}"
            for address, ranges in sorted(ports.items())
            for port_range in ranges
            if port_range
        ]
        with self._lock:
            if not self._closed:
                self._nftables.run(self._ruleset(elements))

    def _ruleset(self, elements: Sequence[str]) -> str:
        listed = f"elements = {{ {', '.join(elements)} }}" if elements else ""
        # Add the table first, so that deleting it succeeds; the transaction is atomic.
        return f"""
table {self._table} {{
  flags owner
}}
delete table {self._table}
table {self._table} {{
  flags owner
  set ports {{
    type ipv4_addr . inet_service
    flags interval
    {listed}
  }}
  chain output {{
    type nat hook output priority -100;
    ip daddr . tcp dport @ports redirect to :{self._port}
  }}
}}
"""

    def close(self) -> None:
        """End the redirection."""
        with self._lock:
            self._closed = True
            self._nftables.close()


def original_destination(connection: socket.socket) -> tuple[str, int] | None:
    """Return the original destination address and port of a connection; None if it was not redirected."""
    try:
        socket_address = connection.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN.size)
    except OSError:
        return None
    _, port, address = _SOCKADDR_IN.unpack(socket_address)
    return socket.inet_ntoa(address), port
