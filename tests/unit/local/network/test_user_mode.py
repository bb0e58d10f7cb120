"""The addresses of machines, and how QEMU is told of them."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network import user_mode
from pycloudlib.local.network.attachment import Address, NetworkAttachment
from pycloudlib.local.network.public_addresses import PublicAddresses


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("172.31.0.4", "168.0.0.0/5"),
        ("192.168.5.6", "128.0.0.0/128.0.0.0"),
        ("169.254.1.1", "169.254.0.0/16"),
    ],
)
def test_the_network_holds_the_guest_and_the_metadata_service(address: str, expected: str) -> None:
    found = user_mode.enclosing_network(address)
    assert found == expected
    holds = ipaddress.IPv4Network(found)
    assert ipaddress.IPv4Address(address) in holds
    assert ipaddress.IPv4Address(user_mode.METADATA_ADDRESS) in holds


def test_an_address_that_shares_no_network_with_the_metadata_service_is_refused() -> None:
    with pytest.raises(LocalEC2Error, match=r"such as 10\.0\.0\.5: use another CIDR block"):
        user_mode.enclosing_network("10.0.0.5")


def interface(*addresses: Address) -> NetworkAttachment:
    return NetworkAttachment("eni-1", "02:00:00:00:00:01", addresses, "172.31.0.0/20")


def netdev(attachment: NetworkAttachment, *, ssh_port: int = 22) -> dict[str, Any]:
    return user_mode.user_netdev(attachment, ssh_port=ssh_port, metadata_socket="metadata.sock")


def test_the_netdev_gives_the_guest_its_address_and_leads_to_its_sshd() -> None:
    found = netdev(interface(Address("172.31.0.4", "127.1.2.3")), ssh_port=2222)
    assert found["dhcpstart"] == "172.31.0.4"
    assert (found["host"], found["dns"]) == ("172.31.0.1", "172.31.0.2")
    assert found["hostfwd"] == [{"str": "tcp:127.1.2.3:2222-172.31.0.4:22"}]


def test_without_a_public_address_nothing_leads_to_the_guest() -> None:
    assert netdev(interface(Address("172.31.0.4")))["hostfwd"] == []


def test_every_private_address_can_have_a_public_one() -> None:
    addresses = (Address("172.31.0.4", "127.1.2.3"), Address("172.31.0.5"), Address("172.31.0.6", "127.1.2.4"))
    assert netdev(interface(*addresses))["hostfwd"] == [
        {"str": "tcp:127.1.2.3:22-172.31.0.4:22"},
        {"str": "tcp:127.1.2.4:22-172.31.0.6:22"},
    ]


def test_the_netdev_is_written_as_an_option() -> None:
    option = user_mode.as_option(netdev(interface(Address("172.31.0.4", "127.1.2.3"))))
    assert option.startswith("user,id=net-eni-1,ipv6=off,net=168.0.0.0/5,host=172.31.0.1,")
    assert option.endswith(",hostfwd=tcp:127.1.2.3:22-172.31.0.4:22")


def test_the_common_ssh_port_can_be_bound_on_any_loopback_address() -> None:
    port = user_mode.choose_ssh_port()
    with socket.socket() as sshd:
        sshd.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sshd.bind((PublicAddresses(port).allocate(), port))
