from __future__ import annotations

import re

from pycloudlib import releases, tags, util


def test_the_compatibility_names_are_those_defined_elsewhere() -> None:
    assert util.get_timestamped_tag is tags.timestamped
    assert util.LTS_RELEASES is releases.LTS_RELEASES
    assert util.UBUNTU_RELEASE_VERSION_MAP is releases.UBUNTU_RELEASE_VERSION_MAP


def test_a_tag_is_made_from_a_tag_alone() -> None:
    assert re.fullmatch(r"mine-\d{8}-\d{6}-[0-9a-f]{6}", util.get_timestamped_tag("mine"))
