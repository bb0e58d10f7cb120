"""Commands inside a VPC, which reach guests as the host."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.namespaces.fabric import Fabric
from support.guest_network import PATIENCE, SILENCE
from support.inside import ENTER, ask, run_inside
from support.ordinary_user import AS_NOBODY, NOBODY, ordinary_home
from support.sample_topologies import group, interface, lab, rule
from support.topologies import make_interface, make_topology, make_vpc

from .conftest import Connect

HOST = "198.51.100.1"
A = make_interface(1, "10.0.1.5")

HOLDER = """
import json, sys
from pathlib import Path
from pycloudlib.local.network.namespaces.helper_client import HelperClient
client = HelperClient(Path(sys.argv[1]), lambda *_: None)
made, _ = client.call("configure_vpc", "vpc-1", cidrs=["10.0.0.0/16"], service_addresses=["198.51.100.1"])
resolv_conf = Path(sys.argv[1], "resolv.conf")
resolv_conf.write_text("nameserver 10.0.0.2")
entrance = {"vpc_id": "vpc-1", "helper_pid": client.pid, "resolv_conf": str(resolv_conf), **made}
print(json.dumps(entrance), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def entrance(fabric: Fabric) -> Entrance:
    """The entrance of a VPC with interface A."""
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    return fabric.entrance("vpc-1")


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_guest_is_reached_at_its_private_address(
    fabric: Fabric, entrance: Entrance, connect: Connect, kind: str
) -> None:
    connect(fabric, A).call("serve", port=7007, kind=kind)
    assert ask(entrance, kind, "10.0.1.5", 7007, seconds=PATIENCE) == HOST


def test_guest_is_reached_by_its_private_name(fabric: Fabric, entrance: Entrance, connect: Connect) -> None:
    connect(fabric, A).call("serve", port=80)
    assert ask(entrance, "tcp", "ip-10-0-1-5.ec2.internal", 80, seconds=PATIENCE) == HOST
    assert ask(entrance, "tcp", "ip-10-0-1-5", 80, seconds=PATIENCE) == HOST


def test_guest_is_reached_over_ipv6(fabric: Fabric, connect: Connect) -> None:
    one = make_interface(1, "10.0.1.5", ipv6_addresses=["2600:1f13:0:1::5"], ipv6_subnet="2600:1f13:0:1::/64")
    fabric.apply(make_topology(make_vpc("vpc-1", one)))
    connect(fabric, one).call("serve", port=80, ipv6=True)
    assert ask(fabric.entrance("vpc-1"), "tcp", "2600:1f13:0:1::5", 80, seconds=PATIENCE) == "2600:1f13:0:1::1"


def test_guest_answers_an_echo_request_of_an_unprivileged_socket(
    fabric: Fabric, entrance: Entrance, connect: Connect
) -> None:
    connect(fabric, A)
    ping = (
        "import socket\n"
        "ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)\n"
        f"ping.settimeout({PATIENCE})\n"
        "ping.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]), ('10.0.1.5', 0))\n"
        "print(ping.recvfrom(100)[1][0])\n"
    )
    assert run_inside(entrance, sys.executable, "-c", ping).stdout == "10.0.1.5\n"


def test_security_groups_decide_about_the_host(tmp_path: Path, namespaces_work: None, connect: Connect) -> None:
    web = interface("a", "10.0.1.5", "sg-web", ipv6=False)
    open_to_host = group("sg-web", rule(1, "udp", 53, cidrs=[f"{HOST}/32"]), rule(2, "tcp", 80, cidrs=["10.0.0.0/8"]))
    topology = lab(web, groups={"sg-web": open_to_host})
    with contextlib.closing(Fabric(tmp_path)) as fabric:
        fabric.apply(topology)
        guest = connect(fabric, web)
        for port, kind in ((53, "udp"), (54, "udp"), (80, "tcp")):
            guest.call("serve", port=port, kind=kind)
        entrance = fabric.entrance("vpc-1")
        assert ask(entrance, "udp", "10.0.1.5", 53, seconds=PATIENCE) == HOST
        assert ask(entrance, "udp", "10.0.1.5", 54, seconds=SILENCE) == ""
        assert ask(entrance, "tcp", "10.0.1.5", 80, seconds=SILENCE) == ""


def test_address_that_was_taken_away_is_not_reached(fabric: Fabric, connect: Connect) -> None:
    both, one = make_interface(1, ["10.0.1.5", "10.0.1.60"]), make_interface(1, ["10.0.1.5"])
    fabric.apply(make_topology(make_vpc("vpc-1", both)))
    connect(fabric, both).call("serve", port=80)
    entrance = fabric.entrance("vpc-1")
    assert ask(entrance, "tcp", "10.0.1.60", 80, seconds=PATIENCE) == HOST
    fabric.apply(make_topology(make_vpc("vpc-1", one)))
    assert ask(entrance, "tcp", "10.0.1.60", 80, seconds=SILENCE) == ""
    assert ask(entrance, "tcp", "10.0.1.5", 80, seconds=PATIENCE) == HOST


def test_command_keeps_user_directory_environment_and_input(entrance: Entrance, tmp_path: Path) -> None:
    done = run_inside(
        entrance,
        "sh",
        "-c",
        'id -u; id -g; pwd; echo "$COLOR"; cat; exit 7',
        cwd=tmp_path,
        env={**os.environ, "COLOR": "blue"},
        input="typed\n",
    )
    assert done.stdout.splitlines() == [str(os.getuid()), str(os.getgid()), str(tmp_path), "blue", "typed"]
    assert done.returncode == 7


def test_names_outside_resolve_as_before(entrance: Entrance) -> None:
    before = Path("/etc/resolv.conf").read_bytes()
    assert run_inside(entrance, "cat", "/etc/resolv.conf").stdout == "nameserver 10.0.0.2\nsearch ec2.internal\n"
    assert Path("/etc/resolv.conf").read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user cannot leave a VPC")
def test_vpc_is_entered_from_inside_another_one(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A), make_vpc("vpc-2", cidrs=["10.7.0.0/16"])))
    inner = json.dumps(asdict(fabric.entrance("vpc-2")))
    done = run_inside(fabric.entrance("vpc-1"), sys.executable, "-c", ENTER, inner, "cat", "/etc/resolv.conf")
    assert (done.stdout, done.stderr) == ("nameserver 10.7.0.2\nsearch ec2.internal\n", "")


def test_vpc_that_has_ended_is_an_error(fabric: Fabric, entrance: Entrance) -> None:
    fabric.apply(make_topology())
    with pytest.raises(LocalEC2Error, match="cannot enter vpc-1: the local EC2 has ended"):
        replace(entrance, helper_pid=2**22).enter()
    with pytest.raises(LocalEC2Error, match="unknown VPC 'vpc-1'"):
        fabric.entrance("vpc-1")


def test_command_goes_on_when_the_network_ends(tmp_path: Path, namespaces_work: None) -> None:
    with contextlib.closing(Fabric(tmp_path)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", A)))
        entrance = json.dumps(asdict(fabric.entrance("vpc-1")))
        command = subprocess.Popen(
            [sys.executable, "-c", ENTER, entrance, "sh", "-c", "echo in; read -r line; echo still $line"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert command.stdout is not None
        assert command.stdout.readline() == "in\n"
    assert command.communicate("here\n")[0] == "still here\n"


def test_ordinary_user_stays_so_inside(namespaces_work: None) -> None:
    """Without a tap, which needs a /dev/net/tun for everybody."""
    with (
        ordinary_home() as home,
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **AS_NOBODY,
        ) as holder,
    ):
        entrance = Entrance(**json.loads(holder.stdout.readline()))
        namespace = Path(f"/proc/{entrance.helper_pid}/fd/{entrance.namespace_fd}").readlink()
        script = "id -u; id -g; readlink /proc/self/ns/net; cat /etc/resolv.conf"
        done = run_inside(entrance, "sh", "-c", script, **AS_NOBODY)
        nested = run_inside(entrance, sys.executable, "-c", ENTER, json.dumps(asdict(entrance)), "true", **AS_NOBODY)
        holder.communicate()
    lines = [str(NOBODY), str(NOBODY), str(namespace), "nameserver 10.0.0.2"]
    assert (done.stderr, done.stdout.splitlines()) == ("", lines)
    assert "not from inside a VPC" in nested.stderr
