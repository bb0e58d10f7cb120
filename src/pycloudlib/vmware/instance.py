"""Names of pycloudlib's VMware instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class VMWareInstance(OtherInstance):
    """An instance of VMware; cannot be instantiated."""
