"""Names of pycloudlib's Azure instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class AzureInstance(OtherInstance):
    """An instance of Azure; cannot be instantiated."""
