from __future__ import annotations

from types import SimpleNamespace

import pytest

from pycloudlib.ec2.instances.run_network import choose_network, network_parameters
from pycloudlib.ec2.vpc import VPC
from pycloudlib.errors import InvalidArgumentError
from support.scripted_ec2 import ScriptedEC2

WITH_IPV6 = (
    "<subnetSet><item><subnetId>subnet-a</subnetId><ipv6CidrBlockAssociationSet><item>"
    "<ipv6CidrBlock>2001:db8::/64</ipv6CidrBlock><ipv6CidrBlockState><state>associated</state></ipv6CidrBlockState>"
    "</item></ipv6CidrBlockAssociationSet></item></subnetSet>"
)
WITHOUT_IPV6 = "<subnetSet><item><subnetId>subnet-a</subnetId></item></subnetSet>"


@pytest.fixture
def vpc() -> VPC:
    subnets = {"r-1a": "subnet-a", "r-1b": "subnet-b"}
    return VPC("vpc-1", "mine", "10.0.0.0/16", "", subnets, "sg-1", SimpleNamespace())


def test_a_vpc_gives_subnet_and_security_group(scripted_client, vpc: VPC) -> None:
    network = choose_network(scripted_client, vpc, {}, enable_ipv6=False)
    assert network == {"SubnetId": "subnet-a", "SecurityGroupIds": ["sg-1"]}


def test_requested_zone_selects_the_subnet(scripted_client, vpc: VPC) -> None:
    placed = {"Placement": {"AvailabilityZone": "r-1b"}}
    assert choose_network(scripted_client, vpc, placed, enable_ipv6=False)["SubnetId"] == "subnet-b"


def test_a_subnet_of_the_vpc_may_be_chosen(scripted_client, vpc: VPC) -> None:
    network = choose_network(scripted_client, vpc, {"SubnetId": "subnet-b"}, enable_ipv6=False)
    assert network == {"SubnetId": "subnet-b", "SecurityGroupIds": ["sg-1"]}


def test_any_other_subnet_is_refused(scripted_client, vpc: VPC) -> None:
    with pytest.raises(InvalidArgumentError, match="has no subnet subnet-z; it has subnet-a, subnet-b"):
        choose_network(scripted_client, vpc, {"SubnetId": "subnet-z"}, enable_ipv6=False)


def test_a_zone_without_a_subnet_is_refused(scripted_client, vpc: VPC) -> None:
    with pytest.raises(InvalidArgumentError, match="r-1c"):
        choose_network(scripted_client, vpc, {"Placement": {"AvailabilityZone": "r-1c"}}, enable_ipv6=False)


@pytest.mark.parametrize("wrong", ["vpc-1", 7, {}])
def test_what_is_no_vpc_is_refused(scripted_client, wrong: object) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a VPC from get_or_create_vpc"):
        choose_network(scripted_client, wrong, {}, enable_ipv6=False)


def test_without_a_vpc_nothing_is_selected_or_queried(scripted_client, script: ScriptedEC2) -> None:
    assert choose_network(scripted_client, None, {}, enable_ipv6=True) == {}
    assert script.asked == []


@pytest.mark.parametrize(
    "callers", [{}, {"SubnetId": "subnet-a"}, {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "subnet-a"}]}]
)
def test_ipv6_address_is_requested_in_a_dual_stack_subnet(
    scripted_client, script: ScriptedEC2, vpc: VPC, callers: dict
) -> None:
    script.answer("DescribeSubnets", WITH_IPV6)
    assert choose_network(scripted_client, vpc, callers, enable_ipv6=True)["Ipv6AddressCount"] == 1


def test_no_ipv6_address_is_requested_in_an_ipv4_subnet(scripted_client, script: ScriptedEC2, vpc: VPC) -> None:
    script.answer("DescribeSubnets", WITHOUT_IPV6)
    assert "Ipv6AddressCount" not in choose_network(scripted_client, vpc, {}, enable_ipv6=True)


@pytest.mark.parametrize(
    "callers",
    [{"Ipv6AddressCount": 3}, {"NetworkInterfaces": [{"Ipv6Addresses": [{"Ipv6Address": "2001:db8::1"}]}]}],
)
def test_the_callers_own_ipv6_addresses_count(scripted_client, vpc: VPC, callers: dict) -> None:
    assert "Ipv6AddressCount" not in choose_network(scripted_client, vpc, callers, enable_ipv6=True)


NETWORK = {"SubnetId": "subnet-a", "SecurityGroupIds": ["sg-1"], "Ipv6AddressCount": 1}


def test_without_interfaces_the_callers_values_win() -> None:
    merged = network_parameters({"SecurityGroupIds": ["sg-2"], "KeyName": "k"}, NETWORK)
    assert merged == {"SubnetId": "subnet-a", "SecurityGroupIds": ["sg-2"], "Ipv6AddressCount": 1, "KeyName": "k"}


def test_interfaces_take_over_what_ec2_takes_for_the_instance_or_for_them() -> None:
    callers = {"NetworkInterfaces": [{"DeviceIndex": 0}, {"DeviceIndex": 1, "SubnetId": "subnet-b"}]}
    assert network_parameters(callers, NETWORK) == {
        "NetworkInterfaces": [
            {"DeviceIndex": 0, "SubnetId": "subnet-a", "Groups": ["sg-1"], "Ipv6AddressCount": 1},
            {"DeviceIndex": 1, "SubnetId": "subnet-b", "Groups": ["sg-1"]},
        ]
    }
    assert callers == {"NetworkInterfaces": [{"DeviceIndex": 0}, {"DeviceIndex": 1, "SubnetId": "subnet-b"}]}


def test_an_interface_that_exists_already_stays_as_it_is() -> None:
    existing = {"DeviceIndex": 0, "NetworkInterfaceId": "eni-1"}
    assert network_parameters({"NetworkInterfaces": [existing]}, NETWORK) == {"NetworkInterfaces": [existing]}
