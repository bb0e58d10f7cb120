"""The programs that the local EC2 requires: their paths, and the packages of missing ones."""

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
"""The Debian and Ubuntu package of each program."""

MOTO_VERSION = "5.2.5"
"""The supported release of moto, as in pyproject.toml."""

MOTO_SERVER_MODULES = ("flask", "flask_cors", "werkzeug")
"""The dependencies of moto's server."""

SYSTEM_DIRECTORIES = "/usr/sbin:/sbin"
"""The directories of system programs such as mke2fs, which an ordinary user's PATH may lack."""


def find(program: str) -> Path | None:
    """Find a program in PATH or in the system directories.

    Args:
        program: the name, such as "qemu-img".

    Returns:
        The path; None if the program is not installed.
    """
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_DIRECTORIES}")
    return Path(path) if path else None


def require(program: str, purpose: str) -> Path:
    """Find a required program.

    Args:
        program: the name, such as "qemu-img".
        purpose: the purpose, such as "to make disks".

    Returns:
        The path.

    Raises:
        MissingPrerequisiteError: the program is not installed; the message has the purpose and the install command.
    """
    return require_all([program], purpose)[program]


def require_all(programs: Iterable[str], purpose: str) -> dict[str, Path]:
    """Find several required programs, and report all missing ones together.

    Args:
        programs: the names.
        purpose: the purpose, such as "to build an image".

    Returns:
        The path of each program.

    Raises:
        MissingPrerequisiteError: programs are not installed; the message names all of them and one install command.
    """
    paths = {program: find(program) for program in programs}
    missing = [program for program, path in paths.items() if path is None]
    if missing:
        raise missing_programs(missing, purpose)
    return {program: path for program, path in paths.items() if path is not None}


def require_moto() -> None:
    """Require the supported release of moto, whose backend the local EC2 subclasses.

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
    """Return the message about missing programs: their names, the purpose, and the install command."""
    names = list(programs)
    packages = sorted({DEBIAN_PACKAGES.get(name, name) for name in names})
    verb = "is" if len(names) == 1 else "are"
    return MissingPrerequisiteError(
        f"{', '.join(names)} {verb} required {purpose}, but not installed: {install_command(packages)}"
    )


def install_command(packages: Iterable[str]) -> str:
    """Return the command that installs Debian packages, with sudo unless the user is root."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install -y {' '.join(packages)}"
