"""Check that the oldest dependencies allowed are installed: `tox -e dependencies-oldest,dependencies-core`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import Version


def oldest(extras: Sequence[str]) -> Mapping[str, Version]:
    """Return the oldest version that is allowed of each dependency of the package with some extras."""
    versions: dict[str, Version] = {}
    for text in metadata.requires("pycloudlib-ec2") or []:
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            (bound,) = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==")]
            versions[requirement.name] = max(bound, versions.get(requirement.name, bound))
    return versions


def main(extras: Sequence[str]) -> int:
    """Tell which dependencies are newer than they have to be."""
    newer = [
        f"{name} {metadata.version(name)} is installed; the oldest allowed is {version}"
        for name, version in oldest(extras).items()
        if Version(metadata.version(name)) != version
    ]
    sys.stdout.write("".join(f"{line}\n" for line in newer))
    return 1 if newer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
