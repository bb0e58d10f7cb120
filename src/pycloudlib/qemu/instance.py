"""Names of pycloudlib's QEMU instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class QemuInstance(OtherInstance):
    """An instance of QEMU; cannot be instantiated."""
