"""Machines on VPCs in network namespaces. Every test leaves the machines and their network as it found them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pycloudlib import EC2Instance
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.network.security_groups import SecurityGroup
from pycloudlib.waiting import wait_until
from support.command_line import PROGRAM
from support.inside import CLIENT
from support.processes import children_of
from support.vm_release import IS_BOOKWORM, RELEASE
from support.vpc_site import (
    CIDR,
    OTHER_ZONE,
    PATIENCE,
    PEER_CIDR,
    PORT,
    SAW,
    SILENCE,
    SUBNET,
    ZONE,
    Site,
    held_connection,
    namespaces_cloud,
    vpc_site,
    wait_for_addresses,
)

pytestmark = [pytest.mark.vm, pytest.mark.xdist_group("vpc-network")]

ANYWHERE = "0.0.0.0/0"
ENABLE_HOTPLUG = (
    "echo 'updates: {network: {when: [boot, hotplug]}}' | sudo tee /etc/cloud/cloud.cfg.d/99-hotplug.cfg && "
    "sudo cloud-init single --name install-hotplug --frequency always"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with vpc_site(tmp_path_factory.mktemp("vpc")) as site:
        yield site


# addresses and names


def test_machines_of_one_subnet_reach_each_other(site: Site) -> None:
    assert site.assert_reaches(site.one, site.neighbor.private_ip) == site.one.private_ip
    assert site.assert_reaches(site.neighbor, site.one.private_ip, "udp") == site.neighbor.private_ip


def test_machines_reach_each_other_over_ipv6(site: Site) -> None:
    own, other = (machine.network_interfaces()[0].ipv6_ips[0] for machine in (site.one, site.neighbor))
    assert site.assert_reaches(site.one, other) == own
    assert site.assert_reaches(site.one, other, "udp") == own


def test_machine_reaches_an_address_in_another_subnet(site: Site) -> None:
    assert site.assert_reaches(site.one, site.far_address) == site.one.private_ip


def test_plugged_interface_answers_at_its_own_addresses(site: Site) -> None:
    site.one.add_network_interface(ipv6_address_count=1)
    primary, plugged = site.one.network_interfaces()
    try:
        wait_for_addresses(site.one, [*plugged.private_ips, *plugged.ipv6_ips])
        for address in (*plugged.private_ips, *plugged.ipv6_ips, *primary.private_ips, *primary.ipv6_ips):
            site.assert_reaches(site.neighbor, address)
    finally:
        site.one.remove_network_interface(plugged.private_ips[0])
    site.assert_blocked(site.neighbor, plugged.private_ips[0])


def test_jumbo_frames_reach_the_other_machine(site: Site) -> None:
    """A TCP segment is as large as the path allows."""
    program = (
        "import socket; connection = socket.create_connection(('{}', 8080), 60); "
        "print(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))"
    )
    mtu = site.one.execute("cat /sys/class/net/*/mtu").check().split()
    assert "9001" in mtu
    segment = site.one.execute(["python3", "-c", program.format(site.neighbor.private_ip)]).check()
    assert int(segment) > 8900


def test_private_names_resolve_in_the_guest(site: Site) -> None:
    address = site.neighbor.private_ip
    for name in (f"ip-{address.replace('.', '-')}.ec2.internal", f"{site.neighbor.id}.ec2.internal"):
        assert resolve(site.one, name) == {address}
    assert site.one.execute("hostname").check().strip() == f"ip-{site.one.private_ip.replace('.', '-')}"


def test_public_name_resolves_to_the_private_address_in_the_guest(site: Site) -> None:
    assert resolve(site.one, site.neighbor.public_dns_name) == {site.neighbor.private_ip}


def resolve(machine: EC2Instance, name: str) -> set[str]:
    """The IPv4 addresses that a name has in a guest."""
    return {line.split()[0] for line in machine.execute(["getent", "ahostsv4", name]).check().splitlines()}


# security groups


@pytest.fixture
def group(site: Site) -> Iterator[SecurityGroup]:
    """A security group without ingress rules, the only one of `neighbor`'s primary interface."""
    group = site.ec2.create_security_group(f"{site.ec2.tag}-ports", "of one machine", vpc=site.vpc)
    with security_groups(site, site.neighbor, group.id):
        yield group
    group.delete()


@contextmanager
def security_groups(site: Site, machine: EC2Instance, *group_ids: str) -> Iterator[None]:
    """Replace the security groups of a machine's primary interface."""
    interface = machine.network_interfaces()[0]
    change = site.ec2.client.modify_network_interface_attribute
    change(NetworkInterfaceId=interface.id, Groups=list(group_ids))
    try:
        yield
    finally:
        change(NetworkInterfaceId=interface.id, Groups=list(interface.security_group_ids))


def test_security_group_admits_a_cidr_block(site: Site, group: SecurityGroup) -> None:
    address = site.neighbor.private_ip
    assert site.assert_blocked(site.one, address) == group.id
    group.authorize("tcp", PORT, cidr=f"{site.one.private_ip}/32")
    site.assert_reaches(site.one, address)
    assert site.assert_blocked(site.one, address, "udp") == group.id
    assert site.assert_blocked(None, site.neighbor.ip) == group.id


def test_security_group_admits_the_members_of_another_group(site: Site, group: SecurityGroup) -> None:
    address = site.neighbor.private_ip
    clients = site.ec2.create_security_group(f"{site.ec2.tag}-clients", "of clients", vpc=site.vpc)
    group.authorize("tcp", PORT, source_group=clients)
    assert site.assert_blocked(site.one, address) == group.id
    with security_groups(site, site.one, site.vpc.security_group_id, clients.id):
        site.assert_reaches(site.one, address)
    assert site.assert_blocked(site.one, address) == group.id
    group.revoke("tcp", PORT, source_group=clients)
    clients.delete()


def test_open_connection_outlives_its_revoked_rule(site: Site, group: SecurityGroup) -> None:
    address, cidr = site.neighbor.private_ip, f"{site.one.private_ip}/32"
    group.authorize("tcp", PORT, cidr=cidr)
    with held_connection(site.one, address) as held:
        held.say()
        assert held.hears()
        group.revoke("tcp", PORT, cidr=cidr)
        assert site.assert_blocked(site.one, address) == group.id
        held.say()
        assert held.hears(), "the open connection did not survive"


def test_host_reaches_an_opened_port_at_the_public_address(site: Site, group: SecurityGroup) -> None:
    assert site.assert_blocked(None, site.neighbor.ip) == group.id
    group.authorize("tcp", PORT, cidr=ANYWHERE)
    assert site.assert_reaches(None, site.neighbor.ip) == "198.51.100.1"
    group.revoke("tcp", PORT, cidr=ANYWHERE)
    assert site.assert_blocked(None, site.neighbor.ip) == group.id


# network ACLs


@contextmanager
def denied(site: Site, cidr: str, ports: tuple[int, int], *, egress: bool = False) -> Iterator[str]:
    """Deny TCP ports by the network ACL of both subnets; its id."""
    client = site.ec2.client
    (acl,) = client.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [site.vpc.id]}])["NetworkAcls"]
    entry: Any = {"NetworkAclId": acl["NetworkAclId"], "RuleNumber": 50, "Egress": egress}
    range_: Any = {"From": ports[0], "To": ports[1]}
    client.create_network_acl_entry(**entry, Protocol="6", RuleAction="deny", CidrBlock=cidr, PortRange=range_)
    try:
        yield acl["NetworkAclId"]
    finally:
        client.delete_network_acl_entry(**entry)


def test_network_acl_denies_requests_between_subnets_only(site: Site) -> None:
    with denied(site, SUBNET, (PORT, PORT)) as acl_id:
        assert site.assert_blocked(site.one, site.far_address) == acl_id
        site.assert_reaches(site.one, site.neighbor.private_ip)
    site.assert_reaches(site.one, site.far_address)


def test_network_acl_denies_answers(site: Site) -> None:
    with denied(site, SUBNET, (1024, 65535), egress=True) as acl_id:
        assert site.assert_blocked(site.one, site.far_address) == acl_id
    site.assert_reaches(site.one, site.far_address)


def test_network_acl_denies_requests_of_the_host(site: Site, group: SecurityGroup) -> None:
    group.authorize("tcp", PORT, cidr=ANYWHERE)
    with denied(site, ANYWHERE, (PORT, PORT)) as acl_id:
        assert site.assert_blocked(None, site.neighbor.ip) == acl_id
    site.assert_reaches(None, site.neighbor.ip)


# route tables and peering


def table_of(site: Site, subnet_id: str) -> Any:
    """The description of a subnet's route table."""
    of_subnet: Any = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    (table,) = site.ec2.client.describe_route_tables(Filters=of_subnet)["RouteTables"]
    return table


@contextmanager
def own_route_table(site: Site, subnet_id: str) -> Iterator[str]:
    """Give a subnet a route table of its own, which has only the local route; its id."""
    client, table = site.ec2.client, table_of(site, subnet_id)
    (association_id,) = (
        one["RouteTableAssociationId"] for one in table["Associations"] if one.get("SubnetId") == subnet_id
    )
    table_id = client.create_route_table(VpcId=site.vpc.id)["RouteTable"]["RouteTableId"]
    replaced = client.replace_route_table_association(AssociationId=association_id, RouteTableId=table_id)
    try:
        yield table_id
    finally:
        client.replace_route_table_association(
            AssociationId=replaced["NewAssociationId"], RouteTableId=table["RouteTableId"]
        )
        client.delete_route_table(RouteTableId=table_id)


@pytest.fixture
def open_groups(site: Site) -> Iterator[None]:
    """Both VPCs' security groups admit each other's CIDR block."""
    groups = {one.id: one for one in site.ec2.security_groups()}
    rules = ((site.vpc, PEER_CIDR), (site.peer_vpc, CIDR))
    for vpc, cidr in rules:
        groups[vpc.security_group_id].authorize("all", cidr=cidr)
    yield
    for vpc, cidr in rules:
        groups[vpc.security_group_id].revoke("all", cidr=cidr)


@pytest.fixture
def peering(site: Site, open_groups: None) -> Iterator[str]:
    """A VPC peering connection with routes in the route tables of all subnets; its id."""
    client = site.ec2.client
    created = client.create_vpc_peering_connection(VpcId=site.vpc.id, PeerVpcId=site.peer_vpc.id)
    peering_id = created["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    client.accept_vpc_peering_connection(VpcPeeringConnectionId=peering_id)
    routes = [
        {"RouteTableId": table_of(site, vpc.subnet_ids[0])["RouteTableId"], "DestinationCidrBlock": cidr}
        for vpc, cidr in ((site.vpc, PEER_CIDR), (site.peer_vpc, CIDR))
    ]
    for route in routes:
        client.create_route(**route, VpcPeeringConnectionId=peering_id)
    yield peering_id
    for route in routes:
        client.delete_route(**route)
    client.delete_vpc_peering_connection(VpcPeeringConnectionId=peering_id)


@pytest.mark.usefixtures("open_groups")
def test_machines_of_two_vpcs_do_not_reach_each_other(site: Site) -> None:
    site.assert_blocked(site.one, site.stranger.private_ip)
    site.assert_blocked(site.stranger, site.one.private_ip)


def test_machines_of_peered_vpcs_reach_each_other(site: Site, peering: str) -> None:
    assert site.assert_reaches(site.one, site.stranger.private_ip) == site.one.private_ip
    assert site.assert_reaches(site.stranger, site.one.private_ip, "udp") == site.stranger.private_ip
    site.ec2.client.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    site.assert_blocked(site.one, site.stranger.private_ip)


@pytest.mark.usefixtures("peering")
def test_route_table_of_a_subnet_decides_about_answers_to_a_peer(site: Site) -> None:
    site.assert_reaches(site.stranger, site.far_address)
    with own_route_table(site, site.other_subnet_id) as table_id:
        assert site.assert_blocked(site.stranger, site.far_address) == table_id
        site.assert_reaches(site.stranger, site.neighbor.private_ip)
    site.assert_reaches(site.stranger, site.far_address)


# gateways


@pytest.fixture
def internet() -> Iterator[tuple[str, int]]:
    """A server at an address of this computer, which machines reach only by the internet: its address and port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        try:
            client.connect(("203.0.113.1", 9))  # sends nothing: this chooses the address
        except OSError:
            pytest.skip("this computer has no address but loopback")
        address = client.getsockname()[0]

    def serve() -> None:
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(f"the internet{SAW}{peer[0]}\n".encode())

    with socket.create_server((address, 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield address, server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_internet_gateway_is_reached_by_a_route(site: Site, internet: tuple[str, int]) -> None:
    address, port = internet
    site.assert_reaches(site.one, address, port=port)
    with own_route_table(site, site.vpc.subnet_ids[0]) as table_id:
        assert site.assert_blocked(site.one, address, port=port) == table_id
    site.assert_reaches(site.one, address, port=port)


def test_nat_gateway_leads_to_the_internet_until_it_is_deleted(site: Site, internet: tuple[str, int]) -> None:
    client = site.ec2.client
    address, port = internet
    allocation_id = client.allocate_address(Domain="vpc")["AllocationId"]
    with own_route_table(site, site.vpc.subnet_ids[0]) as table_id:
        assert site.assert_blocked(site.one, address, port=port) == table_id
        created = client.create_nat_gateway(SubnetId=site.other_subnet_id, AllocationId=allocation_id)
        gateway_id = created["NatGateway"]["NatGatewayId"]
        client.create_route(RouteTableId=table_id, DestinationCidrBlock=ANYWHERE, NatGatewayId=gateway_id)
        site.assert_reaches(site.one, address, port=port)
        client.delete_nat_gateway(NatGatewayId=gateway_id)
        site.assert_blocked(site.one, address, port=port)
    client.release_address(AllocationId=allocation_id)


# network faults


def test_partition_of_two_machines_opens_and_heals(site: Site) -> None:
    address = site.neighbor.private_ip
    with held_connection(site.one, address) as held:
        held.say()
        assert held.hears()
        with site.local.partition(site.one.id, site.neighbor.id) as fault_id:
            assert site.assert_blocked(site.one, address) == fault_id
            assert site.assert_blocked(site.neighbor, site.one.private_ip) == fault_id
            held.say()
            assert not held.hears(SILENCE), "the open connection goes on during the partition"
        assert held.hears(), "the open connection does not go on after the partition"
    site.assert_reaches(site.one, address)


@pytest.mark.usefixtures("peering")
def test_partition_of_two_zones_opens_and_heals(site: Site) -> None:
    with site.local.partition(ZONE, OTHER_ZONE) as fault_id:
        assert site.assert_blocked(site.one, site.stranger.private_ip) == fault_id
        site.assert_reaches(site.one, site.neighbor.private_ip)
    site.assert_reaches(site.one, site.stranger.private_ip)


# commands inside


def run_inside(site: Site, kind: str, address: str, port: int) -> str:
    """What a server answers to `pycloudlib local exec`."""
    command = [sys.executable, "-c", PROGRAM, "local", "exec", "--name", site.local.name, "--vpc", site.vpc.id]
    client = [sys.executable, "-c", CLIENT, kind, address, str(port), str(SILENCE)]
    return subprocess.run([*command, "--", *client], capture_output=True, text=True, check=False).stdout.strip()


def test_command_inside_reaches_private_addresses_and_names(site: Site) -> None:
    """`pycloudlib local exec`."""
    for address, port in (
        (site.neighbor.private_ip, 22),
        (f"{site.neighbor.id}.ec2.internal", 22),
        (site.neighbor.ip, site.local.ssh_port),
    ):
        assert run_inside(site, "tcp", address, port).startswith("SSH-2.0")


def test_command_inside_reaches_an_opened_udp_port(site: Site, group: SecurityGroup) -> None:
    address = site.neighbor.private_ip
    assert run_inside(site, "udp", address, PORT) == ""
    group.authorize("udp", PORT, cidr="198.51.100.1/32")
    wait_until(
        lambda: run_inside(site, "udp", address, PORT).endswith(f"{SAW}198.51.100.1"),
        what="the datagram to be answered",
        deadline=Deadline.after(PATIENCE),
    )


def addresses(machine: EC2Instance) -> dict[str, list[dict[str, Any]]]:
    """The global addresses of each interface in the guest, by MAC address."""
    links: list[dict[str, Any]] = json.loads(machine.execute("ip -j addr show scope global").check())
    # Addresses of other scopes are left as empty objects.
    return {link["address"]: [one for one in link["addr_info"] if one] for link in links if link}


def test_cloud_init_configures_the_interface_by_dhcp(site: Site) -> None:
    (interface,) = site.one.network_interfaces()
    found = addresses(site.one)[interface.mac]
    assert {one["local"] for one in found} == {*interface.private_ips, *interface.ipv6_ips}
    assert all(one.get("dynamic") for one in found), "an address does not come from DHCP or DHCPv6"
    if not IS_BOOKWORM:
        assert "dhcp6: true" in site.one.execute("cat /etc/netplan/50-cloud-init.yaml", use_sudo=True).check()
        return
    assert "inet6 dhcp" in site.one.execute("cat /etc/network/interfaces.d/50-cloud-init").check()
    # Other tests may have plugged interfaces, for which there are stanzas here.
    name = site.one.execute(f"grep -l {interface.mac} /sys/class/net/*/address").check().split("/")[4]
    assert name not in site.one.execute("ls /run/network/interfaces.d").stdout.split()


def test_cloud_init_configures_a_plugged_interface(site: Site) -> None:
    """With `updates: network: when: [hotplug]`, which is enabled later here than by user data."""
    machine = site.stranger
    machine.execute(ENABLE_HOTPLUG).check()
    address = machine.add_network_interface(ipv4_address_count=2, ipv6_address_count=1)
    added = machine.network_interfaces()[1]
    logged = "sudo grep -c 'Exiting hotplug handler' /var/log/cloud-init.log"
    wait_until(
        lambda: machine.execute(logged).ok, what="cloud-init's hot-plug handler", deadline=Deadline.after(3 * PATIENCE)
    )
    found = {one["local"] for one in addresses(machine)[added.mac]}
    assert found == {*added.private_ips, *added.ipv6_ips}
    assert not machine.execute("sudo grep -E 'already configured|ERROR' /var/log/cloud-init.log")
    machine.remove_network_interface(address)


def test_killed_network_helper_ends_machines_with_the_reason(tmp_path: Path) -> None:
    with namespaces_cloud(tmp_path) as (local, ec2):
        machine = ec2.launch(ec2.daily_image(RELEASE), wait=False)
        ec2.client.get_waiter("instance_running").wait(InstanceIds=[machine.id], WaiterConfig={"Delay": 1})
        (helper,) = [pid for pid, command in children_of(local.info.pid) if "namespaces.helper" in command]
        os.kill(helper, signal.SIGKILL)

        def reason() -> str:
            described = ec2.client.describe_instances(InstanceIds=[machine.id])["Reservations"][0]["Instances"][0]
            message: str = described.get("StateReason", {}).get("Message", "")
            return message

        wait_until(
            lambda: "network helper" in reason(),
            what="the instance to be terminated with the reason",
            deadline=Deadline.after(PATIENCE),
        )
