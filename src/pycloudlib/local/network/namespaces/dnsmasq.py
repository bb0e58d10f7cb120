"""dnsmasq: DHCP, DHCPv6, router advertisements, and DNS for a VPC's guests.

The server derives the settings from a topology (DnsmasqSettings); the helper runs the process (Dnsmasq).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pycloudlib.local import prerequisites
from pycloudlib.local.network.namespaces import syscalls
from pycloudlib.local.network.namespaces.host_names import domain_of, host_names, name_of_address, public_domain_of
from pycloudlib.local.network.namespaces.service_addresses import resolver_of
from pycloudlib.local.network.topology import AMAZON_PROVIDED_DNS, Vpc

JUMBO_MTU = 9001
LEASE_SECONDS = 3600
MAX_LEASES = 65536
RESTART_SECONDS = 1.0
"""The pause before a restart in seconds, if dnsmasq exited right after its start."""
FORGET_SECONDS = 30.0
"""The minimum number of seconds between two restarts for the same device that clear the leases."""
_REFUSED = re.compile(rb"DHCP\w+\((\w+)\) .*(?:no addresses available|address in use)")


@dataclass(frozen=True)
class DnsmasqSettings:
    """The settings of a VPC's dnsmasq, sent to the helper as JSON.

    Args:
        arguments: the command-line arguments; a change requires a restart.
        leases: the line for each interface's addresses, by interface id.
        hosts: the addresses of names, one "address name..." line each.
    """

    arguments: Sequence[str]
    leases: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the settings as a JSON document."""
        return asdict(self)


def dnsmasq_settings(vpc: Vpc, upstream: str | None, public_cidr: str | None = None) -> DnsmasqSettings:
    """Return the settings of a VPC's dnsmasq.

    Args:
        vpc: the VPC.
        upstream: the DNS server for all other names; None for none.
        public_cidr: the CIDR block of public addresses, whose public names resolve in every VPC; default none.
    """
    domain = domain_of(vpc)
    # Names of the VPC's own public addresses are in the hosts file, which takes precedence.
    public_names = [f"--synth-domain={public_domain_of(vpc)},{public_cidr},ec2-"] if public_cidr is not None else []
    ranges = []
    for subnet in sorted(vpc.subnets.values(), key=lambda subnet: subnet.subnet_id):
        network = ipaddress.IPv4Network(subnet.cidr)
        ranges.append(f"--dhcp-range={network[0]},static,{network.netmask},{LEASE_SECONDS}")
        if subnet.ipv6_cidr is not None:
            prefix = ipaddress.IPv6Network(subnet.ipv6_cidr)
            # Off-link: guests need not look for neighbors, each of which neighbor_proxy would have to answer for.
            ranges.append(f"--dhcp-range={prefix[0]},static,off-link,{prefix.prefixlen},{LEASE_SECONDS}")
    arguments = [
        *([f"--server={upstream}"] if upstream is not None else []),
        f"--domain={domain}",
        f"--local=/{domain}/",
        *(f"--synth-domain={domain},{cidr},ip-" for cidr in vpc.cidrs),
        *public_names,
        f"--dhcp-option=option:mtu,{JUMBO_MTU}",
        *_dhcp_options(vpc),
        *(["--enable-ra"] if any(subnet.ipv6_cidr for subnet in vpc.subnets.values()) else []),
        *ranges,
    ]
    return DnsmasqSettings(arguments, _leases(vpc), host_names(vpc))


def _dhcp_options(vpc: Vpc) -> list[str]:
    """Return the arguments for a VPC's DHCP options. An option without values is not sent."""
    options = vpc.dhcp_options
    if options is None:
        options = {"domain-name": (domain_of(vpc),), "domain-name-servers": (AMAZON_PROVIDED_DNS,)}
    # Every subnet has IPv4. Amazon's DNS server in DHCPv6 would replace that of DHCP in a guest's resolv.conf.
    servers = [
        resolver_of(vpc) if server == AMAZON_PROVIDED_DNS else server
        for server in options.get("domain-name-servers", ())
    ]
    return [
        _option("option:domain-name", options.get("domain-name", ())),
        _option("option:dns-server", _of_family(servers, 4)),
        _option("option6:dns-server", _of_family(servers, 6)),
        *(
            _option(name, values)
            for name, values in (
                ("option:ntp-server", _of_family(options.get("ntp-servers", ()), 4)),
                ("option6:sntp-server", _of_family(options.get("ntp-servers", ()), 6)),
                ("option:netbios-ns", _of_family(options.get("netbios-name-servers", ()), 4)),
                ("option:netbios-nodetype", options.get("netbios-node-type", ())),
            )
            if values
        ),
    ]


def _option(name: str, values: Sequence[str]) -> str:
    return f"--dhcp-option={','.join([name, *values])}"


def _of_family(addresses: Sequence[str], version: int) -> list[str]:
    """Return the addresses of an IP version, in dnsmasq's notation."""
    form = "[{}]" if version == 6 else "{}"  # noqa: PLR2004  (IPv6)
    return [form.format(address) for address in addresses if ipaddress.ip_address(address).version == version]


def _leases(vpc: Vpc) -> dict[str, str]:
    leases = {}
    for interface in vpc.interfaces.values():
        attachment = interface.attachment
        ipv6 = [f"[{address}]" for address in attachment.ipv6_addresses[:1]]
        name = name_of_address(attachment.private_ip)
        fields = [attachment.mac, attachment.private_ip, *ipv6, name, str(LEASE_SECONDS)]
        leases[interface.interface_id] = ",".join(fields)
    return leases


class Dnsmasq:
    """A dnsmasq process in the process's network namespace, for the helper only.

    Args:
        directory: the directory for its files and its log, which is created.
    """

    def __init__(self, directory: Path) -> None:
        self._leases_directory = directory / "leases"
        self._hosts_file = directory / "hosts"
        self._log = directory / "dnsmasq.log"
        self._leases_directory.mkdir(parents=True, exist_ok=True)
        # A killed helper leaves them behind.
        for stale in self._leases_directory.iterdir():
            stale.unlink()
        _replace(self._hosts_file, "")
        self._settings = DnsmasqSettings([])
        self._leased: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._last_line = b""
        self._cleared_leases: dict[str, float] = {}
        self.pidfd: int | None = None
        self.output_fd: int | None = None

    def configure(self, settings: DnsmasqSettings) -> None:
        """Apply settings, and start dnsmasq unless it is running."""
        for interface_id in self._settings.leases.keys() - settings.leases.keys():
            (self._leases_directory / interface_id).unlink(missing_ok=True)
        for interface_id, line in settings.leases.items():
            if self._settings.leases.get(interface_id) != line:
                _replace(self._leases_directory / interface_id, f"{line}\n")
        if settings.hosts != self._settings.hosts:
            _replace(self._hosts_file, "".join(f"{line}\n" for line in settings.hosts))
        needs_restart = settings.arguments != self._settings.arguments or self._has_conflicting_lease(settings)
        needs_reload = settings.hosts != self._settings.hosts
        self._settings = settings
        if needs_restart or self._process is None:
            self.start()
        elif needs_reload:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    def _has_conflicting_lease(self, settings: DnsmasqSettings) -> bool:
        """Return whether dnsmasq would reject a lease that conflicts with one it has granted."""
        for line in settings.leases.values():
            mac, address = line.split(",")[:2]
            if self._leased.setdefault(address, mac) != mac or self._leased.setdefault(mac, address) != address:
                return True
        return False

    def start(self) -> None:
        """Restart dnsmasq without its leases, which are static anyway."""
        self.stop()
        self._leased.clear()
        self._has_conflicting_lease(self._settings)
        program = prerequisites.require("dnsmasq", "to serve DHCP and names")
        # In a user namespace, setgroups() is denied, which is fatal to dnsmasq except in debug mode.
        as_root = Path("/proc/self/setgroups").read_text(encoding="ascii").strip() == "allow"
        user = ["--keep-in-foreground", "--user=root", "--group=root"] if as_root else ["--no-daemon"]
        helper = os.getpid()
        self.output_fd, output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.output_fd, False)
        try:
            self._process = subprocess.Popen(
                [
                    str(program),
                    *user,
                    "--conf-file=/dev/null",
                    "--no-hosts",
                    "--no-resolv",
                    "--bind-dynamic",
                    "--interface=eni*",
                    "--interface=lo",
                    "--pid-file=",
                    "--leasefile-ro",
                    "--dhcp-authoritative",
                    "--no-ping",
                    # One lease per interface; the default limit is 1,000.
                    f"--dhcp-lease-max={MAX_LEASES}",
                    "--log-facility=-",
                    # A flooding guest would fill the disk.
                    "--quiet-dhcp",
                    "--quiet-dhcp6",
                    "--quiet-ra",
                    f"--dhcp-hostsdir={self._leases_directory}",
                    f"--addn-hosts={self._hosts_file}",
                    *self._settings.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # The helper parses messages.
                env={**os.environ, "LC_ALL": "C"},
                # The helper is single-threaded.
                preexec_fn=lambda: syscalls.die_with_parent(helper),  # noqa: PLW1509
            )
        except BaseException:
            self._close_output()
            raise
        finally:
            os.close(output)
        self._started = time.monotonic()
        self.pidfd = os.pidfd_open(self._process.pid)

    def log_output(self) -> set[str]:
        """Append new messages of dnsmasq to its log.

        Returns:
            The devices of guests that were refused their own IPv6 address since the last call. dnsmasq reserves an
            address for the first DHCPv6 client (DUID) that leases it. A guest has another DUID after
            `cloud-init clean`, and with another root volume. Restart dnsmasq to clear the lease.
        """
        output = self._read_output()
        with contextlib.suppress(OSError), self._log.open("ab") as log:
            log.write(output)
        *lines, self._last_line = (self._last_line + output).split(b"\n")
        refused = {match[1].decode() for match in map(_REFUSED.search, lines) if match is not None}
        now = time.monotonic()
        self._cleared_leases = {
            device: since for device, since in self._cleared_leases.items() if now - since < FORGET_SECONDS
        }
        refused -= self._cleared_leases.keys()
        self._cleared_leases.update(dict.fromkeys(refused, now))
        return refused

    def has_ipv6_address(self, interface_id: str) -> bool:
        """Return whether dnsmasq serves an IPv6 address to an interface."""
        return "[" in self._settings.leases.get(interface_id, "")

    def _read_output(self) -> bytes:
        chunks = []
        with contextlib.suppress(BlockingIOError):
            while self.output_fd is not None and (chunk := os.read(self.output_fd, 65536)):
                chunks.append(chunk)
        return b"".join(chunks)

    def _close_output(self) -> None:
        if self.output_fd is not None:
            os.close(self.output_fd)
            self.output_fd = None
        self._last_line = b""

    @property
    def restart_at(self) -> float:
        """The earliest time of the next restart, on the monotonic clock."""
        return self._started + RESTART_SECONDS

    @property
    def pid(self) -> int | None:
        """The process id; None while dnsmasq is not running."""
        return self._process.pid if self._process is not None else None

    @property
    def has_ended(self) -> bool:
        """Whether dnsmasq exited unexpectedly."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> int | None:
        """Kill dnsmasq; return its exit status, or None if it was not running."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        if self._process is None:
            return None
        self._process.kill()
        status = self._process.wait()
        self._process = None
        self.log_output()
        self._close_output()
        return status


def _replace(path: Path, text: str) -> None:
    # dnsmasq reads a file as soon as it appears, and ignores names with a leading dot.
    partial = path.with_name(f".{path.name}")
    partial.write_text(text, encoding="ascii")
    partial.replace(path)
