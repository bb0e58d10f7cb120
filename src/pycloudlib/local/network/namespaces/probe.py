"""The probe for support of the namespaces network driver, with the reason and the remedy if it is unsupported.

A child process performs every step, because any step may be forbidden: Ubuntu, for example, allows ordinary users to
create a user namespace, but removes its capabilities.
"""

from __future__ import annotations

import errno
import functools
import importlib.util
import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from pycloudlib.errors import PycloudlibError
from pycloudlib.installation import install_extras
from pycloudlib.local import prerequisites
from pycloudlib.local.network.namespaces import syscalls, taps
from pycloudlib.local.network.namespaces.nftables import Nftables
from pycloudlib.local.run_module import module_command

PROGRAMS = ("dnsmasq", "slirp4netns")

PROBE_SECONDS = 60.0
"""The timeout of the child process in seconds; it takes 0.1 s on an idle machine."""

RULESET = """
table inet probe {
  chain prerouting {
    type filter hook prerouting priority raw;
    fib saddr . iif oif missing drop
    ct state established accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "igw" masquerade
  }
}
"""
"""Commands that require the same kernel features as rulesets."""

USER_NAMESPACE = "create a user namespace"
USER_MAP = "become root of a user namespace"
NETWORK_NAMESPACE = "create a network namespace"
OPEN_TUN = f"open {taps.DEVICE}"
CREATE_TAP = "create a tap"
SYSCTL = "set a sysctl in a network namespace"
NFTABLES = "apply an nftables ruleset"

_FORBIDDEN = (errno.EPERM, errno.EACCES)
_ABSENT = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
_MODPROBE = "sudo modprobe tun; in a container: --device /dev/net/tun"
_PRIVILEGED_CONTAINER = "start the container with --cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/net/tun"

_REMEDIES = (
    # steps, error numbers, remedy as root, remedy as an ordinary user
    (
        (USER_NAMESPACE,),
        (errno.ENOSPC,),
        "",
        "sudo sysctl -w user.max_user_namespaces=10000, or run as root",
    ),
    (
        (USER_NAMESPACE,),
        _FORBIDDEN,
        "",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root; in a container: "
        "--security-opt seccomp=unconfined",
    ),
    (
        (USER_MAP, NETWORK_NAMESPACE, CREATE_TAP, SYSCTL),
        _FORBIDDEN,
        _PRIVILEGED_CONTAINER,
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
    ),
    ((OPEN_TUN,), _ABSENT, _MODPROBE, _MODPROBE),
    ((OPEN_TUN,), _FORBIDDEN, _PRIVILEGED_CONTAINER, "sudo chmod 666 /dev/net/tun, or run as root"),
)


@dataclass(frozen=True)
class Finding:
    """The result of the probe.

    Args:
        works: whether the driver works.
        reason: the reason for a failure, in one line.
        remedy: the remedy, in one line.
    """

    works: bool
    reason: str = ""
    remedy: str = ""


@functools.cache
def probe() -> Finding:
    """Return the result of the probe, which runs once per process."""
    missing = [program for program in PROGRAMS if prerequisites.find(program) is None]
    if missing:
        return _not_installed(missing)
    if importlib.util.find_spec("pyroute2") is None:
        return Finding(False, "pyroute2 is not installed", install_extras("local"))
    try:
        child = subprocess.run(
            module_command(__name__),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
            check=False,
        )
        return Finding(**json.loads(child.stdout))
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired) as error:
        return Finding(False, f"the probe failed: {error}", "report this, with the output of `pycloudlib doctor`")


def explain(step: str, error: Exception, *, as_root: bool) -> Finding:
    """Explain why a step failed.

    Args:
        step: the failed step.
        error: its error.
        as_root: whether the step ran as root.
    """
    reason = f"cannot {step}: {getattr(error, 'strerror', None) or error}"
    return Finding(False, reason, _remedy(step, getattr(error, "errno", None), as_root=as_root))


def _remedy(step: str, number: int | None, *, as_root: bool) -> str:
    for steps, numbers, for_root, for_user in _REMEDIES:
        if step in steps and number in numbers:
            return for_root if as_root else for_user
    if step == NFTABLES:
        return f"{prerequisites.install_command(['nftables'])}; if it is installed, use a kernel with nf_tables"
    return "use user networking"


def _not_installed(programs: list[str]) -> Finding:
    packages = sorted({prerequisites.DEBIAN_PACKAGES[name] for name in programs})
    verb = "is" if len(programs) == 1 else "are"
    return Finding(False, f"{' and '.join(programs)} {verb} not installed", prerequisites.install_command(packages))


def _try() -> Finding:
    """Perform every step in this process, which cannot return to its namespaces."""
    as_root = os.geteuid() == 0
    step = USER_NAMESPACE
    try:
        if not as_root:
            uid, gid = os.geteuid(), os.getegid()
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            step = USER_MAP
            syscalls.map_root(uid, gid)
        step = NETWORK_NAMESPACE
        syscalls.unshare(syscalls.CLONE_NEWNET)
        step = OPEN_TUN
        tap = taps.open_tun()
        step = CREATE_TAP
        taps.attach(tap, "eni0")
        step = SYSCTL
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
        step = NFTABLES
        Nftables().run(RULESET)
    except (OSError, PycloudlibError) as error:
        return explain(step, error, as_root=as_root)
    return Finding(True)


if __name__ == "__main__":
    print(json.dumps(asdict(_try())))  # noqa: T201
