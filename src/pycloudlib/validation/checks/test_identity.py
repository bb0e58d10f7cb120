"""The instance has its own identity, not that of the image's source."""

import re

from pycloudlib.validation.facts import CLOCK_SLACK, Facts
from pycloudlib.validation.verdicts import check, fail, not_applicable

MACHINE_ID = re.compile(r"[0-9a-f]{32}")


@check(
    reason="DHCP leases, journals, and licenses use the machine id: two instances with the same one are confused "
    "with each other.",
    remedy="Run echo uninitialized >/etc/machine-id, and remove /var/lib/dbus/machine-id, before you create the image.",
)
def test_machine_id_is_fresh(facts: Facts) -> None:
    """The machine id was generated during the instance's first boot."""
    answer = facts.answer("machine_id")
    machine_id, changed = [*answer.lines, "", ""][:2]
    if not MACHINE_ID.fullmatch(machine_id):
        fail(f"invalid machine id: {machine_id or 'empty'}")
    if int(changed) < int(facts.text("btime")) - CLOCK_SLACK:
        fail(f"the machine id {machine_id} is older than the instance, so the image contains it")


@check(
    reason="Logs and clusters identify hosts by name, and sudo and mail servers are slow if the name does not resolve.",
    remedy="Remove /etc/hostname before you create the image, keep cloud-init's preserve_hostname at its default "
    "(false), and resolve the name with manage_etc_hosts or nss-myhostname.",
)
def test_hostname_is_the_instances(facts: Facts) -> None:
    """The host name is the one from EC2, and it resolves."""
    name, *resolved = facts.lines("hostname") or [""]
    expected = facts.launch.private_dns_name.partition(".")[0]
    if expected and name.partition(".")[0] != expected:
        fail(f"the host name is {name!r}; EC2's name of the instance is {expected!r}")
    if name.partition(".")[0] in ("", "localhost"):
        fail(f"the host name is {name!r}")
    if not resolved:
        fail(f"the host name {name!r} does not resolve")
    if not expected:
        not_applicable("EC2 has no name for this instance")
