"""Names of pycloudlib's GCE cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class GCE(OtherCloud):
    """The cloud GCE; cannot be instantiated."""
