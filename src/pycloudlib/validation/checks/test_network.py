"""The network is configured for IPv4 and IPv6, and names resolve."""

import json
from typing import Any

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.verdicts import check, fail, not_applicable


def network_responses(facts: Facts) -> dict[str, Any]:
    """Return the responses of the name server and of the metadata service to a small program in the guest."""
    answer = facts.answer("network")
    if not answer.ok:
        not_applicable("the guest has no Python 3 for the probe")
    report: dict[str, Any] = json.loads(answer.text)
    return report


@check(
    reason="Without its private address, the instance is unreachable.",
    remedy="Configure the primary interface with DHCP, regardless of its name.",
)
def test_ipv4_is_up(facts: Facts) -> None:
    """The private address is on an interface, and there is a default route."""
    if not facts.launch.private_ip:
        not_applicable("the instance has only IPv6 addresses")
    if f" {facts.launch.private_ip}/" not in facts.text("addresses"):
        fail(f"{facts.launch.private_ip} is not on any interface:\n{facts.text('addresses')}")
    if not any("default via" in line and ":" not in line for line in facts.lines("routes")):
        fail("there is no default route")


@check(
    reason="In a dual-stack network, clients that prefer IPv6 cannot reach the instance.",
    remedy="Configure the primary interface with DHCPv6 and router advertisements, and do not disable IPv6.",
)
def test_ipv6_is_up(facts: Facts) -> None:
    """Every IPv6 address from EC2 is on an interface."""
    if not facts.launch.ipv6_addresses:
        not_applicable("the instance has no IPv6 address")
    missing = [address for address in facts.launch.ipv6_addresses if f" {address}/" not in facts.text("addresses")]
    if missing:
        fail(f"{', '.join(missing)} is not on any interface:\n{facts.text('addresses')}")


@check(
    reason="Without name resolution, the instance finds neither package repositories nor AWS services.",
    remedy="Let the DHCP client write the name server to /etc/resolv.conf, or run systemd-resolved, instead of a "
    "static /etc/resolv.conf.",
)
def test_names_are_looked_up(facts: Facts) -> None:
    """The name server responds, with any result."""
    outcome = network_responses(facts)["dns"]
    if outcome != "answered":
        fail(f"name resolution failed: {outcome}")


@check(
    reason="Current instance types have no other network adapter, so without its driver they are unreachable.",
    remedy="Install a kernel with the module ena (linux-modules-extra, linux-image-cloud-amd64, or Amazon's own "
    "sources).",
)
def test_ena_driver_is_there(facts: Facts) -> None:
    """The kernel has the Elastic Network Adapter's driver."""
    if not facts.answer("module_ena").ok:
        fail(f"no module ena: {facts.text('module_ena')}")
