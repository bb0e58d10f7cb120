"""A program: builds the wheel and the source distribution, and checks their contents and each extra.

Usage: python tests/support/package_checks.py DIRECTORY

It needs the packages build and twine. Each extra is installed from the wheel into an empty environment below DIRECTORY.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROBES = {
    "": "import pycloudlib; pycloudlib.EC2",
    "cli": "import sys; sys.argv = ['pycloudlib', '--version']; import pycloudlib.__main__",
    "local": "from pycloudlib.local import LocalEC2; import pycloudlib.local.server",
    "pytest": "import pytest; raise SystemExit(pytest.main(['--fixtures', '-q', '-p', 'no:cacheprovider', '.']))",
    "report": "import pycloudlib.timeline.page",
    "all": "import sys; sys.argv = ['pycloudlib', 'validate', '--help']; import pycloudlib.__main__",
}
"""A program for each extra that fails if something is missing."""

IN_WHEEL = ["pycloudlib/py.typed", "pycloudlib/local/api/audit.toml"]
IN_SOURCE = [
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "docs/index.md",
    "scripts/test",
    "tests/conftest.py",
]


def main(directory: Path) -> None:
    """Build and check. Raise AssertionError or CalledProcessError on failure."""
    distributions = directory / "dist"
    run(sys.executable, "-m", "build", "--outdir", str(distributions), str(ROOT))
    (wheel,) = distributions.glob("*.whl")
    (source,) = distributions.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source))
    check_wheel(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(source) as archive:
        check_source(archive.getnames())
    for extra, probe in PROBES.items():
        check_extra(directory / (extra or "core"), wheel, extra, probe)


def check_wheel(names: list[str]) -> None:
    """Check that the wheel has all data files, and nothing but the package."""
    missing = [name for name in IN_WHEEL if name not in names]
    foreign = {name.split("/")[0] for name in names} - {"pycloudlib"}
    assert not missing, f"the wheel lacks {missing}"
    assert all(name.endswith(".dist-info") for name in foreign), f"the wheel has {foreign}"


def check_source(names: list[str]) -> None:
    """Check that the source distribution has what `scripts/test` needs, and no build products."""
    inside = {name.partition("/")[2] for name in names}
    missing = [name for name in IN_SOURCE if name not in inside]
    products = [name for name in inside if name.startswith(("build/", ".venv/", ".tox/"))]
    assert not missing, f"the source distribution lacks {missing}"
    assert not products, f"the source distribution has {products[:5]}"


def check_extra(environment: Path, wheel: Path, extra: str, probe: str) -> None:
    """Install the wheel with one extra into an empty environment, and run its probe there."""
    run(sys.executable, "-m", "venv", str(environment))
    python = environment / "bin/python"
    run(str(python), "-m", "pip", "install", "--quiet", f"{wheel}[{extra}]" if extra else str(wheel))
    run(str(python), "-m", "pip", "check")
    run(str(python), "-c", probe, cwd=environment)


def run(*command: str, cwd: Path | None = None) -> None:
    """Print and run a command."""
    sys.stdout.write(f"+ {' '.join(command)}\n")
    sys.stdout.flush()
    subprocess.run(command, check=True, cwd=cwd)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
