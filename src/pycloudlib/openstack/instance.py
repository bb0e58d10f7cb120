"""Names of pycloudlib's OpenStack instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class OpenstackInstance(OtherInstance):
    """An instance of OpenStack; cannot be instantiated."""
