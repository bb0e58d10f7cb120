"""The network's records as a Topology."""

from __future__ import annotations

import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import LocalEC2
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.models import topology as records_topology
from pycloudlib.local.documents import fetch_network
from pycloudlib.local.network.document import to_document, topology_from
from pycloudlib.local.network.topology import (
    AclEntry,
    GroupRule,
    Peering,
    Route,
    SecurityGroup,
    Subnet,
    Target,
    Topology,
    Traffic,
    Vpc,
)
from support.local_network import Launch, Network, attach, create, describe, detach, primary, wait_for

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

Read = Callable[[], Topology]


@pytest.fixture
def read(local: LocalEC2) -> Read:
    return lambda: fetch_network(local.info).topology


@pytest.fixture
def vpc(read: Read, network: Network) -> Callable[[], Vpc]:
    return lambda: read().vpcs[network.vpc_id]


@pytest.fixture
def table_id(client: EC2Client, network: Network) -> str:
    return main_table(client, network.vpc_id)


def main_table(client: EC2Client, vpc_id: str) -> str:
    return client.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"][0][
        "RouteTableId"
    ]


def group(client: EC2Client, network: Network, name: str = "web") -> str:
    return client.create_security_group(GroupName=name, Description="tests", VpcId=network.vpc_id)["GroupId"]


def internet_gateway(client: EC2Client, network: Network) -> str:
    gateway_id = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    client.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=network.vpc_id)
    return gateway_id


def routes(found: Vpc, table_id: str) -> dict[str, Route]:
    return {route.cidr: route for route in found.route_tables[table_id].routes}


def test_vpc_has_all_its_blocks(client: EC2Client, network: Network, vpc: Callable[[], Vpc]) -> None:
    before = vpc()
    assert before.cidrs == ("192.168.0.0/16",)
    (block,) = before.ipv6_cidrs
    assert ipaddress.ip_network(network.ipv6_cidr).subnet_of(ipaddress.ip_network(block))  # type: ignore[arg-type]
    added = client.associate_vpc_cidr_block(VpcId=network.vpc_id, CidrBlock="10.9.0.0/24")["CidrBlockAssociation"]
    after = vpc()
    assert after.cidrs == ("192.168.0.0/16", "10.9.0.0/24")
    client.disassociate_vpc_cidr_block(AssociationId=added["AssociationId"])
    assert vpc() == before


def test_subnet_has_its_acl_and_the_main_table(
    client: EC2Client, network: Network, table_id: str, vpc: Callable[[], Vpc]
) -> None:
    acls = client.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [network.vpc_id]}])["NetworkAcls"]
    assert vpc().subnets == {
        network.subnet_id: Subnet(
            network.subnet_id,
            "192.168.1.0/28",
            "us-east-1a",
            acls[0]["NetworkAclId"],
            table_id,
            network.ipv6_cidr,
        )
    }


def test_subnet_has_its_own_table_and_acl(client: EC2Client, network: Network, vpc: Callable[[], Vpc]) -> None:
    own = client.create_route_table(VpcId=network.vpc_id)["RouteTable"]["RouteTableId"]
    client.associate_route_table(RouteTableId=own, SubnetId=network.subnet_id)
    acl_id = client.create_network_acl(VpcId=network.vpc_id)["NetworkAcl"]["NetworkAclId"]
    (acl,) = client.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [network.subnet_id]}])[
        "NetworkAcls"
    ]
    client.replace_network_acl_association(
        AssociationId=acl["Associations"][0]["NetworkAclAssociationId"], NetworkAclId=acl_id
    )
    subnet = vpc().subnets[network.subnet_id]
    assert (subnet.route_table_id, subnet.acl_id) == (own, acl_id)


def test_default_acl_allows_both_families(network: Network, vpc: Callable[[], Vpc]) -> None:
    (acl,) = vpc().acls.values()
    expected = (
        AclEntry(100, True, Traffic(), "0.0.0.0/0"),
        AclEntry(101, True, Traffic(), "::/0"),
        AclEntry(32767, False, Traffic(), "0.0.0.0/0"),
        AclEntry(32768, False, Traffic(), "::/0"),
    )
    assert (acl.ingress, acl.egress) == (expected, expected)


def test_acls_get_ipv6_entries_with_the_block(client: EC2Client, read: Read) -> None:
    vpc_id = client.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    own = client.create_network_acl(VpcId=vpc_id)["NetworkAcl"]["NetworkAclId"]
    assert [entry.number for entry in read().vpcs[vpc_id].acls[own].ingress] == [32767]
    client.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)
    acls = read().vpcs[vpc_id].acls
    assert [entry.number for entry in acls[own].egress] == [32767, 32768]
    (default,) = (acl for acl_id, acl in acls.items() if acl_id != own)
    assert [entry.number for entry in default.egress] == [100, 101, 32767, 32768]


def test_acl_entries(client: EC2Client, network: Network, vpc: Callable[[], Vpc]) -> None:
    acl_id = client.create_network_acl(VpcId=network.vpc_id)["NetworkAcl"]["NetworkAclId"]

    def add(number: int, protocol: str, *, egress: bool = False, **more: Any) -> None:
        wanted = {"CidrBlock": "10.0.0.0/8", "RuleAction": "allow", **more}
        client.create_network_acl_entry(
            NetworkAclId=acl_id, RuleNumber=number, Protocol=protocol, Egress=egress, **wanted
        )

    add(300, "17", PortRange={"From": 53, "To": 53}, RuleAction="deny")
    add(100, "6", PortRange={"From": 1024, "To": 65535})
    add(200, "1", IcmpTypeCode={"Type": 8, "Code": -1})
    add(100, "-1", egress=True)
    acl = vpc().acls[acl_id]
    assert acl.ingress[:3] == (
        AclEntry(100, True, Traffic("tcp", 1024, 65535), "10.0.0.0/8"),
        AclEntry(200, True, Traffic("icmp", 8, None), "10.0.0.0/8"),
        AclEntry(300, False, Traffic("udp", 53, 53), "10.0.0.0/8"),
    )
    assert acl.egress[0] == AclEntry(100, True, Traffic(), "10.0.0.0/8")


def test_group_rules(client: EC2Client, network: Network, vpc: Callable[[], Vpc]) -> None:
    group_id, peer = group(client, network), group(client, network, "peer")
    permissions: list[Any] = [
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.1.2.3/8"}]},
        {"IpProtocol": "17", "FromPort": 53, "ToPort": 54, "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]},
        {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "UserIdGroupPairs": [{"GroupId": peer}]},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_id}]},
    ]
    client.authorize_security_group_ingress(GroupId=group_id, IpPermissions=permissions)
    found = vpc().groups[group_id]
    assert [(rule.traffic, rule.cidrs, rule.group_ids) for rule in found.ingress] == [
        (Traffic("tcp", 22, 22), ("10.0.0.0/8",), ()),
        (Traffic("udp", 53, 54), ("2001:db8::/32",), ()),
        (Traffic("icmp"), (), (peer,)),
        (Traffic(), (), (group_id,)),
    ]
    assert {cidr for rule in found.egress for cidr in rule.cidrs} == {"0.0.0.0/0", "::/0"}
    described = client.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group_id]}])
    assert {rule.rule_id for rule in (*found.ingress, *found.egress)} == {
        rule["SecurityGroupRuleId"] for rule in described["SecurityGroupRules"]
    }


def test_prefix_lists_are_expanded(client: EC2Client, network: Network, vpc: Callable[[], Vpc]) -> None:
    group_id = group(client, network)
    listed = client.create_managed_prefix_list(
        PrefixListName="offices", AddressFamily="IPv4", MaxEntries=5, Entries=[{"Cidr": "198.51.100.0/24"}]
    )["PrefixList"]
    list_id = listed["PrefixListId"]
    client.authorize_security_group_ingress(
        GroupId=group_id,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": [{"PrefixListId": list_id}]}
        ],
    )
    assert vpc().groups[group_id].ingress[0].cidrs == ("198.51.100.0/24",)
    client.modify_managed_prefix_list(
        PrefixListId=list_id, CurrentVersion=listed["Version"], AddEntries=[{"Cidr": "203.0.113.0/24"}]
    )
    assert vpc().groups[group_id].ingress[0].cidrs == ("198.51.100.0/24", "203.0.113.0/24")


def test_interfaces(client: EC2Client, launch: Launch, network: Network, vpc: Callable[[], Vpc]) -> None:
    group_id = group(client, network)
    loose = create(client, network.subnet_id, PrivateIpAddress="192.168.1.9", Groups=[group_id], Ipv6AddressCount=1)
    assert vpc().interfaces[loose].instance_id is None
    assert not vpc().interfaces[loose].running
    instance_id = launch(SubnetId=network.subnet_id)
    attachment_id = attach(client, loose, instance_id)
    client.modify_network_interface_attribute(NetworkInterfaceId=loose, SourceDestCheck={"Value": False})
    found = vpc().interfaces
    assert set(found) == {loose, primary(client, instance_id)}
    one = found[loose]
    assert (one.subnet_id, one.instance_id, one.group_ids) == (network.subnet_id, instance_id, (group_id,))
    assert (one.source_dest_check, one.running) == (False, True)
    assert one.attachment.private_ip == "192.168.1.9"
    assert one.attachment.ipv6_subnet == network.ipv6_cidr
    assert len(one.attachment.ipv6_addresses) == 1
    detach(client, loose, attachment_id)
    assert vpc().interfaces[loose].instance_id is None
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
    assert [interface.running for interface in vpc().interfaces.values()] == [False, False]
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    assert set(vpc().interfaces) == {loose}


def test_interface_has_its_public_address(client: EC2Client, launch: Launch, read: Read) -> None:
    instance_id = launch()
    found = read().vpc_of(primary(client, instance_id))
    assert found is not None
    (address,) = found.interfaces[primary(client, instance_id)].attachment.addresses
    assert address.public_ip == describe(client, instance_id)["PublicIpAddress"]
    assert found.internet_gateway_id is not None
    assert found.dns_hostnames


def test_local_routes(client: EC2Client, network: Network, table_id: str, vpc: Callable[[], Vpc]) -> None:
    client.associate_vpc_cidr_block(VpcId=network.vpc_id, CidrBlock="10.9.0.0/24")
    found = vpc()
    assert set(found.route_tables[table_id].routes) == {
        Route(cidr, Target.LOCAL, "local") for cidr in (*found.cidrs, *found.ipv6_cidrs)
    }


def test_internet_gateway_detached_is_a_blackhole(
    client: EC2Client, network: Network, table_id: str, vpc: Callable[[], Vpc]
) -> None:
    gateway_id = internet_gateway(client, network)
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)
    assert vpc().internet_gateway_id == gateway_id
    assert routes(vpc(), table_id)["0.0.0.0/0"] == Route("0.0.0.0/0", Target.INTERNET_GATEWAY, gateway_id)
    client.detach_internet_gateway(InternetGatewayId=gateway_id, VpcId=network.vpc_id)
    assert vpc().internet_gateway_id is None
    assert routes(vpc(), table_id)["0.0.0.0/0"] == Route("0.0.0.0/0", Target.BLACKHOLE, gateway_id)
    client.delete_internet_gateway(InternetGatewayId=gateway_id)
    assert routes(vpc(), table_id)["0.0.0.0/0"].target is Target.BLACKHOLE


def test_nat_gateway_deleted_is_a_blackhole(
    client: EC2Client, network: Network, table_id: str, vpc: Callable[[], Vpc]
) -> None:
    internet_gateway(client, network)
    address = client.allocate_address(Domain="vpc")
    gateway_id = client.create_nat_gateway(SubnetId=network.subnet_id, AllocationId=address["AllocationId"])[
        "NatGateway"
    ]["NatGatewayId"]
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway_id)
    (gateway,) = vpc().nat_gateways.values()
    assert (gateway.nat_gateway_id, gateway.subnet_id) == (gateway_id, network.subnet_id)
    assert gateway.public_ip == address["PublicIp"]
    assert gateway.private_ip.startswith("192.168.1.")
    assert routes(vpc(), table_id)["0.0.0.0/0"].target is Target.NAT_GATEWAY
    client.delete_nat_gateway(NatGatewayId=gateway_id)
    assert vpc().nat_gateways == {}
    assert routes(vpc(), table_id)["0.0.0.0/0"] == Route("0.0.0.0/0", Target.BLACKHOLE, gateway_id)
    client.release_address(AllocationId=address["AllocationId"])


def test_egress_only_gateway_deleted_is_a_blackhole(
    client: EC2Client, network: Network, table_id: str, vpc: Callable[[], Vpc]
) -> None:
    created = client.create_egress_only_internet_gateway(VpcId=network.vpc_id)
    gateway_id = created["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"]
    client.create_route(RouteTableId=table_id, DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=gateway_id)
    assert vpc().egress_only_gateway_ids == {gateway_id}
    assert routes(vpc(), table_id)["::/0"].target is Target.EGRESS_ONLY_GATEWAY
    client.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=gateway_id)
    assert routes(vpc(), table_id)["::/0"].target is Target.BLACKHOLE


def test_instance_terminated_is_a_blackhole(
    client: EC2Client, launch: Launch, network: Network, table_id: str, vpc: Callable[[], Vpc]
) -> None:
    instance_id = launch(SubnetId=network.subnet_id)
    interface_id = primary(client, instance_id)
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="172.16.0.0/12", InstanceId=instance_id)
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="10.0.0.0/8", NetworkInterfaceId=interface_id)
    found = routes(vpc(), table_id)
    assert found["172.16.0.0/12"] == Route("172.16.0.0/12", Target.INTERFACE, interface_id)
    assert found["10.0.0.0/8"] == Route("10.0.0.0/8", Target.INTERFACE, interface_id)
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    found = routes(vpc(), table_id)
    assert {found["172.16.0.0/12"].target, found["10.0.0.0/8"].target} == {Target.BLACKHOLE}


def test_peering_is_there_while_it_is_active(
    client: EC2Client, network: Network, table_id: str, read: Read, vpc: Callable[[], Vpc]
) -> None:
    other = client.create_vpc(CidrBlock="10.5.0.0/16")["Vpc"]["VpcId"]
    peering_id = client.create_vpc_peering_connection(VpcId=network.vpc_id, PeerVpcId=other)["VpcPeeringConnection"][
        "VpcPeeringConnectionId"
    ]
    assert peering_id not in read().peerings
    client.accept_vpc_peering_connection(VpcPeeringConnectionId=peering_id)
    client.create_route(RouteTableId=table_id, DestinationCidrBlock="10.5.0.0/16", VpcPeeringConnectionId=peering_id)
    assert read().peerings[peering_id] == Peering(peering_id, (network.vpc_id, other))
    assert routes(vpc(), table_id)["10.5.0.0/16"] == Route("10.5.0.0/16", Target.PEERING, peering_id)
    client.delete_vpc_peering_connection(VpcPeeringConnectionId=peering_id)
    assert peering_id not in read().peerings
    assert routes(vpc(), table_id)["10.5.0.0/16"].target is Target.BLACKHOLE


def test_dns_attributes(client: EC2Client, network: Network, vpc: Callable[[], Vpc]) -> None:
    assert (vpc().dns_support, vpc().dns_hostnames) == (True, False)
    client.modify_vpc_attribute(VpcId=network.vpc_id, EnableDnsHostnames={"Value": True})
    client.modify_vpc_attribute(VpcId=network.vpc_id, EnableDnsSupport={"Value": False})
    assert (vpc().dns_support, vpc().dns_hostnames) == (False, True)


def test_dhcp_options(client: EC2Client, network: Network, vpc: Callable[[], Vpc]) -> None:
    assert vpc().dhcp_options == {"domain-name": ("ec2.internal",), "domain-name-servers": ("AmazonProvidedDNS",)}
    wanted = [{"Key": "ntp-servers", "Values": ["192.0.2.1", "192.0.2.2"]}]
    options = client.create_dhcp_options(DhcpConfigurations=wanted)["DhcpOptions"]["DhcpOptionsId"]  # type: ignore[arg-type]
    client.associate_dhcp_options(DhcpOptionsId=options, VpcId=network.vpc_id)
    assert vpc().dhcp_options == {"ntp-servers": ("192.0.2.1", "192.0.2.2")}
    client.associate_dhcp_options(DhcpOptionsId="default", VpcId=network.vpc_id)
    assert vpc().dhcp_options == {}


def test_topology_holds_all_regions(local: LocalEC2, read: Read) -> None:
    elsewhere = boto3.client(
        "ec2",
        endpoint_url=local.endpoint_url,
        region_name="eu-west-1",
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
    )
    vpc_id = elsewhere.create_vpc(CidrBlock="10.3.0.0/16")["Vpc"]["VpcId"]
    assert vpc_id in read().vpcs
    assert len(read().vpcs) > 1


def test_topology_survives_json(read: Read) -> None:
    topology = read()
    assert topology_from(json.loads(json.dumps(to_document(topology)))) == topology
    rule = GroupRule("sgr-1", Traffic("icmp", 8), ("10.0.0.0/8",), ("sg-1",))
    vpc = Vpc("vpc-1", ("10.0.0.0/8",), groups={"sg-1": SecurityGroup("sg-1", (rule,), ())})
    one = Topology({"vpc-1": replace(vpc, egress_only_gateway_ids=frozenset({"eigw-2", "eigw-1"}))})
    assert topology_from(json.loads(json.dumps(to_document(one)))) == one


def test_document_has_names(client: EC2Client, local: LocalEC2, network: Network) -> None:
    client.create_tags(Resources=[network.vpc_id, network.subnet_id], Tags=[{"Key": "Name", "Value": "lab"}])
    group_id = group(client, network, "database")
    names = fetch_network(local.info).names
    assert (names[network.vpc_id], names[network.subnet_id], names[group_id]) == ("lab", "lab", "database")


def test_unknown_document_is_not_found(local: LocalEC2) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{local.endpoint_url}/local-api/secrets", timeout=60)


def test_document_needs_a_signature(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with LocalEC2(driver="simulated", auth=True) as local:
        assert fetch_network(local.info).topology == Topology()
        with pytest.raises(urllib.error.HTTPError, match="40"):
            urllib.request.urlopen(f"{local.endpoint_url}/local-api/network", timeout=60)
        with pytest.raises(LocalEC2Error, match="did not return its network"):
            fetch_network(replace(local.info, secret_access_key="wrong"))


def test_on_change_reports_changes_only(records: LocalEC2Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_topology, "existing_backends", lambda: [records])
    reported: list[Topology] = []
    lock = records.cloud.lock
    end = records_topology.on_change(reported.append)
    assert reported == [records_topology.topology()]
    with lock:
        vpc = records.create_vpc("10.0.0.0/16")
    assert set(reported[-1].vpcs) - set(reported[0].vpcs) == {vpc.id}
    with lock:
        records.create_key_pair("key", "rsa", {})
    assert len(reported) == 2
    with lock:
        group = records.create_security_group("web", "tests", vpc_id=vpc.id)
        group.ingress_rules.extend(group.egress_rules)
    assert len(reported) == 3
    assert len(reported[-1].vpcs[vpc.id].groups[group.id].ingress) == 1
    end()
    with lock:
        records.create_vpc("10.1.0.0/16")
    assert len(reported) == 3
