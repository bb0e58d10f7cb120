"""Names of pycloudlib's GCE instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class GceInstance(OtherInstance):
    """An instance of GCE; cannot be instantiated."""
