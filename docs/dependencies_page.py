"""Writes dependencies.md: python docs/dependencies_page.py.

It reads pyproject.toml, dependencies.toml, and the metadata of the installed packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import toml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
PAGE = HERE / "dependencies.md"
PROJECT = HERE.parent / "pyproject.toml"
REVIEW = HERE / "dependencies.toml"

FOR_USERS = ("", "local", "cli", "pytest", "report")
FOR_DEVELOPERS = ("dev", "docs")
MIB = 1024 * 1024

ALLOWED = {"0BSD", "Apache", "BSD", "ISC", "LGPL", "MIT", "MPL", "PSF", "Unlicense", "ZPL"}
"""The families of licenses that a dependency may have."""

_OTHER_NAMES = {
    "dual license": "Apache-2.0 OR BSD-3-Clause",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "bsd license": "BSD",
    "bsd 2-clause license": "BSD-2-Clause",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}

INTRODUCTION = """\
# Dependencies

% Written by dependencies_page.py from pyproject.toml, dependencies.toml, and the installed packages.

The core has four direct dependencies. Each extra adds its own, so a suite on AWS installs nothing of the local EC2.
A new dependency needs a reason and an allowed license: a test fails without them.

The review is of {reviewed}. Sizes include the dependencies of a package, some of which several packages share.
"""

LICENSES = """\
## Licenses

These packages are installed with the library and the extras `local`, `cli`, `pytest`, and `report`. The licenses are
those that the packages declare. They are permissive, or apply only to changes of the package itself (LGPL, MPL).

| package | license | for |
|---|---|---|
"""


def direct() -> dict[str, list[str]]:
    """Return the direct dependencies by extra; the core's by the empty string."""
    project = toml.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    listed = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [canonicalize_name(Requirement(one).name) for one in requirements]
        for extra, requirements in listed.items()
        if extra != "all"
    }


def review() -> dict[str, Any]:
    """Return the reasons and the upkeep, by package."""
    return toml.loads(REVIEW.read_text(encoding="utf-8"))


def closure(extra: str) -> set[str]:
    """Return the installed packages that the core, or one extra without the core's, depends on."""
    return required_by(Requirement(one) for one in _project_requirements(extra))


def required_by(requirements: Iterable[Requirement]) -> set[str]:
    """Return the installed packages of some requirements, with their dependencies."""
    todo = list(requirements)
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        installed = _installed(name)
        if installed is None:
            continue
        found.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += _requirements(installed, wanted)
    return found


def _project_requirements(extra: str) -> list[str]:
    project = toml.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    listed: list[str] = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return listed


def _requirements(installed: Distribution, extra: str) -> list[Requirement]:
    parsed = (Requirement(one) for one in installed.requires or ())
    return [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": extra})]


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def license_of(name: str) -> str:
    """Return the license that a package declares, as an SPDX expression if possible."""
    metadata = distribution(name).metadata
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    classified = [one.split(" :: ")[-1] for one in metadata.get_all("Classifier") or () if one.startswith("License ::")]
    text = (metadata.get("License") or "").strip()
    declared = text if text and "\n" not in text and len(text) < 40 else "; ".join(classified) or "unknown"
    return _OTHER_NAMES.get(declared.lower(), declared)


def families(license_expression: str) -> set[str]:
    """Return the families of the licenses that an expression offers."""
    words = re.findall(r"[A-Za-z0-9]+", license_expression)
    return {word for word in words if word in ALLOWED or word in ("GPL", "AGPL", "EPL")}


def sizes_on_page(text: str) -> dict[str, str]:
    """Return the sizes in the tables of a page, by package."""
    return dict(re.findall(r"^\| `([\w-]+)` \| .* \| ([\d.]+ MiB) \|", text, re.MULTILINE))


def measured_sizes() -> dict[str, str]:
    """Return the sizes of the direct dependencies, as they are installed with their own dependencies."""
    found: dict[str, str] = {}
    for extra in FOR_USERS:
        for one in map(Requirement, _project_requirements(extra)):
            files = (file for name in required_by([one]) for file in distribution(name).files or ())
            size = sum(file.size or 0 for file in files) / MIB
            found[canonicalize_name(one.name)] = f"{size:.0f} MiB" if size >= 1 else f"{size:.1f} MiB"
    return found


def licenses_on_page(text: str) -> dict[str, str]:
    """Return the licenses in the last table of a page, by package."""
    rows = text.rpartition("|---|---|---|\n")[2]
    return dict(re.findall(r"^\| (\S+) \| ([^|]+) \| [^|]+ \|$", rows, re.MULTILINE))


def tables(sizes: Mapping[str, str]) -> str:
    """Return the part of the page about direct dependencies.

    Args:
        sizes: the size of each package.
    """
    reviewed = review()
    packages = direct()
    lines = [INTRODUCTION.format(reviewed=reviewed["reviewed"]), "## For users", ""]
    lines += ["| package | extra | reason | upkeep | size |", "|---|---|---|---|---|"]
    for extra in FOR_USERS:
        for name in packages[extra]:
            if extra and name in packages[""]:
                continue
            one = reviewed[name]
            reason = f"{one['reason']} The alternative: {one['without']}"
            cells = [f"`{name}`", f"`{extra}`" if extra else "", reason, one["upkeep"], sizes[name]]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## For development", "", "| package | extra | reason | upkeep |", "|---|---|---|---|"]
    for extra in FOR_DEVELOPERS:
        for name in packages[extra]:
            if name not in packages["pytest"]:
                one = reviewed[name]
                lines.append(f"| `{name}` | `{extra}` | {one['reason']} | {one['upkeep']} |")
    return "\n".join([*lines, ""])


def license_table() -> str:
    """Return the part of the page about licenses, of the installed packages."""
    by_package: dict[str, list[str]] = {}
    for extra in FOR_USERS:
        for name in sorted(closure(extra)):
            by_package.setdefault(name, []).append(f"`{extra}`" if extra else "core")
    rows = [
        f"| {name} | {license_of(name)} | {'core' if 'core' in extras else ', '.join(extras)} |"
        for name, extras in sorted(by_package.items())
    ]
    return LICENSES + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(tables(measured_sizes()) + "\n" + license_table(), encoding="utf-8")
