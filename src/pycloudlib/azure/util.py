"""Names of pycloudlib's Azure helpers, to be imported only."""

from __future__ import annotations

from pycloudlib.other_clouds import NotSupported


class AzureParams(NotSupported):
    """Parameters of Azure; cannot be instantiated."""


class AzureCreateParams(NotSupported):
    """Parameters of Azure; cannot be instantiated."""
