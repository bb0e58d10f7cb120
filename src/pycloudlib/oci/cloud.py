"""Names of pycloudlib's OCI cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class OCI(OtherCloud):
    """The cloud OCI; cannot be instantiated."""
