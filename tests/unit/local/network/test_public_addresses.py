from __future__ import annotations

import ipaddress
import random
import socket

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.public_addresses import PublicAddresses, check_public_cidr


def test_addresses_are_loopback_and_all_different() -> None:
    addresses = PublicAddresses(None)
    taken = [addresses.allocate() for _ in range(500)]
    assert len(set(taken)) == 500
    assert all(ipaddress.ip_address(one).is_loopback for one in taken)
    assert not any(one.startswith("127.0.") for one in taken)


def test_no_address_is_given_out_whose_port_is_taken() -> None:
    with socket.socket() as everywhere:
        everywhere.bind(("", 0))
        everywhere.listen()
        port = everywhere.getsockname()[1]
        with pytest.raises(LocalEC2Error, match=f"port {port}"):
            PublicAddresses(port).allocate()


def test_addresses_of_a_block_are_given_out_to_the_last() -> None:
    addresses = PublicAddresses(None, "203.0.113.0/28")
    taken = {addresses.allocate() for _ in range(14)}
    assert taken == {f"203.0.113.{number}" for number in range(1, 15)}
    with pytest.raises(LocalEC2Error, match=r"no address of 203\.0\.113\.0/28 is left: release one"):
        addresses.allocate()
    addresses.release("203.0.113.7")
    assert addresses.allocate() == "203.0.113.7"


def test_servers_share_a_block() -> None:
    block = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.0/28"
    one, other = PublicAddresses(0, block), PublicAddresses(0, block)
    taken = [server.allocate() for _ in range(7) for server in (one, other)]
    assert len(set(taken)) == 14
    with pytest.raises(LocalEC2Error, match="is left: release one"):
        other.allocate()
    one.release(taken[0])
    assert other.allocate() == taken[0]


def test_addresses_of_a_large_block_are_in_it() -> None:
    address = PublicAddresses(None, "198.18.0.0/15").allocate()
    assert ipaddress.ip_address(address) in ipaddress.ip_network("198.18.0.0/15")


@pytest.mark.parametrize(
    ("cidr", "complaint"),
    [
        ("203.0.113.1/24", "invalid public CIDR block '203.0.113.1/24': .*host bits set"),
        ("everywhere", "invalid public CIDR block 'everywhere'"),
        ("203.0.113.0/29", "give at least a /28"),
        ("127.9.0.0/16", "without loopback"),
        ("198.51.0.0/16", "not 198.51.100.0/24"),
        ("0.0.0.0/0", "unicast"),
    ],
)
def test_unusable_block_is_refused(cidr: str, complaint: str) -> None:
    with pytest.raises(LocalEC2Error, match=complaint):
        check_public_cidr(cidr)
