"""Networks of namespaces, with guests that are namespaces too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import pytest

from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.namespaces.service_addresses import gateway_addresses
from pycloudlib.local.network.topology import Interface, Topology
from support.guest_network import Guest
from support.namespaces import require_namespaces
from support.topologies import accept_all

GATEWAY_LINK_LOCAL = "fe80::800:ff:fe00:1"
"""Of every tap; guests learn it from router advertisements."""


class Connect(Protocol):
    """Connects a guest to an interface of a fabric's topology.

    With `advertised`, the guest learns its IPv6 gateway from router advertisements. With `on_link`, it takes its IPv6
    subnet for on-link, as some distributions do, whatever is advertised.
    """

    def __call__(
        self, fabric: Fabric, interface: Interface, *, advertised: bool = False, on_link: bool = False
    ) -> Guest: ...


@pytest.fixture(scope="session")
def namespaces_work() -> None:
    require_namespaces()


@pytest.fixture(scope="session")
def shared_fabric(tmp_path_factory: pytest.TempPathFactory, namespaces_work: None) -> Iterator[Fabric]:
    with contextlib.closing(Fabric(tmp_path_factory.mktemp("fabric"), accept_all)) as fabric:
        yield fabric


@pytest.fixture
def fabric(shared_fabric: Fabric) -> Iterator[Fabric]:
    """A fabric without VPCs, for tests that leave its helper alone."""
    yield shared_fabric
    shared_fabric.apply(Topology())


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect a guest to an interface of a fabric's topology."""
    with contextlib.ExitStack() as guests:

        def connect(fabric: Fabric, interface: Interface, *, advertised: bool = False, on_link: bool = False) -> Guest:
            attachment = interface.attachment
            gateway = gateway_addresses(attachment.subnet, None)[0].partition("/")[0]
            bits = attachment.subnet.partition("/")[2]
            return guests.enter_context(
                Guest(
                    fabric.add_interface(interface.interface_id),
                    attachment.mac,
                    [
                        *(f"{address.private_ip}/{bits}" for address in attachment.addresses),
                        # The prefix is off-link, as EC2's subnets are.
                        *(f"{address}/{64 if on_link else 128}" for address in attachment.ipv6_addresses),
                    ],
                    [gateway, *([GATEWAY_LINK_LOCAL] if attachment.ipv6_addresses and not advertised else [])],
                )
            )

        yield connect
