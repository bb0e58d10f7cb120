"""Names of pycloudlib's Azure cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class Azure(OtherCloud):
    """The cloud Azure; cannot be instantiated."""
