"""Taps: network interfaces whose cable is a file descriptor."""

from __future__ import annotations

import fcntl
import os
import struct

DEVICE = "/dev/net/tun"

_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_REQUEST = struct.Struct("16sH22x")


def open_tun() -> int:
    """Open the device from which taps are made.

    Raises:
        OSError: it does not exist, or may not be opened.
    """
    return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)


def attach(fd: int, name: str) -> None:
    """Create a tap in the network namespace of the process, as QEMU takes it. The tap ends with the file descriptor.

    Args:
        fd: from open_tun().
        name: of the interface, at most 15 characters.

    Raises:
        OSError: the kernel refused, or the name is taken.
    """
    # QEMU reads and writes a virtio-net header before each frame: offloads depend on it.
    fcntl.ioctl(fd, _TUNSETIFF, _REQUEST.pack(name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
