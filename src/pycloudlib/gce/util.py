"""Names of pycloudlib's GCE helpers, to be imported only."""

from __future__ import annotations

from typing import NoReturn

from pycloudlib.other_clouds import unsupported


def raise_on_error(response: object) -> NoReturn:
    """Raise CloudSetupError."""
    raise unsupported("raise_on_error")
