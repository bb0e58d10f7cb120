"""The public addresses of instances, which are addresses of this host."""

from __future__ import annotations

import contextlib
import ipaddress
import random
import socket
import threading
from collections.abc import Iterator

from pycloudlib.errors import LocalEC2Error

LOOPBACK_CIDR = "127.0.0.0/8"
"""The loopback network: on Linux, all of its addresses are addresses of the host."""
LONGEST_PREFIX = 28
"""The longest prefix of a configured CIDR block: 14 addresses."""

_ATTEMPTS = 1000
_UNUSABLE = tuple(
    ipaddress.IPv4Network(block)
    for block in ("0.0.0.0/8", LOOPBACK_CIDR, "169.254.0.0/16", "198.51.100.0/24", "224.0.0.0/3")
)


def check_public_cidr(cidr: str) -> None:
    """Check a CIDR block of public addresses, all of which must be addresses of this host.

    Args:
        cidr: the block, such as "203.0.113.0/24"; "" for loopback addresses.

    Raises:
        LocalEC2Error: the block is malformed or unusable, or its addresses are not the host's.
    """
    if not cidr:
        return
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise LocalEC2Error(f"invalid public CIDR block {cidr!r}: {error}; give one such as 203.0.113.0/24") from error
    if network.prefixlen > LONGEST_PREFIX or any(network.overlaps(unusable) for unusable in _UNUSABLE):
        raise LocalEC2Error(
            f"instances cannot have public addresses in {cidr}: give at least a /{LONGEST_PREFIX} of unicast addresses "
            "such as 203.0.113.0/24, without loopback and link-local ones, and not 198.51.100.0/24"
        )
    if not all(can_bind(str(network[number]), 0) for number in (1, -2)):
        raise LocalEC2Error(
            f"the addresses of {cidr} are not this host's: run `sudo ip route add local {cidr} dev lo` once, or leave "
            "out the public CIDR block"
        )


def can_bind(address: str, port: int) -> bool:
    """Return whether a port can be listened on; 0 for any."""
    with contextlib.closing(reusable_socket()) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def reusable_socket() -> socket.socket:
    """Return a TCP socket that can be bound although earlier connections of its port linger."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener


class PublicAddresses:
    """The addresses that instances get as public ones.

    Addresses are drawn at random to avoid collisions between concurrent servers. In a configured block, which is small,
    each address is also claimed from them.

    Args:
        port: an address is free if this port can be bound on it; None to accept any address.
        cidr: the CIDR block to take them from; default "": loopback addresses.
    """

    def __init__(self, port: int | None, cidr: str = "") -> None:
        self._port = port
        self._cidr = cidr
        self._taken: dict[str, socket.socket | None] = {}
        self._lock = threading.Lock()

    def allocate(self) -> str:
        """Allocate a free address.

        Raises:
            LocalEC2Error: no free address was found.
        """
        busy = False
        for address in self._candidates():
            with self._lock:
                if address in self._taken:
                    continue
                claim = self._claim(address)
                if claim is None and self._is_claimed:
                    continue
                self._taken[address] = claim
            if self._port is None or can_bind(address, self._port):
                return address
            busy = True
            self.release(address)
        if not busy:
            raise LocalEC2Error(f"no address of {self._cidr} is left: release one, or configure a larger block")
        kind = f"address of {self._cidr}" if self._cidr else "loopback address"
        raise LocalEC2Error(f"no {kind} has port {self._port} free: stop what listens on it on all addresses")

    def release(self, address: str) -> None:
        """Release an address."""
        with self._lock:
            claim = self._taken.pop(address, None)
            if claim is not None:
                claim.close()

    @property
    def _is_claimed(self) -> bool:
        return self._port is not None and bool(self._cidr)

    def _claim(self, address: str) -> socket.socket | None:
        """Return a socket that holds an address until it is closed; None if another server holds it."""
        if not self._is_claimed:
            return None
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # An abstract name: it is unique in the network namespace, as the address is, and ends with the process.
            claim.bind(f"\0pycloudlib-public-address-{address}")
        except OSError:
            claim.close()
            return None
        return claim

    def _candidates(self) -> Iterator[str]:
        if self._cidr:
            network = ipaddress.IPv4Network(self._cidr)
            hosts = range(1, network.num_addresses - 1)
            for number in random.sample(hosts, min(len(hosts), 2 * _ATTEMPTS)):
                yield str(network[number])
            return
        for _ in range(_ATTEMPTS):
            # Skip 127.0.0.0/16, where services of the host listen.
            yield f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"  # noqa: S311
