"""Names of pycloudlib's GCE errors, to be imported only."""

from __future__ import annotations

from pycloudlib.errors import PycloudlibException


class GceException(PycloudlibException):
    """An error of GCE; never raised here."""
