"""Three machines in two VPCs of a local EC2 with the namespaces network, and what tests ask them."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.cli.openssh import forget_host, ssh_words
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.vpc import VPC
from pycloudlib.local import LocalEC2
from pycloudlib.local.documents import fetch_faults, fetch_network
from pycloudlib.local.network.reach import Reach, reach
from pycloudlib.waiting import wait_until
from support.namespaces import require_namespaces
from support.vm_release import RELEASE

CIDR, PEER_CIDR = "10.0.0.0/16", "10.1.0.0/16"
ZONE, OTHER_ZONE = "us-east-1a", "us-east-1b"
SUBNET, OTHER_SUBNET = "10.0.1.0/24", "10.0.2.0/24"
PORT = 8080
"""The TCP and UDP port of every machine's server."""
PATIENCE = 120.0
"""Seconds for what must happen."""
ATTEMPT = 20.0
"""Seconds for one attempt that should succeed."""
SILENCE = 4.0
"""Seconds after which a request that must not arrive counts as lost."""

SAW = " saw "

SERVER = f"""\
#!/bin/sh
cat >/usr/local/bin/greeter <<'END'
import socket
import threading

def greet(peer):
    return (socket.gethostname() + "{SAW}" + peer[0].removeprefix("::ffff:") + "\\n").encode()

def talk(client, peer):
    with client, client.makefile("rb") as lines:
        for _ in lines:
            client.sendall(greet(peer))

def serve_tcp():
    with socket.create_server(("", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        while True:
            threading.Thread(target=talk, args=server.accept(), daemon=True).start()

threading.Thread(target=serve_tcp, daemon=True).start()
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("", {PORT}))
    while True:
        _, peer = server.recvfrom(100)
        server.sendto(greet(peer), peer)
END
systemd-run --quiet python3 /usr/local/bin/greeter
"""
"""Answers each line and each datagram with the host name and the address of the client."""


@dataclass(frozen=True)
class Site:
    """Three machines with the same server.

    Args:
        local: the local EC2.
        ec2: the client.
        vpc: 10.0.0.0/16, with two subnets. Its security group admits SSH, ICMP, and its members.
        other_subnet_id: the second subnet, with the same route table and network ACL as the first one.
        peer_vpc: 10.1.0.0/16, with one subnet in another zone.
        one: a machine in the first subnet of `vpc`.
        neighbor: another machine there, with a second interface in the second subnet.
        far_address: the address of this second interface.
        stranger: a machine in `peer_vpc`.
    """

    local: LocalEC2
    ec2: EC2
    vpc: VPC
    other_subnet_id: str
    peer_vpc: VPC
    one: EC2Instance
    neighbor: EC2Instance
    far_address: str
    stranger: EC2Instance

    def name(self, machine: EC2Instance | None) -> str:
        """Return the name of a machine; None is the host."""
        if machine is None:
            return "the host"
        names = ("one", "neighbor", "stranger")
        return next(name for name in names if getattr(self, name) is machine)

    def analyze(self, source: EC2Instance | None, address: str, protocol: str = "tcp", port: int = PORT) -> Reach:
        """Return what `pycloudlib local reach` says."""
        info = self.local.info
        topology = fetch_network(info).topology
        start = "host" if source is None else source.id
        return reach(topology, start, address, protocol, port, faults=fetch_faults(info))

    def assert_reaches(self, source: EC2Instance | None, address: str, protocol: str = "tcp", port: int = PORT) -> str:
        """Assert that a machine gets an answer, and that the analysis says so.

        Returns:
            The address that the server saw.
        """
        analysis = self.analyze(source, address, protocol, port)
        tried = f"{protocol}/{port} of {address} from {self.name(source)}"
        assert analysis.reachable, f"`local reach` denies {tried}: {analysis.reason}; {'; '.join(analysis.path)}"
        answer = wait_until(
            lambda: ask(source, address, protocol, port, ATTEMPT),
            what=f"an answer by {tried}",
            deadline=Deadline.after(PATIENCE),
            last_seen=lambda: f"no answer, although `local reach` says {analysis.reason}; {'; '.join(analysis.path)}",
        )
        return answer.partition(SAW)[2]

    def assert_blocked(self, source: EC2Instance | None, address: str, protocol: str = "tcp", port: int = PORT) -> str:
        """Assert that a machine gets no answer of a server, and that the analysis says so.

        What is not in the VPC may lead to this computer's network, where something else may answer.

        Returns:
            The id of what decides, according to the analysis.
        """
        analysis = self.analyze(source, address, protocol, port)
        tried = f"{protocol}/{port} of {address} from {self.name(source)}"
        answer = ask(source, address, protocol, port, SILENCE)
        assert SAW not in answer, f"{tried} is answered by {answer!r}; `local reach` says {analysis.reason}"
        assert not analysis.reachable, f"{tried} is not answered, but `local reach` says {analysis.reason}"
        return analysis.component


def ask(source: EC2Instance | None, address: str, protocol: str, port: int, seconds: float) -> str:
    """Return a server's answer to a line from a machine, or from the host; "" without one."""
    if source is None:
        return _ask_from_host(address, port, seconds)
    script = f"exec 3<>/dev/{protocol}/{address}/{port} && echo hello >&3 && head -n 1 <&3"
    return source.execute(["timeout", str(seconds), "bash", "-c", script]).stdout.strip()


def _ask_from_host(address: str, port: int, seconds: float) -> str:
    with suppress(OSError), socket.create_connection((address, port), seconds) as connection:
        connection.settimeout(seconds)
        connection.sendall(b"hello\n")
        return connection.recv(1000).decode().strip()
    return ""


class HeldConnection:
    """A TCP connection from a machine to a server, which stays open."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def say(self) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"hello\n")

    def hears(self, seconds: float = PATIENCE) -> bool:
        """Return whether the server sends a line."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return False
        return SAW in self._process.stdout.readline().decode()


@contextmanager
def held_connection(source: EC2Instance, address: str, port: int = PORT) -> Iterator[HeldConnection]:
    """Connect from a machine to a server, by the machine's sshd."""
    program, *words = ssh_words(source)
    command = [program, "-W", f"{address}:{port}", *words]
    with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield HeldConnection(process)
        finally:
            process.kill()
            forget_host(source.id)


@contextmanager
def namespaces_cloud(directory: Path) -> Iterator[tuple[LocalEC2, EC2]]:
    """Start a local EC2 with the namespaces network; skip the test where there can be none."""
    require_namespaces()
    with LocalEC2(network="namespaces") as local:
        path = directory / "pycloudlib.toml"
        path.touch(mode=0o600)
        path.write_text(local.info.settings_toml(public_key_path=KeyPair.generate(directory).public_key_path))
        with EC2("vpc", config_file=path) as ec2:
            yield local, ec2


@contextmanager
def vpc_site(directory: Path) -> Iterator[Site]:
    """Start the machines of a site."""
    with namespaces_cloud(directory) as (local, ec2):
        image_id = ec2.daily_image(RELEASE)
        vpc = ec2.get_or_create_vpc(f"{ec2.tag}-one", CIDR, zones={ZONE: SUBNET})
        peer_vpc = ec2.get_or_create_vpc(f"{ec2.tag}-two", PEER_CIDR, zones=[OTHER_ZONE])
        one, neighbor, stranger = (
            ec2.launch(image_id, user_data=SERVER, vpc=its, wait=False) for its in (vpc, vpc, peer_vpc)
        )
        for machine in (one, neighbor, stranger):
            machine.wait()
        other_subnet_id = add_subnet(ec2, vpc)
        far_address = plug_interface(ec2, neighbor, other_subnet_id)
        wait_for_addresses(neighbor, [far_address])
        yield Site(local, ec2, vpc, other_subnet_id, peer_vpc, one, neighbor, far_address, stranger)


def add_subnet(ec2: EC2, vpc: VPC) -> str:
    """Create the second subnet, with the route table of the first one."""
    of_first: Any = [{"Name": "association.subnet-id", "Values": vpc.subnet_ids}]
    (table,) = ec2.client.describe_route_tables(Filters=of_first)["RouteTables"]
    subnet = ec2.client.create_subnet(VpcId=vpc.id, AvailabilityZone=ZONE, CidrBlock=OTHER_SUBNET)["Subnet"]
    subnet_id: str = subnet["SubnetId"]
    ec2.client.associate_route_table(SubnetId=subnet_id, RouteTableId=table["RouteTableId"])
    return subnet_id


def wait_for_addresses(machine: EC2Instance, addresses: Sequence[str]) -> None:
    """Wait until a guest has configured addresses: cloud-init takes its time to start for a plugged interface."""

    def has_them() -> bool:
        return set(addresses) <= set(machine.execute("hostname --all-ip-addresses").stdout.split())

    wait_until(has_them, what=f"{machine.id} to configure its addresses", deadline=Deadline.after(6 * PATIENCE))


def plug_interface(ec2: EC2, machine: EC2Instance, subnet_id: str) -> str:
    """Attach an interface in another subnet of the machine's zone; it is deleted with the machine.

    Returns:
        Its private address.
    """
    client = ec2.client
    group_ids = list(machine.network_interfaces()[0].security_group_ids)
    interface = client.create_network_interface(SubnetId=subnet_id, Groups=group_ids)["NetworkInterface"]
    interface_id = interface["NetworkInterfaceId"]
    attached = client.attach_network_interface(NetworkInterfaceId=interface_id, InstanceId=machine.id, DeviceIndex=1)
    change: Any = {"AttachmentId": attached["AttachmentId"], "DeleteOnTermination": True}
    client.modify_network_interface_attribute(NetworkInterfaceId=interface_id, Attachment=change)
    address: str = interface["PrivateIpAddress"]
    return address
