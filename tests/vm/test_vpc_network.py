"""Machines on VPCs in network namespaces: two in one VPC, and one in another VPC with the same CIDR block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.vpc import VPC
from pycloudlib.local import LocalEC2
from pycloudlib.local.network.namespaces.probe import probe
from pycloudlib.waiting import wait_until
from support.command_line import PROGRAM
from support.inside import CLIENT
from support.processes import children_of

pytestmark = [pytest.mark.vm, pytest.mark.xdist_group("vpc-network")]

CIDR = "10.0.0.0/16"
PORT = 8080
PATIENCE = 120.0


@dataclass(frozen=True)
class Site:
    """Machines `one` and `other` are in the same VPC, `stranger` is in another one."""

    local: LocalEC2
    ec2: EC2
    vpc: VPC
    one: EC2Instance
    other: EC2Instance
    stranger: EC2Instance


@contextmanager
def cloud(directory: Path) -> Iterator[tuple[LocalEC2, EC2]]:
    finding = probe()
    if not finding.works:
        pytest.skip(f"{finding.reason}; {finding.remedy}")
    with LocalEC2(network="namespaces") as local:
        path = directory / "pycloudlib.toml"
        path.touch(mode=0o600)
        path.write_text(local.info.settings_toml(public_key_path=KeyPair.generate(directory).public_key_path))
        with EC2("vpc", config_file=path) as ec2:
            yield local, ec2


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with cloud(tmp_path_factory.mktemp("vpc")) as (local, ec2):
        image_id = ec2.daily_image("bookworm")
        vpc, foreign = (ec2.get_or_create_vpc(f"{ec2.tag}-{name}", CIDR) for name in ("one", "two"))
        machines = [ec2.launch(image_id, vpc=its, wait=False) for its in (vpc, vpc, foreign)]
        for machine in machines:
            machine.wait()
        yield Site(local, ec2, vpc, *machines)


def answers(client: EC2Instance, address: str) -> bool:
    """Tell whether a machine's sshd answers another machine."""
    return client.execute(f"timeout 20 bash -c 'read -r banner </dev/tcp/{address}/22'").ok


def test_machines_of_a_vpc_reach_each_other(site: Site) -> None:
    assert answers(site.one, site.other.private_ip)
    (interface,) = site.other.network_interfaces()
    assert answers(site.one, interface.ipv6_ips[0])


def test_machines_of_another_vpc_with_the_same_cidr_block_are_out_of_reach(site: Site) -> None:
    assert not answers(site.stranger, site.other.private_ip)


def test_jumbo_frames_reach_the_other_machine(site: Site) -> None:
    """A TCP segment is as large as the path allows."""
    program = (
        "import socket; connection = socket.create_connection(('{}', 22), 60); "
        "print(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))"
    )
    segment = site.one.execute(["python3", "-c", program.format(site.other.private_ip)]).check()
    assert int(segment) > 8900


def test_private_names_resolve_in_the_guest(site: Site) -> None:
    name = f"ip-{site.other.private_ip.replace('.', '-')}.ec2.internal"
    found = site.one.execute(["getent", "ahostsv4", name, f"{site.other.id}.ec2.internal"]).check()
    assert site.other.private_ip in found
    assert site.one.execute("hostname").check().strip() == f"ip-{site.one.private_ip.replace('.', '-')}"


def serves(address: str) -> bool:
    try:
        with socket.create_connection((address, PORT), 3.0) as connection:
            connection.settimeout(3.0)
            return connection.recv(5) == b"hello"
    except OSError:
        return False


def wait_for(outcome: Callable[[], bool], what: str) -> None:
    wait_until(outcome, what=what, deadline=Deadline.after(PATIENCE))


SERVER = f"""
import socket, threading
server = socket.create_server(("", {PORT}))
def greet(client):
    client.sendall(b"hello")
    while client.recv(100):
        client.sendall(b"again")
while True:
    threading.Thread(target=greet, args=(server.accept()[0],), daemon=True).start()
"""


def test_security_groups_and_acls_decide_about_connections_from_the_host(site: Site) -> None:
    site.other.execute(["sudo", "systemd-run", "--quiet", "python3", "-c", SERVER]).check()
    client, public_ip = site.ec2.client, site.other.ip
    (interface,) = site.other.network_interfaces()
    group_id = interface.security_group_ids[0]
    assert not serves(public_ip)
    rule = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    client.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[rule])
    wait_for(lambda: serves(public_ip), "the opened port to answer")

    (acl,) = client.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [site.vpc.id]}])["NetworkAcls"]
    entry = {"NetworkAclId": acl["NetworkAclId"], "RuleNumber": 50, "Egress": False}
    ports = {"From": PORT, "To": PORT}
    client.create_network_acl_entry(**entry, Protocol="6", RuleAction="deny", CidrBlock="0.0.0.0/0", PortRange=ports)
    assert not serves(public_ip)
    client.delete_network_acl_entry(**entry)
    wait_for(lambda: serves(public_ip), "the port to answer without the entry")

    with socket.create_connection((public_ip, PORT), PATIENCE) as tracked:
        tracked.settimeout(PATIENCE)
        assert tracked.recv(5) == b"hello"
        client.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[rule])
        assert not serves(public_ip)
        tracked.sendall(b"still there?")
        assert tracked.recv(5) == b"again"


UDP_SERVER = f"""
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", {PORT}))
while True:
    words, peer = server.recvfrom(100)
    server.sendto(words + b" from " + peer[0].encode(), peer)
"""


def test_command_inside_reaches_private_address_and_udp(site: Site) -> None:
    """`pycloudlib local exec`."""

    def ask(kind: str, address: str, port: int) -> str:
        command = [sys.executable, "-c", PROGRAM, "local", "exec", "--name", site.local.name, "--vpc", site.vpc.id]
        client = [sys.executable, "-c", CLIENT, kind, address, str(port), "3"]
        return subprocess.run([*command, "--", *client], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()

    assert ask("tcp", site.other.private_ip, 22).startswith("SSH-2.0")
    assert ask("tcp", f"{site.other.id}.ec2.internal", 22).startswith("SSH-2.0")
    assert ask("tcp", site.other.ip, site.local.ssh_port).startswith("SSH-2.0")
    site.other.execute(["sudo", "systemd-run", "--quiet", "python3", "-c", UDP_SERVER]).check()
    assert ask("udp", site.other.private_ip, PORT) == ""
    (interface,) = site.other.network_interfaces()
    rule = {"IpProtocol": "udp", "FromPort": PORT, "ToPort": PORT, "IpRanges": [{"CidrIp": "198.51.100.1/32"}]}
    site.ec2.client.authorize_security_group_ingress(GroupId=interface.security_group_ids[0], IpPermissions=[rule])
    wait_for(
        lambda: ask("udp", site.other.private_ip, PORT) == "hello from 198.51.100.1", "the datagram to be answered"
    )


def test_plugged_interface_answers_at_its_own_address(site: Site) -> None:
    address = site.one.add_network_interface()
    wait_for(lambda: answers(site.other, address), f"{address} to answer")
    site.one.remove_network_interface(address)
    assert not answers(site.other, address)


def test_killed_network_helper_ends_machines_with_the_reason(tmp_path: Path) -> None:
    with cloud(tmp_path) as (local, ec2):
        machine = ec2.launch(ec2.daily_image("bookworm"), wait=False)
        ec2.client.get_waiter("instance_running").wait(InstanceIds=[machine.id], WaiterConfig={"Delay": 1})
        (helper,) = [pid for pid, command in children_of(local.info.pid) if "namespaces.helper" in command]
        os.kill(helper, signal.SIGKILL)

        def reason() -> str:
            described = ec2.client.describe_instances(InstanceIds=[machine.id])["Reservations"][0]["Instances"][0]
            message: str = described.get("StateReason", {}).get("Message", "")
            return message

        wait_for(lambda: "network helper" in reason(), "the instance to be terminated with the reason")
