"""The network of machines on VPCs, with a guest that is a namespace instead of a machine."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import MachineError
from pycloudlib.local.machines.namespace_network import NamespaceNetwork
from pycloudlib.local.machines.qemu_interfaces import TapInterface
from pycloudlib.local.network.faults import Fault
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.public_addresses import PublicAddresses
from pycloudlib.local.network.topology import Interface, Topology
from pycloudlib.local.network.user_mode import choose_ssh_port
from pycloudlib.waiting import wait_until
from support.guest_network import PATIENCE, Guest
from support.inside import ask
from support.namespaces import require_namespaces
from support.sample_metadata import INSTANCE
from support.sample_topologies import group, interface, lab, rule

PORT = 8080
SECONDS_FROM_1900_TO_1970 = 2_208_988_800


@pytest.fixture
def namespaces() -> None:
    require_namespaces()


@pytest.fixture
def network(namespaces: None, tmp_path: Path) -> Iterator[NamespaceNetwork]:
    with contextlib.closing(NamespaceNetwork(tmp_path, choose_ssh_port())) as network:
        yield network


@pytest.fixture
def site(network: NamespaceNetwork) -> Topology:
    """One interface with a public address, which its group opens to the host on one port."""
    public_ip = PublicAddresses(None).allocate()
    topology = lab(_with_public(interface("a", "10.0.1.5", "sg-web"), public_ip))
    assert network.topology_listener is not None
    network.topology_listener(topology)
    return topology


def _with_public(one: Interface, public_ip: str) -> Interface:
    (address,) = one.attachment.addresses
    attachment = dataclasses.replace(one.attachment, addresses=(dataclasses.replace(address, public_ip=public_ip),))
    return dataclasses.replace(one, attachment=attachment)


@contextlib.contextmanager
def guest_of(network: NamespaceNetwork, topology: Topology, interface_id: str = "eni-a") -> Iterator[tuple[Guest, str]]:
    """Yield a guest behind the interface, as QEMU would be connected, and its public address."""
    found: Interface = topology.vpcs["vpc-1"].interfaces[interface_id]
    tap = network.interface(found.attachment)
    assert isinstance(tap, TapInterface)
    tap.arguments(3)
    (fd,) = tap.take_fds()
    public_ip = found.attachment.addresses[0].public_ip
    assert public_ip is not None
    with Guest(fd, found.attachment.mac, [f"{found.attachment.private_ip}/24"], ["10.0.1.1"]) as guest:
        yield guest, public_ip


def test_guest_reads_the_metadata_of_its_own_instance(
    network: NamespaceNetwork, site: Topology, tmp_path: Path
) -> None:
    url = "http://169.254.169.254/latest/meta-data/instance-id"
    with guest_of(network, site) as (guest, _), network.serve_metadata("i-a", tmp_path, lambda: INSTANCE):
        assert guest.call("get", url=url, seconds=PATIENCE) == INSTANCE.instance_id


@pytest.mark.parametrize("address", ["169.254.169.123", "fd00:ec2::123"])
def test_guest_asks_for_the_time(network: NamespaceNetwork, site: Topology, address: str) -> None:
    found = site.vpcs["vpc-1"].interfaces["eni-a"].attachment
    tap = network.interface(found)
    assert isinstance(tap, TapInterface)
    tap.arguments(3)
    (fd,) = tap.take_fds()
    own = [f"{found.private_ip}/24", *(f"{one}/128" for one in found.ipv6_addresses)]
    began = int(time.time())
    with Guest(fd, found.mac, own, ["10.0.1.1", "fe80::800:ff:fe00:1"]) as guest:
        answer = bytes.fromhex(guest.call("ask_time", address=address, seconds=PATIENCE))
    assert began <= int.from_bytes(answer[40:44], "big") - SECONDS_FROM_1900_TO_1970 <= time.time()


def test_host_reaches_the_opened_port_at_the_public_address(network: NamespaceNetwork, site: Topology) -> None:
    with guest_of(network, site) as (guest, public_ip):
        guest.call("serve", port=PORT)
        with socket.create_connection((public_ip, PORT), PATIENCE) as connection:
            assert connection.recv(100) == b"198.51.100.1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((public_ip, PORT + 1), PATIENCE)


def test_host_exchanges_datagrams_at_the_public_address(network: NamespaceNetwork, site: Topology) -> None:
    vpc = site.vpcs["vpc-1"]
    opened = {**vpc.groups, "sg-web": group("sg-web", rule(1, "udp", PORT, cidrs=["127.0.0.1/32"]))}
    topology = dataclasses.replace(site, vpcs={**site.vpcs, "vpc-1": dataclasses.replace(vpc, groups=opened)})
    assert network.topology_listener is not None
    network.topology_listener(topology)
    with guest_of(network, topology) as (guest, public_ip):
        guest.call("serve", port=PORT, kind="udp")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect((public_ip, PORT))
            client.send(b"hello")
            assert client.recv(100) == b"198.51.100.1"


def test_public_address_is_closed_once_the_interface_is_gone(network: NamespaceNetwork, site: Topology) -> None:
    with guest_of(network, site) as (guest, public_ip):
        guest.call("serve", port=PORT)
        assert network.topology_listener is not None
        network.topology_listener(lab())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((public_ip, PORT), PATIENCE)


def test_public_addresses_and_the_api_are_reached_inside(network: NamespaceNetwork, site: Topology) -> None:
    assert network.open_vpc is not None
    with guest_of(network, site) as (guest, public_ip), socket.create_server(("127.0.0.1", 0)) as api:
        guest.call("serve", port=PORT)
        api_port = api.getsockname()[1]
        served = threading.Thread(target=lambda: _say(api, b"the API"))
        served.start()
        inside = network.open_vpc("vpc-1", api_port)
        assert ask(inside, "tcp", "127.0.0.1", api_port, seconds=PATIENCE) == "the API"
        served.join()
        assert ask(inside, "tcp", public_ip, PORT, seconds=PATIENCE) == "198.51.100.1"


def test_public_address_of_a_later_interface_is_reached_inside(network: NamespaceNetwork, site: Topology) -> None:
    assert network.open_vpc is not None
    assert network.topology_listener is not None
    network.topology_listener(lab())
    inside = network.open_vpc("vpc-1", PORT)
    network.topology_listener(site)
    with guest_of(network, site) as (guest, public_ip):
        guest.call("serve", port=PORT)
        assert ask(inside, "tcp", public_ip, PORT, seconds=PATIENCE) == "198.51.100.1"
    assert network.open_vpc("vpc-1", PORT) == inside


def test_entrance_ends_with_a_vpc_that_is_deleted_while_it_is_created(
    network: NamespaceNetwork, site: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert network.open_vpc is not None
    assert network.topology_listener is not None
    before = set(threading.enumerate())
    entrance = Fabric.entrance
    deletions: list[threading.Thread] = []

    def delete_meanwhile(fabric: Fabric, vpc_id: str) -> Entrance:
        created = entrance(fabric, vpc_id)
        deletions.append(threading.Thread(target=network.topology_listener, args=(Topology(),)))
        deletions[0].start()
        wait_until(
            lambda: fabric.program_pids(vpc_id) == {}, what="the VPC to be deleted", deadline=Deadline.after(PATIENCE)
        )
        return created

    monkeypatch.setattr(Fabric, "entrance", delete_meanwhile)
    network.open_vpc("vpc-1", PORT)
    deletions[0].join(PATIENCE)
    assert "forwarder" not in [thread.name for thread in threading.enumerate() if thread not in before]


@pytest.mark.usefixtures("namespaces")
def test_machines_reach_each_other_at_public_addresses_of_a_range(tmp_path: Path) -> None:
    pair = [interface("a", "10.0.1.5", "sg-web"), interface("d", "10.0.1.6", "sg-web")]
    topology = lab(*(_with_public(one, f"203.0.113.{number}") for number, one in enumerate(pair, 1)))
    with contextlib.closing(NamespaceNetwork(tmp_path, 0, public_cidr="203.0.113.0/24")) as network:
        assert network.topology_listener is not None
        network.topology_listener(topology)
        with guest_of(network, topology) as (guest, _), guest_of(network, topology, "eni-d") as (other, address):
            other.call("serve", port=PORT)
            assert guest.peer_seen_at(address, PORT) == "203.0.113.1"
            assert network.open_vpc is not None
            assert ask(network.open_vpc("vpc-1", PORT), "tcp", address, PORT, seconds=PATIENCE) == "198.51.100.1"


@pytest.mark.usefixtures("namespaces")
def test_machines_reach_opened_ports_of_the_hosts_loopback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, socket.create_server(("127.0.0.1", 0)) as private:
        port = proxy.getsockname()[1]
        topology = lab(interface("a", "10.0.1.5", public=True))
        with contextlib.closing(NamespaceNetwork(tmp_path, choose_ssh_port(), host_ports=[port])) as network:
            assert network.topology_listener is not None
            network.topology_listener(topology)
            with guest_of(network, topology) as (guest, _):
                served = threading.Thread(target=lambda: _say(proxy, b"the proxy"))
                served.start()
                assert guest.peer_seen_at("198.51.100.1", port) == "the proxy"
                served.join()
                assert guest.is_cut_off_from("198.51.100.1", private.getsockname()[1])


def _say(server: socket.socket, words: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(words)


def test_interface_is_connected_once_the_records_are_reported(network: NamespaceNetwork, site: Topology) -> None:
    later = lab(*site.vpcs["vpc-1"].interfaces.values(), interface("b", "10.0.1.6"))
    tap = network.interface(later.vpcs["vpc-1"].interfaces["eni-b"].attachment)
    connected: list[list[str]] = []
    machine = threading.Thread(target=lambda: connected.append(tap.arguments(3)))
    machine.start()
    assert network.topology_listener is not None
    network.topology_listener(later)
    machine.join(PATIENCE)
    (fd,) = tap.take_fds()
    os.close(fd)
    assert connected[0][1] == f"tap,id=net-eni-b,fd={fd}"


def test_interface_that_the_records_never_report_is_an_error(tmp_path: Path) -> None:
    with contextlib.closing(NamespaceNetwork(tmp_path, choose_ssh_port(), report_seconds=0.01)) as network:
        tap = network.interface(interface("b", "10.0.1.6").attachment)
        with pytest.raises(MachineError, match=r"^eni-b is not connected: the records have not reported it .* 0\.01 s"):
            tap.arguments(3)


def test_machines_are_notified_when_the_helper_was_killed(network: NamespaceNetwork, site: Topology) -> None:
    reasons: list[str] = []
    network.on_lost = reasons.append
    with guest_of(network, site):
        assert network.helper_pid is not None
        os.kill(network.helper_pid, signal.SIGKILL)
        wait_until(lambda: reasons, what="the loss to be reported", deadline=Deadline.after(PATIENCE))
    assert "helper" in reasons[0]


def test_fault_lasts_until_its_instance_is_gone(network: NamespaceNetwork, site: Topology) -> None:
    assert network.topology_listener is not None
    assert network.faults is not None
    with guest_of(network, site) as (guest, public_ip):
        guest.call("serve", port=PORT)
        other = interface("b", "10.0.1.6")
        both = lab(*site.vpcs["vpc-1"].interfaces.values(), other)
        network.topology_listener(both)
        tap = network.interface(other.attachment)
        assert isinstance(tap, TapInterface)
        tap.arguments(3)
        (fd,) = tap.take_fds()
        with Guest(fd, other.attachment.mac, ["10.0.1.6/24"], ["10.0.1.1"]) as peer:
            assert peer.peer_seen_at("10.0.1.5", PORT) == "10.0.1.6"
            network.faults.put(Fault("fault-1", "partition", ("i-a", "i-b")), both)
            assert peer.is_cut_off_from("10.0.1.5", PORT)
            with socket.create_connection((public_ip, PORT), PATIENCE) as connection:
                assert connection.recv(100) == b"198.51.100.1"
            network.topology_listener(site)
            assert network.faults.current() == []
