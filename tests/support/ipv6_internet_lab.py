"""A computer in a network namespace of its own, with an IPv6 address that plays the internet, and machines.

A program, because a process cannot return from a user namespace. Prints what machines reached.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from pyroute2 import IPRoute

sys.path.insert(0, str(Path(__file__).parents[1]))

from pycloudlib.local.network.namespaces import slirp
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.waiting import Deadline, wait_until
from support.computer import enter_computer
from support.guest_network import PATIENCE, Guest
from support.sample_topologies import interface, lab

INTERNET = "2001:db8:ffff::9"
GATEWAY = "fe80::800:ff:fe00:1"
MACHINES = {
    "internet gateway": interface("a", "10.0.1.5"),
    "no gateway": interface("b", "10.0.2.5"),
    "egress-only gateway": interface("c", "10.0.3.5"),
}


def main() -> None:
    enter_computer()
    with IPRoute(groups=0) as netlink:
        netlink.addr("add", index=1, address=INTERNET, prefixlen=128, flags=0x02)  # IFA_F_NODAD
    for address in (INTERNET, "::1"):
        threading.Thread(target=serve, args=(address,), daemon=True).start()
    with contextlib.closing(Fabric(Path(sys.argv[1]))) as fabric, contextlib.ExitStack() as stack:
        fabric.apply(lab(*MACHINES.values()))
        guests = {}
        for name, one in MACHINES.items():
            addresses = [f"{one.attachment.private_ip}/24", f"{one.attachment.ipv6_addresses[0]}/128"]
            gateway = one.attachment.private_ip.rpartition(".")[0] + ".1"
            tap = fabric.add_interface(one.interface_id)
            guests[name] = stack.enter_context(Guest(tap, one.attachment.mac, addresses, [gateway, GATEWAY]))
        for name in ("internet gateway", "egress-only gateway"):
            say(name, reached=guests[name].reaches(INTERNET, 80))
        say("no gateway", reached=not guests["no gateway"].is_cut_off_from(INTERNET, 80))
        say("the loopback", reached=not guests["internet gateway"].is_cut_off_from(slirp.GATEWAY_IPV6, 80))
        first = fabric.program_pids("vpc-1")["slirp4netns"]
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(
            lambda: fabric.program_pids("vpc-1")["slirp4netns"] != first,
            what="another slirp4netns",
            deadline=Deadline.after(PATIENCE),
        )
        say("after a restart", reached=guests["internet gateway"].reaches(INTERNET, 80))


def serve(address: str) -> None:
    with socket.create_server((address, 80), family=socket.AF_INET6) as server:
        while True:
            connection, _ = server.accept()
            with contextlib.suppress(OSError), connection:
                connection.sendall(b"internet")


def say(what: str, *, reached: bool) -> None:
    print(f"{what}: {'reached' if reached else 'cut off'}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
