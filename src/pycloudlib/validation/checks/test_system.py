"""The operating system works: its units, clock, and packages."""

import re

from pycloudlib.validation.facts import NOT_FOUND, Facts
from pycloudlib.validation.verdicts import check, fail, listed, not_applicable

CLOUD_INIT_UNIT = re.compile(r"cloud-(init|config|final)[\w-]*\.")
"""These units fail with cloud-init's modules, which the checks of cloud-init report."""

UNREACHABLE = re.compile(
    r"Could( not|n't) resolve|ould not be resolved|Temporary failure|Could not connect|Cannot initiate the connection"
    r"|Connection (timed out|refused|failed)|Unable to connect|Failed to connect|Timeout was reached"
    r"|Network is unreachable|No route to host"
)
"""The messages of an unreachable repository, which is a problem of the network."""

TIMED_OUT = 124


@check(
    reason="A service that fails at boot is missing on every instance.",
    remedy="Run `systemctl status UNIT` and `journalctl -b -u UNIT` to see the reason. Fix the unit, or mask it "
    "if it is not needed.",
)
def test_no_failed_units(facts: Facts) -> None:
    """No systemd unit has failed."""
    if facts.answer("failed_units").status == NOT_FOUND:
        not_applicable("the image has no systemd")
    units = [line.strip(" ●*").split()[0] for line in facts.lines("failed_units")]
    failed = [unit for unit in units if not CLOUD_INIT_UNIT.match(unit)]
    if failed:
        fail(f"failed units: {', '.join(failed)}")


@check(
    reason="TLS, the signatures of AWS requests, and logs need the correct time, and the clock of a virtual "
    "machine drifts.",
    remedy="Install and enable chrony or systemd-timesyncd; on AWS, use the server 169.254.169.123.",
)
def test_clock_is_kept(facts: Facts) -> None:
    """A service synchronizes the clock with NTP."""
    if "active" not in facts.text("time_services").split():
        fail("none of chrony, systemd-timesyncd, ntpd, ntpsec, and openntpd is running")


@check(
    reason="Logs of a fleet are hard to compare if they use local times or daylight saving time.",
    remedy="Run ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime",
)
def test_time_zone_is_utc(facts: Facts) -> None:
    """The time zone is UTC."""
    if not facts.text("time_zone").endswith("+0000"):
        fail(f"the time zone is {facts.text('time_zone')}")


@check(
    reason="Partially installed or conflicting packages block all updates and installations.",
    remedy="Run dpkg --configure -a and apt-get -f install, or dnf check, before you create the image.",
)
def test_packages_are_consistent(facts: Facts) -> None:
    """The package manager works, and reports no damaged packages."""
    answer = facts.answer("packages")
    if answer.status == NOT_FOUND:
        not_applicable("the image has no supported package manager")
    if not answer.ok or (answer.text and "Reading package lists" not in answer.text.splitlines()[0]):
        fail(f"the package manager reported problems:\n{listed(answer.lines)}")


@check(
    reason="Without a repository, instances get no security updates.",
    remedy="Check /etc/apt/sources.list* or /etc/yum.repos.d for a release past its end of life, or a mirror of "
    "the image's builder.",
)
def test_repository_answers(facts: Facts) -> None:
    """A package repository is configured and responds; skipped if none is reachable."""
    answer = facts.answer("repository")
    if answer.status == NOT_FOUND:
        not_applicable("the image has no supported package manager")
    if answer.status == TIMED_OUT or UNREACHABLE.search(answer.text):
        not_applicable("the repository is unreachable")
    if not answer.ok:
        fail(f"the package manager cannot use the repository:\n{listed(answer.lines)}")
