"""Names of pycloudlib's LXD instance, to be imported only."""

from __future__ import annotations

from pycloudlib.instance import BaseInstance
from pycloudlib.other_clouds import OtherInstance

__all__ = ["BaseInstance", "LXDInstance", "LXDVirtualMachineInstance"]


class LXDInstance(OtherInstance):
    """An instance of LXD; cannot be instantiated."""


class LXDVirtualMachineInstance(LXDInstance):
    """A virtual machine of LXD; cannot be instantiated."""
