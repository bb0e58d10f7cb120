"""A computer in a network namespace of its own, with an address that plays the internet, and a VPC on it.

A program, because a process cannot return from a user namespace. Prints what a guest reached.
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
from support.topologies import accept_all, mac_of, make_interface, make_topology, make_vpc

INTERNET = "198.18.7.7"
NEAR = "192.0.2.9"
"""In a network of the computer's, which slirp4netns would use otherwise."""


def main() -> None:
    enter_computer(INTERNET, NEAR)
    with IPRoute(groups=0) as netlink:
        netlink.route("add", dst="192.0.2.0/24", oif=1)
    network = slirp.choose_network(["10.0.0.0/16"], slirp.host_routes())
    for address in (INTERNET, NEAR, "127.0.0.1"):
        threading.Thread(target=serve, args=(address,), daemon=True).start()
    with contextlib.closing(Fabric(Path(sys.argv[1]), accept_all)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", make_interface(1, "10.0.1.5"))))
        with Guest(fabric.add_interface("eni-1"), mac_of(1), ["10.0.1.5/24"], ["10.0.1.1"]) as guest:
            if guest.reaches(INTERNET, 80):
                say("reached")
            if guest.reaches(NEAR, 80):
                say("reached nearby")
            first = fabric.program_pids("vpc-1")["slirp4netns"]
            assert first is not None
            os.kill(first, signal.SIGKILL)
            wait_until(
                lambda: fabric.program_pids("vpc-1")["slirp4netns"] != first,
                what="another slirp4netns",
                deadline=Deadline.after(PATIENCE),
            )
            if guest.reaches(INTERNET, 80):
                say("reached again")
            # slirp4netns would lead its gateway's address to the computer's loopback.
            if guest.is_cut_off_from(slirp.gateway_of(network), 80):
                say("loopback is closed")


def serve(address: str) -> None:
    with socket.create_server((address, 80)) as server:
        while True:
            connection, _ = server.accept()
            with contextlib.suppress(OSError), connection:
                connection.sendall(b"internet")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
