"""Names of pycloudlib's OCI instance, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import OtherInstance


class OciInstance(OtherInstance):
    """An instance of OCI; cannot be instantiated."""
