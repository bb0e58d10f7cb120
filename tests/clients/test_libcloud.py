"""Apache Libcloud's EC2 driver."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until

providers = pytest.importorskip("libcloud.compute.providers")
from libcloud.compute.types import NodeState, Provider  # noqa: E402


@pytest.fixture(scope="module")
def driver(local: LocalEC2) -> Any:
    parts = urlsplit(local.endpoint_url)
    return providers.get_driver(Provider.EC2)(
        local.access_key_id,
        local.secret_access_key,
        region=local.region,
        secure=False,
        host=parts.hostname,
        port=parts.port,
    )


@pytest.fixture(scope="module")
def image(driver: Any) -> Any:
    return driver.list_images(ex_filters={"name": "debian-12-amd64-daily-*"})[0]


@pytest.fixture(scope="module")
def size(driver: Any) -> Any:
    return next(one for one in driver.list_sizes() if one.id == "t3.micro")


def node_of(driver: Any, node: Any) -> Any:
    return driver.list_nodes(ex_node_ids=[node.id])[0]


def settle(driver: Any, node: Any, state: Any) -> Any:
    return wait_until(
        lambda: found if (found := node_of(driver, node)).state == state else None,
        what=f"{node} to be {state}",
        deadline=Deadline.after(60),
        interval=0.05,
    )


@pytest.fixture
def node(driver: Any, image: Any, size: Any) -> Any:
    made = driver.create_node(name="mine", image=image, size=size, ex_metadata={"purpose": "test"})
    return settle(driver, made, NodeState.RUNNING)


def test_nodes(driver: Any, node: Any, size: Any) -> None:
    assert (node.name, node.extra["tags"]["purpose"]) == ("mine", "test")
    assert node.public_ips
    assert node.private_ips
    assert driver.reboot_node(node)
    assert driver.ex_create_tags(node, {"more": "tags"})
    assert driver.ex_describe_tags(node)["more"] == "tags"
    assert driver.ex_delete_tags(node, {"more": "tags"})
    assert driver.ex_get_console_output(node)["instance_id"] == node.id
    assert driver.stop_node(node)
    settle(driver, node, NodeState.STOPPED)
    larger = next(one for one in driver.list_sizes() if one.id == "t3.small")
    assert driver.ex_change_node_size(node, larger)
    assert driver.start_node(node)
    settle(driver, node, NodeState.RUNNING)
    assert driver.destroy_node(node)
    settle(driver, node, NodeState.TERMINATED)


def test_volumes(driver: Any, node: Any) -> None:
    location = next(one for one in driver.list_locations() if one.name == node.extra["availability"])
    volume = driver.create_volume(1, "data", location=location)
    assert [one.name for one in driver.list_volumes() if one.id == volume.id] == ["data"]
    assert driver.attach_volume(node, volume, "/dev/sdf")
    snapshot = driver.create_volume_snapshot(volume, name="saved")
    assert snapshot.id in [one.id for one in driver.list_volume_snapshots(volume)]
    assert driver.detach_volume(volume)
    assert driver.destroy_volume_snapshot(snapshot)

    def deleted() -> bool:
        return next(one for one in driver.list_volumes() if one.id == volume.id).state == "available"

    wait_until(deleted, what="the volume", deadline=Deadline.after(60), interval=0.05)
    assert driver.destroy_volume(volume)
    driver.destroy_node(node)


def test_images(driver: Any, node: Any) -> None:
    captured = driver.create_image(node, "captured", reboot=False)
    found = wait_until(
        lambda: one if (one := driver.get_image(captured.id)).extra["state"] == "available" else None,
        what="the image",
        deadline=Deadline.after(60),
        interval=0.05,
    )
    assert found.name == "captured"
    assert driver.ex_modify_image_attribute(captured, {"LaunchPermission.Add.1.Group": "all"})
    assert driver.delete_image(captured)
    driver.destroy_node(node)


def test_keys_and_groups(driver: Any) -> None:
    key = driver.create_key_pair("mine")
    assert "PRIVATE KEY" in key.private_key
    assert driver.get_key_pair("mine").fingerprint
    assert driver.delete_key_pair(key)
    made = driver.ex_create_security_group("web", "web")
    assert "web" in driver.ex_list_security_groups()
    assert driver.ex_authorize_security_group("web", 80, 80, "0.0.0.0/0")
    assert driver.ex_authorize_security_group_ingress(made["group_id"], 22, 22, cidr_ips=["10.0.0.0/8"])
    assert driver.ex_authorize_security_group_ingress(
        made["group_id"], 443, 443, group_pairs=[{"group_id": made["group_id"]}]
    )
    assert driver.ex_authorize_security_group_egress(made["group_id"], 22, 22, cidr_ips=["10.0.0.0/8"])
    assert driver.ex_revoke_security_group_ingress(made["group_id"], 22, 22, cidr_ips=["10.0.0.0/8"])
    assert driver.ex_revoke_security_group_egress(made["group_id"], 22, 22, cidr_ips=["10.0.0.0/8"])
    assert len(driver.ex_get_security_groups(group_ids=[made["group_id"]])[0].ingress_rules) == 2
    assert driver.ex_delete_security_group_by_id(made["group_id"])


def test_networks(driver: Any) -> None:
    network = driver.ex_create_network("192.168.0.0/16", name="mine")
    assert network.id in [one.id for one in driver.ex_list_networks()]
    subnet = driver.ex_create_subnet(network.id, "192.168.1.0/24", "us-east-1a", name="mine")
    assert driver.ex_modify_subnet_attribute(subnet, "auto_public_ip", True)
    gateway = driver.ex_create_internet_gateway(name="mine")
    assert driver.ex_attach_internet_gateway(gateway, network)
    table = driver.ex_create_route_table(network, name="mine")
    association = driver.ex_associate_route_table(table, subnet)
    assert driver.ex_create_route(table, "0.0.0.0/0", internet_gateway=gateway)
    assert len(driver.ex_list_route_tables(route_table_ids=[table.id])[0].routes) == 2
    assert driver.ex_delete_route(table, "0.0.0.0/0")
    assert driver.ex_dissociate_route_table(association)
    assert driver.ex_delete_route_table(table)
    interface = driver.ex_create_network_interface(subnet, name="mine", description="mine")
    assert interface.id in [one.id for one in driver.ex_list_network_interfaces()]
    assert driver.ex_delete_network_interface(interface)
    assert driver.ex_detach_internet_gateway(gateway, network)
    assert driver.ex_delete_internet_gateway(gateway)
    assert driver.ex_delete_subnet(subnet)
    assert driver.ex_delete_network(network)


def test_addresses(driver: Any, node: Any) -> None:
    address = driver.ex_allocate_address(domain="vpc")
    assert address.ip in [one.ip for one in driver.ex_describe_all_addresses()]
    association = driver.ex_associate_address_with_node(node, address, domain="vpc")
    assert association
    address = next(one for one in driver.ex_describe_all_addresses() if one.ip == address.ip)
    assert driver.ex_disassociate_address(address, domain="vpc")
    assert driver.ex_release_address(address, domain="vpc")
    driver.destroy_node(node)


def test_placement_groups(driver: Any) -> None:
    assert driver.ex_create_placement_group("mine")
    assert [one.name for one in driver.ex_list_placement_groups()] == ["mine"]
    assert driver.ex_delete_placement_group("mine")
