"""Names that suites written for pycloudlib use on its objects, besides those that have tests of their own."""

from __future__ import annotations

from getpass import getuser

import pytest

from pycloudlib.cloud import BaseCloud
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.errors import BootTimeoutError
from pycloudlib.instance import BaseInstance
from support.guest import Guest
from support.moto_server import BOOKWORM_DAILY


@pytest.fixture
def instance(ec2: EC2) -> EC2Instance:
    return ec2.launch(BOOKWORM_DAILY, "m5.large", wait=False)


def test_type_names_the_cloud() -> None:
    assert (BaseCloud._type, EC2._type) == ("base", "ec2")
    assert (BaseInstance._type, EC2Instance._type) == ("base", "ec2")


def test_name_of_an_instance_is_its_id(ec2: EC2, instance: EC2Instance) -> None:
    other = ec2.launch(BOOKWORM_DAILY, wait=False)
    assert (instance.name, other.name) == (instance.id, other.id)
    assert instance.tags["Name"] == ec2.tag


def test_ready_timeout_is_boot_timeout_in_minutes(instance: EC2Instance) -> None:
    assert (instance.ready_timeout, instance.boot_timeout) == (10, 600)
    instance.ready_timeout = 40
    assert instance.boot_timeout == 2400


def test_instance_and_client_are_boto3s(instance: EC2Instance) -> None:
    assert instance._client is instance._context.client
    assert instance._instance.instance_id == instance.id
    assert instance._instance.placement["AvailabilityZone"] == instance.availability_zone


def test_vpc_of_a_vpc_is_boto3s(ec2: EC2) -> None:
    vpc = ec2.get_or_create_vpc(ec2.tag)
    assert vpc.vpc.id == vpc.id
    assert {subnet.id for subnet in vpc.vpc.subnets.all()} == set(vpc.subnet_ids)
    assert vpc.security_group_id in {group.id for group in vpc.vpc.security_groups.all()}


def test_public_ips_are_those_of_all_interfaces(instance: EC2Instance) -> None:
    added = instance.add_network_interface(ipv4_public_ip_count=1)
    assert len(set(instance.public_ips)) == 2
    assert instance.public_ips[0] == instance.ip
    instance.remove_network_interface(added)
    assert instance.public_ips == [instance.ip]


def test_created_interfaces_are_those_added_and_not_removed(ec2: EC2, instance: EC2Instance) -> None:
    first, second = instance.add_network_interface(), instance.add_network_interface()
    assert instance.created_interfaces == [first, second]
    instance.remove_network_interface(first)
    assert instance.created_interfaces == [second]
    assert ec2.launch(BOOKWORM_DAILY, wait=False).created_interfaces == []


def test_wait_for_execute_ends_as_soon_as_commands_run(ec2_with_guest: EC2, guest: Guest) -> None:
    instance = ec2_with_guest.launch(BOOKWORM_DAILY, username=getuser(), wait=False)
    guest.program("cloud-init", "exec sleep 100")
    instance._wait_for_execute()
    assert instance.timeline.logged_in is not None
    assert instance.timeline.ready is None


def test_wait_for_execute_waits_for_the_next_boot(ec2_with_guest: EC2, guest: Guest) -> None:
    instance = ec2_with_guest.launch(BOOKWORM_DAILY, username=getuser())
    before = instance.get_boot_id()
    with pytest.raises(BootTimeoutError, match="still the previous boot"):
        instance._wait_for_execute(old_boot_id=before, timeout=0.05)
    guest.reboot()
    instance._wait_for_execute(old_boot_id=before)
    assert instance.get_boot_id() != before


def test_del_closes_the_connection_any_number_of_times(ec2_with_guest: EC2) -> None:
    instance = ec2_with_guest.launch(BOOKWORM_DAILY, username=getuser())
    connection = instance._ssh.current
    assert connection is not None
    assert connection.is_alive
    for _ in range(2):
        instance.__del__()
        assert not connection.is_alive
    assert instance.execute("echo again") == "again"


def test_del_of_an_instance_that_was_never_reached_or_made(instance: EC2Instance) -> None:
    instance.__del__()
    EC2Instance.__new__(EC2Instance).__del__()
