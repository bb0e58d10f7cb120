"""Names of pycloudlib's IBM Classic instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class IBMClassicInstance(OtherInstance):
    """An instance of IBM Classic; cannot be instantiated."""
