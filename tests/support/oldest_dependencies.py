"""Check that the oldest dependencies that pyproject.toml allows are installed: `tox -e dependencies-oldest`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import Version

EXTRAS = ("", "local", "cli", "report")
"""Those that the environment is about; it needs a newer pytest than the extra "pytest" does."""


def oldest() -> Iterator[tuple[str, Version]]:
    """Each dependency of the package, and the oldest version that is allowed."""
    for text in metadata.requires("pycloudlib-ec2") or []:
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in EXTRAS):
            (bound,) = [one.version for one in requirement.specifier if one.operator in (">=", "==")]
            yield requirement.name, Version(bound)


def main() -> int:
    """Tell which dependencies are newer than they have to be."""
    newer = [
        f"{name} {metadata.version(name)} is installed; the oldest allowed is {version}"
        for name, version in oldest()
        if Version(metadata.version(name)) != version
    ]
    sys.stdout.write("".join(f"{line}\n" for line in newer))
    return 1 if newer else 0


if __name__ == "__main__":
    sys.exit(main())
