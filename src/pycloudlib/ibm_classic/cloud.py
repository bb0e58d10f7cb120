"""Names of pycloudlib's IBM Classic cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class IBMClassic(OtherCloud):
    """The cloud IBM Classic; cannot be instantiated."""
