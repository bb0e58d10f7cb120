"""The instance has its own identity, not that of the image's source."""

import re

from pycloudlib.validation.facts import CLOCK_SLACK, Facts
from pycloudlib.validation.verdicts import check, fail, not_applicable

MACHINE_ID = re.compile(r"[0-9a-f]{32}")


@check(
    reason="DHCP leases, journals and licences go by it: two machines with the same one are taken for each other.",
    remedy="echo uninitialized >/etc/machine-id before the image is made, and remove /var/lib/dbus/machine-id.",
)
def test_machine_id_is_fresh(facts: Facts) -> None:
    """The machine id was generated during the instance's first boot."""
    answer = facts.answer("machine_id")
    machine_id, changed = [*answer.lines, "", ""][:2]
    if not MACHINE_ID.fullmatch(machine_id):
        fail(f"the machine id is no such: {machine_id or 'empty'}")
    if int(changed) < int(facts.text("btime")) - CLOCK_SLACK:
        fail(f"the machine id {machine_id} is older than the machine, so it is in the image")


@check(
    reason="Logs and clusters go by the host name, and sudo and mail wait for one that does not resolve.",
    remedy="Remove /etc/hostname before the image is made, leave preserve_hostname of cloud-init as it is (false), "
    "and let manage_etc_hosts or nss-myhostname resolve it.",
)
def test_hostname_is_the_instances(facts: Facts) -> None:
    """The host name is the one from EC2, and it resolves."""
    name, *resolved = facts.lines("hostname") or [""]
    given = facts.launch.private_dns_name.partition(".")[0]
    if given and name.partition(".")[0] != given:
        fail(f"the host name is {name!r}; EC2 calls this instance {given!r}")
    if name.partition(".")[0] in ("", "localhost"):
        fail(f"the host name is {name!r}")
    if not resolved:
        fail(f"the host name {name!r} does not resolve")
    if not given:
        not_applicable("EC2 gave no name to compare the host name with")
