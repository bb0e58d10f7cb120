"""The release whose built image the machine tests boot: PYCLOUDLIB_VM_RELEASE, or the default one."""

from __future__ import annotations

import os

from pycloudlib.releases import DEFAULT_RELEASE

RELEASE = os.environ.get("PYCLOUDLIB_VM_RELEASE", DEFAULT_RELEASE)
IS_BOOKWORM = RELEASE == "bookworm"
"""Whether cloud-init runs in four processes there, and the network is that of ifupdown."""
