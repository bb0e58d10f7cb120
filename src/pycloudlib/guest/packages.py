"""Packages of the guest: installation and upgrades with its package manager."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pycloudlib.deadline import Deadline
from pycloudlib.errors import CommandError, InvalidArgumentError
from pycloudlib.guest.run import Run
from pycloudlib.result import Result
from pycloudlib.waiting import wait_until

LOCK_TIMEOUT = 300.0
"""Seconds to wait for another package manager process, such as the daily upgrade of a fresh machine."""

LOCK_INTERVAL = 2.0

PACKAGE = re.compile(r"[A-Za-z0-9_./@][^\s\0]*(?<!-)")
"""A name, optionally with a version, a path, or a URL. Any other first character means an option or a removal, and so
does a trailing "-" in apt."""

APT_OPTIONS = (
    "-q",
    "-y",
    "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT:g}",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip

APT_LOCKED = "Could not get lock"
"""DPkg::Lock::Timeout covers dpkg's own lock, but not the lock of the package lists."""

APT_LISTS = "/var/lib/apt/lists/*_Packages*"

ERROR_LINE = re.compile(r"(?:E|Error|ERROR|error): *(.*)")


@dataclass(frozen=True)
class PackageManager:
    """A package manager and its noninteractive commands.

    Args:
        program: the name of the program.
        install: the command to which package names are appended.
        refresh: the command that updates the package lists; empty if the upgrade does so.
        upgrade: the command that upgrades the installed packages.
        env: environment variables for each command; default none.
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
    # LANGUAGE affects only the messages, of which one is matched.
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
"""In the order of lookup: systems with zypper may also have dnf, and systems with dnf may also have yum."""


def install(run: Run, packages: str | Sequence[str]) -> Result:
    """Install packages. With apt, update the package lists first if the guest has none.

    Args:
        run: runs a command in the guest.
        packages: the package names; a string may contain several, separated by spaces.

    Returns:
        The output of the package manager.

    Raises:
        InvalidArgumentError: there is no package, or a name is invalid.
        CommandError: the installation failed, or the guest has no supported package manager.
        PycloudlibTimeoutError: another package manager process did not end in time.
        SSHError: the connection failed or was lost.
    """
    names = _checked(packages)
    manager = _package_manager(run)
    if manager is APT and run(f"ls {APT_LISTS}").failed:
        _manage(run, manager, manager.refresh, "get the lists of packages")
    return _manage(run, manager, (*manager.install, *names), f"install {' '.join(names)}")


def update(run: Run) -> Result:
    """Update the package lists, and upgrade the installed packages.

    Args:
        run: runs a command in the guest.

    Returns:
        The output of the upgrade.

    Raises:
        CommandError: the upgrade failed, or the guest has no supported package manager.
        PycloudlibTimeoutError: another package manager process did not end in time.
        SSHError: the connection failed or was lost.
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


def _package_manager(run: Run) -> PackageManager:
    programs = [manager.program for manager in PACKAGE_MANAGERS]
    command = f"for program in {' '.join(programs)}; do command -v $program && break; done; true"
    result = run(command, use_sudo=True, description="look for a package manager")
    if result.failed:
        raise CommandError(f"cannot look for a package manager: {_reason(result)}", result=result)
    for manager in PACKAGE_MANAGERS:
        if result.rpartition("/")[2] == manager.program:
            return manager
    raise CommandError(f"the guest has no supported package manager; looked for {', '.join(programs)}", result=result)


def _manage(run: Run, manager: PackageManager, command: Sequence[str], purpose: str) -> Result:
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
    """Return the first error line, or else the last line."""
    lines = [line.strip() for line in (*result.stderr.splitlines(), *result.stdout.splitlines()) if line.strip()]
    for line in lines:
        if error := ERROR_LINE.match(line):
            return error[1]
    output = result.stderr or result.stdout
    return output.splitlines()[-1].strip() if output else f"exit status {result.return_code}, without output"
