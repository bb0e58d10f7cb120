"""Names of pycloudlib's IBM Classic errors, to be imported only."""

from __future__ import annotations

from pycloudlib.errors import PycloudlibException


class IBMClassicException(PycloudlibException):
    """An error of IBM Classic; never raised here."""
