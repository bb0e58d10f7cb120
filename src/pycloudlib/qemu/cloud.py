"""Names of pycloudlib's QEMU cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class Qemu(OtherCloud):
    """The cloud QEMU; cannot be instantiated."""
