"""The namespaces network, where it works."""

from __future__ import annotations

import pytest

from pycloudlib.local.network.namespaces.probe import probe


def require_namespaces() -> None:
    """Skip the test if this computer cannot have the namespaces network."""
    finding = probe()
    if not finding.works:
        pytest.skip(f"{finding.reason}; {finding.remedy}")
