"""Names of pycloudlib's OpenStack errors, to be imported only."""

from __future__ import annotations

from pycloudlib.errors import PycloudlibException


class OpenStackError(PycloudlibException):
    """An error of OpenStack; never raised here."""
