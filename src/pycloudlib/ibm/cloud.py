"""Names of pycloudlib's IBM Cloud cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class IBM(OtherCloud):
    """The cloud IBM Cloud; cannot be instantiated."""
