"""Names that suites import from here; each lives elsewhere."""

from __future__ import annotations

from pycloudlib.releases import LTS_RELEASES, UBUNTU_RELEASE_VERSION_MAP
from pycloudlib.tags import timestamped as get_timestamped_tag

__all__ = ["LTS_RELEASES", "UBUNTU_RELEASE_VERSION_MAP", "get_timestamped_tag"]
