"""Names of pycloudlib's LXD cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.cloud import BaseCloud
from pycloudlib.other_clouds import OtherCloud

__all__ = ["LXD", "BaseCloud", "LXDContainer", "LXDVirtualMachine", "_BaseLXD"]


class _BaseLXD(OtherCloud):
    """LXD, containers and virtual machines alike; cannot be instantiated."""


class LXDContainer(_BaseLXD):
    """LXD with containers; cannot be instantiated."""


class LXD(LXDContainer):
    """The former name of LXDContainer; cannot be instantiated."""


class LXDVirtualMachine(_BaseLXD):
    """LXD with virtual machines; cannot be instantiated."""
