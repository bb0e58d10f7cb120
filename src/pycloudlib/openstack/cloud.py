"""Names of pycloudlib's OpenStack cloud, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherCloud


class Openstack(OtherCloud):
    """The cloud OpenStack; cannot be instantiated."""
