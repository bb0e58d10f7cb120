"""Taps: network interfaces that exchange frames through a file descriptor."""

from __future__ import annotations

import fcntl
import os
import struct

DEVICE = "/dev/net/tun"

PREFIX = "eni"
"""The names of the taps in a VPC: this and a number."""

_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_REQUEST = struct.Struct("16sH22x")


def open_tun() -> int:
    """Open the device that creates taps.

    Raises:
        OSError: the device does not exist, or access is denied.
    """
    return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)


def attach(fd: int, name: str) -> None:
    """Create a tap for QEMU in the process's network namespace. Closing the file descriptor deletes the tap.

    Args:
        fd: the file descriptor from open_tun().
        name: the name of the interface, at most 15 characters.

    Raises:
        OSError: the kernel rejected the tap, or the name is taken.
    """
    # QEMU reads and writes a virtio-net header before each frame, which offloads require.
    fcntl.ioctl(fd, _TUNSETIFF, _REQUEST.pack(name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
