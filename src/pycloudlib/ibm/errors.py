"""Names of pycloudlib's IBM Cloud errors, to be imported only."""

from __future__ import annotations

from pycloudlib.errors import PycloudlibException


class IBMException(PycloudlibException):
    """An error of IBM Cloud; never raised here."""


class IBMCapacityException(IBMException):
    """An error of IBM Cloud; never raised here."""
