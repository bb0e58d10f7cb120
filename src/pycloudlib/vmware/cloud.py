"""Names of pycloudlib's VMware cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class VMWare(OtherCloud):
    """The cloud VMware; cannot be instantiated."""
