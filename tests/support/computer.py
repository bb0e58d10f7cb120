"""A network namespace that plays the host, for programs of tests: a process cannot return from a user namespace."""

from __future__ import annotations

import contextlib
import os

from pyroute2 import IPRoute

from pycloudlib.local.network.namespaces import syscalls


def enter_computer(*addresses: str) -> None:
    """Move this process to a computer of its own for good, as its root, with only a loopback device.

    Args:
        *addresses: IPv4 addresses of that device, besides 127.0.0.1.
    """
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        syscalls.map_root(uid, gid)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    with contextlib.closing(IPRoute(groups=0)) as netlink:
        netlink.link("set", index=1, state="up")
        for address in addresses:
            netlink.addr("add", index=1, address=address, prefixlen=32)
