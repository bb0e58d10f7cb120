"""Names of pycloudlib's IBM Cloud instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class IBMInstance(OtherInstance):
    """An instance of IBM Cloud; cannot be instantiated."""
