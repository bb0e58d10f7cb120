"""slirp4netns, which connects a VPC to the internet through sockets of the host."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import prerequisites

logger = logging.getLogger(__name__)

DEVICE = "igw"

ADDRESS_IPV6, GATEWAY_IPV6 = "fd00::100/64", "fd00::2"
"""The device's IPv6 address and gateway, which slirp4netns has no options for."""

READY_SECONDS = 60.0
"""The start timeout in seconds; it takes 8 ms on an idle machine."""
RESTART_SECONDS = 1.0
"""The pause before a restart in seconds, if it exited right after its start."""

CANDIDATES = (
    "192.0.2.0/24",
    "203.0.113.0/24",
    "198.19.255.0/24",
    "100.127.255.0/24",
    "10.255.255.0/24",
    "192.168.255.0/24",
    "172.31.255.0/24",
)
"""Candidates for the network between a VPC and slirp4netns, in order of preference; its hosts are unreachable."""


def choose_network(taken: Iterable[str], host_routes: Iterable[str]) -> str:
    """Choose the network between a VPC and slirp4netns.

    Args:
        taken: the VPC's CIDR blocks, which the network must not overlap.
        host_routes: networks that the host has routes to, which the network should not overlap.

    Returns:
        A CIDR block with the prefix length 24.

    Raises:
        LocalEC2Error: the VPC overlaps all candidates.
    """
    free = [candidate for candidate in CANDIDATES if not overlaps(candidate, taken)]
    if not free:
        raise LocalEC2Error("no network is left for the internet gateway: use smaller CIDR blocks")
    routes = list(host_routes)
    return next((candidate for candidate in free if not overlaps(candidate, routes)), free[0])


def host_routes(table: Path = Path("/proc/net/route")) -> list[str]:
    """Return the networks of the host's IPv4 routes, except the default route."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    networks = []
    for line in lines:
        fields = line.split()
        destination, mask = (int(fields[column], 16).to_bytes(4, "little") for column in (1, 7))
        if any(mask):
            network = f"{ipaddress.IPv4Address(destination)}/{ipaddress.IPv4Address(mask)}"
            networks.append(str(ipaddress.IPv4Network(network, strict=False)))
    return networks


def hidden_networks(cidrs: Iterable[str], host_routes: Iterable[str]) -> list[str]:
    """Return the networks of the host that a VPC's instances do not reach, because they overlap its addresses.

    Args:
        cidrs: the VPC's CIDR blocks.
        host_routes: networks that the host has routes to.
    """
    blocks = list(cidrs)
    return [network for network in host_routes if overlaps(network, blocks)]


def gateway_of(network: str) -> str:
    """Return the gateway address of slirp4netns."""
    return str(ipaddress.IPv4Network(network)[2])


def resolver_of(network: str) -> str:
    """Return the address at which slirp4netns forwards DNS queries to the host's resolver."""
    return str(ipaddress.IPv4Network(network)[3])


def overlaps(network: str, others: Iterable[str]) -> bool:
    """Return whether a network overlaps any of the others."""
    ipv4_network = ipaddress.IPv4Network(network)
    blocks = (ipaddress.ip_network(block) for block in others)
    return any(isinstance(block, ipaddress.IPv4Network) and ipv4_network.overlaps(block) for block in blocks)


class Slirp:
    """A slirp4netns process that is restarted if it exits, and that exits with this process.

    Args:
        namespace: the path of the VPC's network namespace.
        user_namespace: the path of its user namespace; None for the user namespace of this process.
        network: the network between the VPC and slirp4netns; see choose_network().
        log: the log file.
        on_restart: called in a separate thread after a restart, which created the device and its routes again.

    Raises:
        LocalEC2Error: slirp4netns did not start.
        MissingPrerequisiteError: slirp4netns is not installed.
    """

    def __init__(
        self,
        namespace: Path,
        user_namespace: Path | None,
        network: str,
        *,
        log: Path,
        on_restart: Callable[[], object],
    ) -> None:
        self.network = network
        self._log = log
        self._on_restart = on_restart
        program = prerequisites.require("slirp4netns", "to connect VPCs to the internet")
        self._command = [
            str(program),
            "--netns-type=path",
            *([f"--userns-path={user_namespace}"] if user_namespace is not None else []),
            "--configure",
            "--mtu=65520",
            "--enable-ipv6",
            # Guests must not reach the host's services on loopback addresses.
            "--disable-host-loopback",
            f"--cidr={network}",
        ]
        self._target = [str(namespace), DEVICE]
        self._lock = threading.Lock()
        self._closed = False
        # slirp4netns exits when the other end is closed, which happens in any case when this process exits.
        self._exit_reader, self._exit_writer = os.pipe()
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process id; None while slirp4netns is not running."""
        process = self._process
        return process.pid if process is not None else None

    def close(self) -> None:
        """Kill slirp4netns."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            process, timer = self._process, self._timer
            os.close(self._exit_writer)
            os.close(self._exit_reader)
        if timer is not None:
            timer.cancel()
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> None:
        with self._lock:
            if self._closed:
                return
            ready_reader, ready_writer = os.pipe()
            with contextlib.ExitStack() as undo:
                undo.callback(os.close, ready_reader)
                with self._log.open("ab") as log:
                    options = [f"--ready-fd={ready_writer}", f"--exit-fd={self._exit_reader}"]
                    try:
                        self._process = process = subprocess.Popen(
                            [*self._command, *options, *self._target],
                            stdin=subprocess.DEVNULL,
                            stdout=log,
                            stderr=log,
                            pass_fds=[ready_writer, self._exit_reader],
                            start_new_session=True,
                        )
                    finally:
                        os.close(ready_writer)
                if not _is_readable(ready_reader, READY_SECONDS) or not os.read(ready_reader, 1):
                    process.kill()
                    process.wait()
                    raise LocalEC2Error(f"slirp4netns did not start: {_last_line(self._log)}")
            started = time.monotonic()
        threading.Thread(target=self._watch, args=(process, started), name="slirp4netns", daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes], started: float) -> None:
        status = process.wait()
        with self._lock:
            if self._closed:
                return
            pause = 0.0 if time.monotonic() - started > RESTART_SECONDS else RESTART_SECONDS
            logger.warning("slirp4netns exited with status %s; restarting it", status)
            self._timer = threading.Timer(pause, self._restart)
            self._timer.daemon = True
            self._timer.start()

    def _restart(self) -> None:
        try:
            self._start()
        except (OSError, LocalEC2Error) as error:
            logger.error("machines cannot reach the internet: %s", error)
            return
        if not self._closed:
            self._on_restart()


def _is_readable(fd: int, seconds: float) -> bool:
    """Wait for a file descriptor of any number; select() is limited to numbers below 1024."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
