"""boto 2's tutorial of EC2, which tools of its time still follow.

http://docs.pythonboto.org/en/latest/ec2_tut.html, and its pages on VPCs and security groups.
"""

from __future__ import annotations

import warnings
from typing import Any
from urllib.parse import urlsplit

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    boto = pytest.importorskip("boto")
    ec2 = pytest.importorskip("boto.ec2")
    vpc = pytest.importorskip("boto.vpc")


@pytest.fixture(scope="module")
def connection(local: LocalEC2) -> Any:
    parts = urlsplit(local.endpoint_url)
    region = ec2.regioninfo.RegionInfo(name=local.region, endpoint=parts.hostname)
    connection = vpc.VPCConnection(
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
        region=region,
        port=parts.port,
        path=parts.path or "/",
        is_secure=False,
    )
    # Otherwise boto 2 reads both from the host's name, as it is on AWS.
    connection.auth_service_name, connection.auth_region_name = "ec2", local.region
    return connection


@pytest.fixture(scope="module")
def image_id(connection: Any) -> str:
    images = connection.get_all_images(filters={"name": "debian-12-amd64-daily-*"})
    return str(images[0].id)


def settle(thing: Any, state: str) -> None:
    def reached() -> bool:
        thing.update()
        return bool(getattr(thing, "state", None) == state or getattr(thing, "status", None) == state)

    wait_until(reached, what=f"{thing} to be {state}", deadline=Deadline.after(60), interval=0.05)


def test_instances(connection: Any, image_id: str) -> None:
    reservation = connection.run_instances(
        image_id, key_name=None, instance_type="t3.micro", security_groups=["default"]
    )
    instance = reservation.instances[0]
    settle(instance, "running")
    assert instance.ip_address
    instance.add_tag("Name", "tutorial")
    found = connection.get_only_instances(filters={"tag:Name": "tutorial"})
    assert [one.id for one in found] == [instance.id]
    assert [one.id for one in connection.get_all_instances()[0].instances]
    assert instance.get_console_output().output
    assert connection.get_all_instance_status([instance.id])[0].state_name == "running"
    connection.stop_instances(instance_ids=[instance.id])
    settle(instance, "stopped")
    assert connection.modify_instance_attribute(instance.id, "instanceType", "t3.small")
    assert instance.get_attribute("instanceType")["instanceType"] == "t3.small"
    connection.start_instances(instance_ids=[instance.id])
    settle(instance, "running")
    assert instance.reboot()
    connection.terminate_instances(instance_ids=[instance.id])
    settle(instance, "terminated")


def test_launch_with_a_large_root_volume(connection: Any, image_id: str) -> None:
    device = ec2.blockdevicemapping.EBSBlockDeviceType(delete_on_termination=True)
    device.size = 50
    mapping = ec2.blockdevicemapping.BlockDeviceMapping()
    mapping["/dev/xvda"] = device
    reservation = connection.run_instances(image_id, instance_type="t3.micro", block_device_map=mapping)
    instance = reservation.instances[0]
    settle(instance, "running")
    volume_id = instance.block_device_mapping["/dev/xvda"].volume_id
    assert connection.get_all_volumes([volume_id])[0].size == 50
    assert instance.modify_attribute("disableApiTermination", True)
    with pytest.raises(boto.exception.EC2ResponseError) as caught:
        instance.terminate()
    assert caught.value.error_code == "OperationNotPermitted"
    assert instance.modify_attribute("disableApiTermination", False)
    instance.terminate()


def test_volumes_and_snapshots(connection: Any, image_id: str) -> None:
    instance = connection.run_instances(image_id, instance_type="t3.micro").instances[0]
    settle(instance, "running")
    volume = connection.create_volume(1, instance.placement)
    settle(volume, "available")
    assert connection.attach_volume(volume.id, instance.id, "/dev/sdx")
    settle(volume, "in-use")
    snapshot = volume.create_snapshot("tutorial")
    wait_until(lambda: snapshot.update() == "100%", what="the snapshot", deadline=Deadline.after(60), interval=0.05)
    assert [one.id for one in connection.get_all_snapshots(owner="self", filters={"volume-id": volume.id})] == [
        snapshot.id
    ]
    assert connection.detach_volume(volume.id, instance.id)
    settle(volume, "available")
    restored = snapshot.create_volume(instance.placement)
    settle(restored, "available")
    assert restored.delete()
    assert connection.delete_volume(volume.id)
    assert snapshot.delete()
    instance.terminate()


def test_images(connection: Any, image_id: str) -> None:
    instance = connection.run_instances(image_id, instance_type="t3.micro").instances[0]
    settle(instance, "running")
    captured = connection.create_image(instance.id, "tutorial", description="mine", no_reboot=True)
    image = connection.get_image(captured)
    settle(image, "available")
    assert image.set_launch_permissions(group_names="all")
    assert image.get_launch_permissions() == {"groups": ["all"]}
    assert image.remove_launch_permissions(group_names="all")
    copied = connection.copy_image("us-east-1", captured, name="copied")
    settle(connection.get_image(copied.image_id), "available")
    assert image.deregister(delete_snapshot=True)
    instance.terminate()


def test_security_groups(connection: Any) -> None:
    web = connection.create_security_group("apache", "Our Apache Group")
    assert web.authorize("tcp", 80, 80, "0.0.0.0/0")
    assert web.authorize(ip_protocol="tcp", from_port=22, to_port=22, cidr_ip="192.168.1.0/24")
    default = connection.get_all_security_groups(groupnames=["default"])[0]
    assert web.authorize(src_group=default)
    other = connection.create_security_group("other", "Another group")
    assert connection.authorize_security_group(
        group_name="apache", src_security_group_name="other", src_security_group_owner_id=default.owner_id
    )
    found = connection.get_all_security_groups(["apache"])[0]
    assert {rule.from_port for rule in found.rules} == {"22", "80", "0", "-1"}
    assert web.revoke("tcp", 80, 80, "0.0.0.0/0")
    assert web.delete()
    assert other.delete()


def test_key_pairs(connection: Any) -> None:
    key = connection.create_key_pair("tutorial")
    assert "PRIVATE KEY" in key.material
    assert [one.name for one in connection.get_all_key_pairs(["tutorial"])] == ["tutorial"]
    assert key.delete()


def test_addresses(connection: Any, image_id: str) -> None:
    instance = connection.run_instances(image_id, instance_type="t3.micro").instances[0]
    settle(instance, "running")
    address = connection.allocate_address(domain="vpc")
    assert connection.associate_address(instance.id, allocation_id=address.allocation_id)
    found = connection.get_all_addresses([address.public_ip])[0]
    assert found.instance_id == instance.id
    assert connection.disassociate_address(association_id=found.association_id)
    assert connection.release_address(allocation_id=address.allocation_id)
    instance.terminate()


def test_vpcs(connection: Any) -> None:
    made = connection.create_vpc("192.168.0.0/16")
    assert connection.modify_vpc_attribute(made.id, enable_dns_hostnames=True)
    subnet = connection.create_subnet(made.id, "192.168.1.0/24")
    gateway = connection.create_internet_gateway()
    assert connection.attach_internet_gateway(gateway.id, made.id)
    table = connection.create_route_table(made.id)
    association_id = connection.associate_route_table(table.id, subnet.id)
    assert connection.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
    options = connection.create_dhcp_options(domain_name="example.com", domain_name_servers=["10.2.5.1", "10.2.5.2"])
    assert connection.associate_dhcp_options(options.id, made.id)
    interface = connection.create_network_interface(subnet.id, description="tutorial")
    assert connection.get_all_network_interfaces([interface.id])[0].description == "tutorial"
    assert connection.delete_network_interface(interface.id)
    assert connection.disassociate_route_table(association_id)
    assert connection.delete_route_table(table.id)
    assert connection.detach_internet_gateway(gateway.id, made.id)
    assert connection.delete_internet_gateway(gateway.id)
    assert connection.delete_subnet(subnet.id)
    assert connection.delete_vpc(made.id)


def test_tags(connection: Any) -> None:
    volume = connection.create_volume(1, "us-east-1a", volume_type="gp2")
    assert connection.create_tags([volume.id], {"Purpose": "tutorial", "Empty": ""})
    assert {tag.name for tag in connection.get_all_tags({"resource-id": volume.id})} == {"Purpose", "Empty"}
    assert connection.delete_tags([volume.id], ["Purpose"])
    assert volume.delete()
