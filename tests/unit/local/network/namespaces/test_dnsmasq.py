from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pycloudlib.local.network.attachment import Address
from pycloudlib.local.network.namespaces.dnsmasq import dnsmasq_settings
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.namespaces.host_names import host_names
from pycloudlib.local.network.topology import Interface
from pycloudlib.waiting import Deadline, wait_until
from support.dhcp_client import Lease, flood, get_lease
from support.guest_network import PATIENCE
from support.processes import is_alive
from support.topologies import make_interface, make_topology, make_vpc

from .conftest import Connect

SUBNET6 = "2600:1f13:0:1::/64"
A = make_interface(1, "10.0.1.5")
B = make_interface(2, "10.0.1.6")


@contextmanager
def tap_of(fabric: Fabric, interface: Interface) -> Iterator[int]:
    fd = fabric.add_interface(interface.interface_id)
    try:
        yield fd
    finally:
        os.close(fd)


def lease_of(tap: int, interface: Interface) -> Lease:
    lease = get_lease(tap, interface.attachment.mac, PATIENCE)
    assert lease is not None
    return lease


def test_a_guest_gets_its_address_by_dhcp(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    with tap_of(fabric, A) as tap:
        lease = lease_of(tap, A)
    assert lease.address == "10.0.1.5"
    assert lease.addresses(1) == ["255.255.255.0"]
    assert lease.addresses(3) == ["10.0.1.1"]
    assert lease.addresses(6) == ["10.0.0.2"]
    assert lease.text(12) == "ip-10-0-1-5"
    assert lease.text(15) == "ec2.internal"
    assert lease.options[26] == (9001).to_bytes(2, "big")


def test_flood_of_dhcp_requests_leaves_guests_their_addresses(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    with tap_of(fabric, A) as hostile, tap_of(fabric, B) as other:
        before = fabric.program_pids("vpc-1")["dnsmasq"]
        flood(hostile, 5000)
        assert lease_of(other, B).address == "10.0.1.6"
        assert lease_of(hostile, A).address == "10.0.1.5"
        assert fabric.program_pids("vpc-1")["dnsmasq"] == before


def test_a_guest_gets_the_dhcp_options_of_its_vpc(fabric: Fabric) -> None:
    options = {
        "domain-name": ("corp.example",),
        "domain-name-servers": ("192.0.2.53", "AmazonProvidedDNS", "2001:db8::53"),
        "ntp-servers": ("192.0.2.123",),
        "netbios-name-servers": ("192.0.2.137",),
        "netbios-node-type": ("2",),
    }
    vpc = make_vpc("vpc-1", A)
    fabric.apply(make_topology(vpc))
    with tap_of(fabric, A) as tap:
        lease_of(tap, A)
        fabric.apply(make_topology(replace(vpc, dhcp_options=options)))
        lease = lease_of(tap, A)
        assert lease.text(15) == "corp.example"
        assert lease.addresses(6) == ["192.0.2.53", "10.0.0.2"]
        assert (lease.addresses(42), lease.addresses(44)) == (["192.0.2.123"], ["192.0.2.137"])
        assert lease.options[46] == b"\x02"
        fabric.apply(make_topology(replace(vpc, dhcp_options={})))
        lease = lease_of(tap, A)
    assert lease.address == "10.0.1.5"
    assert not lease.options.keys() & {6, 15, 42}


def test_an_interface_in_a_new_subnet_gets_its_address(fabric: Fabric) -> None:
    far = make_interface(3, "10.0.2.5", "10.0.2.0/24")
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    with tap_of(fabric, A) as tap:
        lease_of(tap, A)
        fabric.apply(make_topology(make_vpc("vpc-1", A, far)))
        with tap_of(fabric, far) as other:
            assert lease_of(other, far).address == "10.0.2.5"


def test_an_address_that_another_interface_had_is_leased_again(fabric: Fabric) -> None:
    successor = make_interface(2, "10.0.1.5")
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    with tap_of(fabric, A) as tap:
        lease_of(tap, A)
    fabric.apply(make_topology(make_vpc("vpc-1", successor)))
    with tap_of(fabric, successor) as tap:
        assert lease_of(tap, successor).address == "10.0.1.5"


def test_a_killed_dnsmasq_is_started_again(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    with tap_of(fabric, A) as tap:
        lease_of(tap, A)
        first = fabric.program_pids("vpc-1")["dnsmasq"]
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert lease_of(tap, A).address == "10.0.1.5"
        assert fabric.program_pids("vpc-1")["dnsmasq"] != first


def test_dnsmasq_ends_with_its_vpc(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    with tap_of(fabric, A):
        pid = fabric.program_pids("vpc-1")["dnsmasq"]
        assert pid is not None
        fabric.apply(make_topology())
    wait_until(lambda: not is_alive(pid), what="dnsmasq to end", deadline=Deadline.after(PATIENCE))
    assert fabric.program_pids("vpc-1") == {}


def test_private_names_resolve(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    guest = connect(fabric, A)
    for name, address in (("ip-10-0-1-6.ec2.internal", "10.0.1.6"), ("i-2.ec2.internal", "10.0.1.6")):
        for server in ("10.0.0.2", "169.254.169.253"):
            assert guest.call("resolve", name=name, server=server, seconds=PATIENCE) == [address]


def test_a_public_name_resolves_to_the_private_address(fabric: Fabric, connect: Connect) -> None:
    attachment = replace(B.attachment, addresses=(Address("10.0.1.6", "127.3.2.1"),))
    public = replace(B, attachment=attachment)
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    guest = connect(fabric, A)
    fabric.apply(make_topology(make_vpc("vpc-1", A, public)))
    name = "ec2-127-3-2-1.compute-1.amazonaws.com"
    wait_until(
        lambda: guest.call("resolve", name=name, server="10.0.0.2", seconds=1) == ["10.0.1.6"],
        what=f"{name} to resolve",
        deadline=Deadline.after(PATIENCE),
    )


def test_public_names_follow_the_attribute_of_the_vpc() -> None:
    attachment = replace(B.attachment, addresses=(Address("10.0.1.6", "127.3.2.1"),))
    vpc = make_vpc("vpc-1", replace(B, attachment=attachment))
    line = "10.0.1.6 ec2-127-3-2-1.compute-1.amazonaws.com"
    assert line in host_names(vpc)
    assert line not in host_names(replace(vpc, dns_hostnames=False))


def test_router_advertisements_give_guests_a_route(fabric: Fabric, connect: Connect) -> None:
    one = make_interface(1, "10.0.1.5", ipv6_addresses=["2600:1f13:0:1::5"], ipv6_subnet=SUBNET6)
    other = make_interface(2, "10.0.1.6", ipv6_addresses=["2600:1f13:0:1::6"], ipv6_subnet=SUBNET6)
    fabric.apply(make_topology(make_vpc("vpc-1", one, other)))
    a, b = connect(fabric, one, advertised=True), connect(fabric, other)
    b.call("serve", port=80, ipv6=True)
    assert a.reaches("2600:1f13:0:1::6", 80)


def test_guest_with_another_duid_gets_its_ipv6_address(fabric: Fabric, connect: Connect) -> None:
    one = make_interface(1, "10.0.1.5", ipv6_addresses=["2600:1f13:0:1::5"], ipv6_subnet=SUBNET6)
    fabric.apply(make_topology(make_vpc("vpc-1", one)))
    guest = connect(fabric, one)
    for duid in ("0004" + 16 * "01", "0004" + 16 * "02"):
        assert guest.call("lease_ipv6", duid=duid, seconds=PATIENCE) == "2600:1f13:0:1::5"


def test_guest_without_an_ipv6_address_does_not_restart_dnsmasq(fabric: Fabric, connect: Connect) -> None:
    one = make_interface(1, "10.0.1.5", ipv6_addresses=["2600:1f13:0:1::5"], ipv6_subnet=SUBNET6)
    other = make_interface(2, "10.0.1.6", ipv6_subnet=SUBNET6)
    fabric.apply(make_topology(make_vpc("vpc-1", one, other)))
    guest = connect(fabric, other)
    before = fabric.program_pids("vpc-1")["dnsmasq"]
    assert guest.call("lease_ipv6", duid="0004" + 16 * "03", seconds=1) is None
    assert fabric.program_pids("vpc-1")["dnsmasq"] == before


def test_settings_of_another_region_have_its_domain() -> None:
    vpc = make_vpc("vpc-1", A)
    subnets = {key: replace(subnet, zone="eu-west-1b") for key, subnet in vpc.subnets.items()}
    settings = dnsmasq_settings(replace(vpc, subnets=subnets), "192.0.2.3")
    assert "--domain=eu-west-1.compute.internal" in settings.arguments
    assert "10.0.1.5 i-1.eu-west-1.compute.internal" in settings.hosts


def test_settings_pin_one_ipv6_address_per_interface() -> None:
    addresses = ["2600:1f13:0:1::5", "2600:1f13:0:1::6"]
    one = make_interface(1, "10.0.1.5", ipv6_addresses=addresses, ipv6_subnet=SUBNET6)
    settings = dnsmasq_settings(make_vpc("vpc-1", one), None)
    assert settings.leases["eni-1"] == "0e:00:00:00:00:01,10.0.1.5,[2600:1f13:0:1::5],ip-10-0-1-5,3600"
    assert "--dhcp-range=2600:1f13:0:1::,static,off-link,64,3600" in settings.arguments
    assert "--enable-ra" in settings.arguments
    assert not [argument for argument in settings.arguments if argument.startswith("--server=")]
