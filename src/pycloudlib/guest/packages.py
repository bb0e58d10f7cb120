"""Packages of the guest: installed and upgraded by the package manager that it has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pycloudlib.deadline import Deadline
from pycloudlib.errors import CommandError, InvalidArgumentError
from pycloudlib.guest.run import RunAsRoot
from pycloudlib.result import Result
from pycloudlib.waiting import wait_until

LOCK_TIMEOUT = 300.0
"""Seconds to wait for another program that installs something, such as the daily upgrade of a fresh machine."""

LOCK_INTERVAL = 2.0

PACKAGE = re.compile(r"[A-Za-z0-9_./@][^\s\0]*(?<!-)")
"""A name, perhaps with a version, a path or a URL. Whatever begins with another sign is an option, or asks for a
removal, and so does a "-" at the end in apt."""

APT_OPTIONS = (
    "-q",
    "-y",
    "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT:g}",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip

APT_LOCKED = "Could not get lock"
"""DPkg::Lock::Timeout covers dpkg's own lock, but not that of the package lists."""

APT_LISTS = "/var/lib/apt/lists/*_Packages*"

ERROR_LINE = re.compile(r"(?:E|Error|ERROR|error): *(.*)")


@dataclass(frozen=True)
class PackageManager:
    """A program that installs packages, and how it is told to ask nothing.

    Args:
        program: its name.
        install: the command that packages are added to.
        refresh: the command that gets the lists of packages; empty where upgrading does it.
        upgrade: the command that upgrades what is installed.
        env: variables set for each of them.
    """

    program: str
    install: tuple[str, ...]
    refresh: tuple[str, ...]
    upgrade: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


APT = PackageManager(
    "apt-get",
    install=("apt-get", *APT_OPTIONS, "install"),
    refresh=("apt-get", *APT_OPTIONS, "update"),
    upgrade=("apt-get", *APT_OPTIONS, "--with-new-pkgs", "upgrade"),
    # LANGUAGE changes nothing but the language of messages, one of which is looked for.
    env={"DEBIAN_FRONTEND": "noninteractive", "LANGUAGE": "en"},
)
DNF = PackageManager(
    "dnf",
    install=("dnf", "-y", "install"),
    refresh=(),
    upgrade=("dnf", "-y", "--refresh", "upgrade"),
)
YUM = PackageManager(
    "yum",
    install=("yum", "-y", "install"),
    refresh=("yum", "clean", "expire-cache"),
    upgrade=("yum", "-y", "update"),
)
ZYPPER = PackageManager(
    "zypper",
    install=("zypper", "--non-interactive", "install", "--auto-agree-with-licenses"),
    refresh=("zypper", "--non-interactive", "refresh"),
    upgrade=("zypper", "--non-interactive", "update", "--auto-agree-with-licenses"),
    env={"ZYPP_LOCK_TIMEOUT": f"{LOCK_TIMEOUT:g}"},
)

PACKAGE_MANAGERS = (APT, ZYPPER, DNF, YUM)
"""In the order in which they are looked for: who has zypper may have dnf besides, and who has dnf may have yum."""


def install(run: RunAsRoot, packages: str | Sequence[str]) -> Result:
    """Install packages. With apt, the lists of packages are fetched first if the guest has none.

    Args:
        run: runs a command in the guest.
        packages: names, as the guest's package manager takes them; in a string, blanks separate them.

    Returns:
        What the package manager printed.

    Raises:
        InvalidArgumentError: there is no package, or a name that is none.
        CommandError: it failed, or the guest has no package manager that is known here.
        PycloudlibTimeoutError: another program was installing something all the time.
        SSHError: the guest could not be asked.
    """
    names = _checked(packages)
    manager = _package_manager(run)
    if manager is APT and run(f"ls {APT_LISTS}").failed:
        _manage(run, manager, manager.refresh, "get the lists of packages")
    return _manage(run, manager, (*manager.install, *names), f"install {' '.join(names)}")


def update(run: RunAsRoot) -> Result:
    """Get the lists of packages anew, and upgrade what is installed.

    Args:
        run: runs a command in the guest.

    Returns:
        What the package manager printed as it upgraded.

    Raises:
        CommandError: it failed, or the guest has no package manager that is known here.
        PycloudlibTimeoutError: another program was installing something all the time.
        SSHError: the guest could not be asked.
    """
    manager = _package_manager(run)
    if manager.refresh:
        _manage(run, manager, manager.refresh, "get the lists of packages")
    return _manage(run, manager, manager.upgrade, "upgrade the packages")


def _checked(packages: str | Sequence[str]) -> list[str]:
    if not isinstance(packages, Sequence):
        raise InvalidArgumentError(f"packages are a string or a list of strings, not {packages!r}")
    names = packages.split() if isinstance(packages, str) else list(packages)
    if not names:
        raise InvalidArgumentError("there is no package to install: name at least one")
    for name in names:
        if not isinstance(name, str) or not PACKAGE.fullmatch(name):
            raise InvalidArgumentError(
                f"{name!r} cannot be a package: it must begin with a letter, a digit or one of _./@, "
                "hold no blanks, and not end with '-'"
            )
    return names


def _package_manager(run: RunAsRoot) -> PackageManager:
    programs = [manager.program for manager in PACKAGE_MANAGERS]
    command = f"for program in {' '.join(programs)}; do command -v $program && break; done; true"
    found = run(command, use_sudo=True, description="look for a package manager")
    if found.failed:
        raise CommandError(f"cannot look for a package manager: {_reason(found)}", result=found)
    for manager in PACKAGE_MANAGERS:
        if found.rpartition("/")[2] == manager.program:
            return manager
    raise CommandError(
        f"the guest has no package manager that is known here; looked for {', '.join(programs)}", result=found
    )


def _manage(run: RunAsRoot, manager: PackageManager, command: Sequence[str], purpose: str) -> Result:
    result: Result

    def has_ended() -> bool:
        nonlocal result
        result = run(list(command), use_sudo=True, env=manager.env)
        return not (result.failed and APT_LOCKED in result.stderr)

    wait_until(
        has_ended,
        what=f"the guest's {manager.program} to be free",
        deadline=Deadline.after(LOCK_TIMEOUT),
        interval=LOCK_INTERVAL,
        last_seen=lambda: _reason(result),
    )
    if result.failed:
        raise CommandError(f"cannot {purpose}: {_reason(result)}", result=result)
    return result


def _reason(result: Result) -> str:
    """The first line that calls itself an error, or else the last one."""
    lines = [line.strip() for line in (*result.stderr.splitlines(), *result.stdout.splitlines()) if line.strip()]
    for line in lines:
        if error := ERROR_LINE.match(line):
            return error[1]
    said = result.stderr or result.stdout
    return said.splitlines()[-1].strip() if said else f"exit status {result.return_code}, and it said nothing"
