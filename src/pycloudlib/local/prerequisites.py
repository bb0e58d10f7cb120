"""The programs that the local EC2 runs: where they are, and how to install those that are missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.installation import install_extras

DEBIAN_PACKAGES = {
    "apt-config": "apt",
    "arch-test": "arch-test",
    "debugfs": "e2fsprogs",
    "dnsmasq": "dnsmasq-base",
    "fakeroot": "fakeroot",
    "gpgv": "gpgv",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mke2fs": "e2fsprogs",
    "mmd": "mtools",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "nft": "nftables",
    "qemu-img": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
    "slirp4netns": "slirp4netns",
    "socat": "socat",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "unshare": "util-linux",
}
"""The Debian and Ubuntu package that each program comes in."""

MOTO_VERSION = "5.2.5"
"""The release of moto that the local EC2 works with; pyproject.toml requires the same one."""

MOTO_SERVER_MODULES = ("flask", "flask_cors", "werkzeug")
"""What moto's server needs beside moto."""

SYSTEM_DIRECTORIES = "/usr/sbin:/sbin"
"""Where mke2fs lies, and what a plain user's PATH leaves out."""


def find(program: str) -> Path | None:
    """Look for a program in PATH, and where the system keeps the administrator's.

    Args:
        program: its name, such as "qemu-img".

    Returns:
        The path to run it by; None when it is not installed.
    """
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_DIRECTORIES}")
    return Path(path) if path else None


def require(program: str, purpose: str) -> Path:
    """Find a program that cannot be done without.

    Args:
        program: its name, such as "qemu-img".
        purpose: what it is needed for, as in "to make disks".

    Returns:
        The path to run it by.

    Raises:
        MissingPrerequisiteError: it is not installed; says what for, and the command that installs it.
    """
    return require_all([program], purpose)[program]


def require_all(programs: Iterable[str], purpose: str) -> dict[str, Path]:
    """Find several programs, and report all that are missing at once.

    Args:
        programs: their names.
        purpose: what they are needed for, as in "to build an image".

    Returns:
        The path to run each by.

    Raises:
        MissingPrerequisiteError: some are not installed; names them all, and one command that installs them.
    """
    paths = {program: find(program) for program in programs}
    missing = [program for program, path in paths.items() if path is None]
    if missing:
        raise missing_programs(missing, purpose)
    return {program: path for program, path in paths.items() if path is not None}


def require_moto() -> None:
    """Require the one release of moto that the local EC2 works with: its backend is subclassed.

    Raises:
        MissingPrerequisiteError: moto or a package of its server is not installed, or moto is another release.
    """
    try:
        installed = version("moto")
    except PackageNotFoundError:
        raise MissingPrerequisiteError(f"the local EC2 needs moto {MOTO_VERSION}: {install_extras('local')}") from None
    if installed != MOTO_VERSION:
        raise MissingPrerequisiteError(
            f"the local EC2 works with moto {MOTO_VERSION} only, and moto {installed} is installed: "
            f"{install_extras('local')}"
        )
    missing = [name for name in MOTO_SERVER_MODULES if find_spec(name) is None]
    if missing:
        raise MissingPrerequisiteError(f"the local EC2 needs {missing[0]}: {install_extras('local')}")


def missing_programs(programs: Iterable[str], purpose: str) -> MissingPrerequisiteError:
    """Say in one line what is missing, what for, and how it is installed on Debian and Ubuntu."""
    names = list(programs)
    packages = sorted({DEBIAN_PACKAGES.get(name, name) for name in names})
    verb = "is" if len(names) == 1 else "are"
    return MissingPrerequisiteError(
        f"{', '.join(names)} {verb} required {purpose}, but not installed: {install_command(packages)}"
    )


def install_command(packages: Iterable[str]) -> str:
    """The command that installs Debian packages: with sudo, unless this is root already."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install -y {' '.join(packages)}"
