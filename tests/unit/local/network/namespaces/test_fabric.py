from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.topology import Topology, Vpc
from support.guest_network import PATIENCE, SILENCE
from support.processes import is_alive
from support.topologies import ACCEPT_ALL, accept_all, make_interface, make_topology, make_vpc

from .conftest import Connect

A = make_interface(1, "10.0.1.5")
B = make_interface(2, "10.0.1.6")
OTHER_SUBNET = make_interface(3, "10.0.2.5", "10.0.2.0/24")


def test_guests_of_one_subnet_reach_each_other(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    a, b = connect(fabric, A), connect(fabric, B)
    b.call("serve", port=80)
    assert a.peer_seen_at("10.0.1.6", 80) == "10.0.1.5"
    assert a.call("ping", address="10.0.1.6", seconds=PATIENCE)


def test_guests_of_two_subnets_reach_each_other(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, OTHER_SUBNET)))
    a, c = connect(fabric, A), connect(fabric, OTHER_SUBNET)
    c.call("serve", port=53, kind="udp")
    assert a.call("exchange", address="10.0.2.5", port=53, seconds=PATIENCE) == "10.0.1.5"


def test_jumbo_frames_pass_unfragmented(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, OTHER_SUBNET)))
    a, _ = connect(fabric, A), connect(fabric, OTHER_SUBNET)
    assert a.call("ping", address="10.0.2.5", seconds=PATIENCE, size=9001 - 28)


def test_vpcs_with_one_cidr_are_apart(fabric: Fabric, connect: Connect) -> None:
    twin, stranger = make_interface(4, "10.0.1.6"), make_interface(5, "10.0.1.7")
    fabric.apply(make_topology(make_vpc("vpc-1", A, B), make_vpc("vpc-2", twin, stranger)))
    a, b = connect(fabric, A), connect(fabric, B)
    connect(fabric, twin)
    other = connect(fabric, stranger)
    for guest in (b, other):
        guest.call("serve", port=80)
    assert a.reaches("10.0.1.6", 80)
    assert a.is_cut_off_from("10.0.1.7", 80)


def test_ipv6_passes_between_subnets(fabric: Fabric, connect: Connect) -> None:
    one = make_interface(1, "10.0.1.5", ipv6_addresses=["2600:1f13:0:1::5"], ipv6_subnet="2600:1f13:0:1::/64")
    near = make_interface(2, "10.0.1.6", ipv6_addresses=["2600:1f13:0:1::6"], ipv6_subnet="2600:1f13:0:1::/64")
    far = make_interface(
        3, "10.0.2.5", "10.0.2.0/24", ipv6_addresses=["2600:1f13:0:2::5"], ipv6_subnet="2600:1f13:0:2::/64"
    )
    fabric.apply(make_topology(make_vpc("vpc-1", one, near, far)))
    a, b, c = connect(fabric, one), connect(fabric, near), connect(fabric, far)
    for guest in (b, c):
        guest.call("serve", port=80, ipv6=True)
    assert a.peer_seen_at("2600:1f13:0:1::6", 80) == "2600:1f13:0:1::5"
    assert a.peer_seen_at("2600:1f13:0:2::5", 80) == "2600:1f13:0:1::5"


def test_packets_to_an_unassigned_address_vanish(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    a = connect(fabric, A)
    assert not a.call("ping", address="10.0.7.7", seconds=SILENCE)


def test_an_address_added_while_running_is_reachable(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    a = connect(fabric, A)
    b = connect(fabric, make_interface(2, ["10.0.1.6", "10.0.1.60"]))
    assert not a.call("ping", address="10.0.1.60", seconds=SILENCE)
    fabric.apply(make_topology(make_vpc("vpc-1", A, make_interface(2, ["10.0.1.6", "10.0.1.60"]))))
    b.call("serve", port=80)
    assert a.reaches("10.0.1.60", 80)


def test_an_address_taken_away_while_running_is_cut_off(fabric: Fabric, connect: Connect) -> None:
    both, one = make_interface(2, ["10.0.1.6", "10.0.1.60"]), make_interface(2, ["10.0.1.6"])
    fabric.apply(make_topology(make_vpc("vpc-1", A, both)))
    a = connect(fabric, A)
    connect(fabric, both).call("serve", port=80)
    assert a.reaches("10.0.1.60", 80)
    fabric.apply(make_topology(make_vpc("vpc-1", A, one)))
    assert a.is_cut_off_from("10.0.1.60", 80)
    assert a.reaches("10.0.1.6", 80)


def test_an_address_moves_between_running_guests(fabric: Fabric, connect: Connect) -> None:
    extra = "10.0.1.60"
    a = make_interface(1, "10.0.1.5")
    b, b_extra = make_interface(2, "10.0.1.6"), make_interface(2, ["10.0.1.6", extra])
    c, c_extra = make_interface(3, "10.0.1.7"), make_interface(3, ["10.0.1.7", extra])
    fabric.apply(make_topology(make_vpc("vpc-1", a, b_extra, c)))
    client, guests = connect(fabric, a), [connect(fabric, b_extra), connect(fabric, c_extra)]
    guests[0].call("serve", port=80)
    assert client.reaches(extra, 80)
    fabric.apply(make_topology(make_vpc("vpc-1", a, b, c_extra)))
    guests[1].call("serve", port=81)
    assert client.reaches(extra, 81)


def test_a_removed_interface_is_cut_off(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    a, b = connect(fabric, A), connect(fabric, B)
    b.call("serve", port=80)
    assert a.reaches("10.0.1.6", 80)
    fabric.remove_interface("eni-2")
    assert a.is_cut_off_from("10.0.1.6", 80)
    assert fabric.device("eni-2") is None


def test_an_interface_can_be_added_again(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    a = connect(fabric, A)
    connect(fabric, B).close()
    again = connect(fabric, B)
    again.call("serve", port=80)
    assert a.reaches("10.0.1.6", 80)


def test_an_interface_gone_from_the_topology_is_cut_off(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    connect(fabric, A)
    fabric.apply(make_topology(make_vpc("vpc-1", B)))
    assert fabric.device("eni-1") is None


def test_a_vpc_gone_from_the_topology_is_closed(tmp_path: Path, namespaces_work: None) -> None:
    events: list[str] = []
    fabric = Fabric(
        tmp_path,
        accept_all,
        on_open=lambda vpc_id: events.append(f"open {vpc_id}"),
        on_close=lambda vpc_id: events.append(f"close {vpc_id}"),
    )
    with contextlib.closing(fabric):
        fabric.apply(make_topology(make_vpc("vpc-1", A)))
        os.close(fabric.add_interface("eni-1"))
        fabric.apply(make_topology())
        assert events == ["open vpc-1", "close vpc-1"]
        with pytest.raises(LocalEC2Error, match="unknown network interface 'eni-1'"):
            fabric.add_interface("eni-1")


def test_the_metadata_address_is_listened_on(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    a = connect(fabric, A)
    with fabric.listen("vpc-1", "169.254.169.254", 80) as listener:
        listener.settimeout(PATIENCE)
        answered = threading.Thread(target=_answer_one, args=(listener,))
        answered.start()
        assert a.peer_seen_at("169.254.169.254", 80) == "10.0.1.5"
        answered.join()


def test_the_metadata_address_is_listened_on_over_ipv6(fabric: Fabric, connect: Connect) -> None:
    one = make_interface(1, "10.0.1.5", ipv6_addresses=["2600:1f13:0:1::5"], ipv6_subnet="2600:1f13:0:1::/64")
    fabric.apply(make_topology(make_vpc("vpc-1", one)))
    a = connect(fabric, one)
    with fabric.listen("vpc-1", "fd00:ec2::254", 80) as listener:
        listener.settimeout(PATIENCE)
        answered = threading.Thread(target=_answer_one, args=(listener,))
        answered.start()
        assert a.peer_seen_at("fd00:ec2::254", 80) == "2600:1f13:0:1::5"
        answered.join()


def test_the_host_connects_from_its_own_address(fabric: Fabric, connect: Connect) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    connect(fabric, A).call("serve", port=8080)
    with fabric.client_socket("vpc-1") as client:
        client.settimeout(PATIENCE)
        client.connect(("10.0.1.5", 8080))
        assert client.recv(100) == b"198.51.100.1"


def test_a_refused_ruleset_is_an_error_that_changes_nothing(tmp_path: Path, namespaces_work: None) -> None:
    def ruleset(vpc: Vpc, _topology: Topology, _devices: object) -> str:
        return "nonsense" if vpc.vpc_id == "vpc-2" else ACCEPT_ALL

    with contextlib.closing(Fabric(tmp_path, ruleset)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", A), make_vpc("vpc-2", B)))
        with pytest.raises(LocalEC2Error, match=r"nftables refused a ruleset: .*nonsense"):
            fabric.add_interface("eni-2")
        os.close(fabric.add_interface("eni-1"))


def test_ruleset_is_applied_whole_where_its_changes_are_refused(
    tmp_path: Path, namespaces_work: None, connect: Connect
) -> None:
    """As after a large ruleset, which is in a table of another name."""
    before = """table inet ec2 { }
delete table inet ec2
table inet ec2 {
chain ports {
tcp dport 80 drop
}
chain ingress {
type filter hook postrouting priority filter;
jump ports
}
}
"""
    texts = [before]
    with contextlib.closing(Fabric(tmp_path, lambda *_: texts[-1])) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
        a, b = connect(fabric, A), connect(fabric, B)
        b.call("serve", port=80)
        fabric._call("apply_ruleset", "vpc-1", ruleset="delete table inet ec2\n")
        assert a.reaches("10.0.1.6", 80)
        texts.append(before.replace("tcp dport 80 drop", "tcp dport 80 drop\ntcp dport 81 drop"))
        fabric.reapply()
        assert a.is_cut_off_from("10.0.1.6", 80)


def test_an_interface_that_fails_leaves_no_descriptor(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", make_interface(1, "10.0.1.300"))))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(LocalEC2Error, match=r"10\.0\.1\.300"):
        fabric.add_interface("eni-1")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2  # the helper's connection and process


def test_sockets_of_an_unknown_vpc_are_refused(fabric: Fabric) -> None:
    with pytest.raises(LocalEC2Error, match="unknown VPC 'vpc-9'"):
        fabric.client_socket("vpc-9")


def test_the_helper_ends_with_the_fabric(tmp_path: Path, namespaces_work: None) -> None:
    fabric = Fabric(tmp_path, accept_all)
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    os.close(fabric.add_interface("eni-1"))
    pid = fabric.helper_pid
    assert pid is not None
    fabric.close()
    assert not is_alive(pid)
    with pytest.raises(LocalEC2Error, match="the network is closed"):
        fabric.add_interface("eni-1")


def test_a_killed_helper_is_reported_and_replaced(tmp_path: Path, namespaces_work: None, connect: Connect) -> None:
    reasons: list[str] = []
    lost = threading.Event()

    def on_lost(reason: str) -> None:
        reasons.append(reason)
        lost.set()

    with contextlib.closing(Fabric(tmp_path, accept_all, on_lost=on_lost)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
        os.close(fabric.add_interface("eni-1"))
        first = fabric.helper_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert lost.wait(PATIENCE)
        assert reasons == ["the network helper ended with status -9"]
        assert fabric.device("eni-1") is None
        a, b = connect(fabric, A), connect(fabric, B)
        b.call("serve", port=80)
        assert a.reaches("10.0.1.6", 80)
        assert fabric.helper_pid != first


def _answer_one(listener: socket.socket) -> None:
    connection, peer = listener.accept()
    with connection:
        connection.sendall(peer[0].encode())
