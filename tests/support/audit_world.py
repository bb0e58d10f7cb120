"""What requests of an audit refer to: resources of one simulated local EC2, created when a case first needs them."""

from __future__ import annotations

import json
import re
import secrets
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.services import TRUST

DEBIAN_DAILIES = "903794441882"

# Random per request: ids, addresses, MAC addresses, times, and key material.
_VOLATILE = re.compile(
    r"\b[a-z]+-[0-9a-f]{8,17}\b|\b[0-9a-f]{2}(:[0-9a-f]{2}){5,}\b|\b\d+\.\d+\.\d+\.\d+\b|\bip-\d+-\d+-\d+-\d+\b"
    r"|\bec2-\d+-\d+-\d+-\d+\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\d{4}-\d\d-\d\d[T ][\d:.+Z]+"
    r"|-----BEGIN.*?-----END [A-Z ]+-----|\b[0-9a-f:]*::[0-9a-f:]*(/\d+)?"
)


class World:
    """One account in one region."""

    def __init__(self, local: LocalEC2) -> None:
        self.local = local
        self.c = self._client("ec2")
        self._octet = 0

    def _client(self, service: str) -> Any:
        local = self.local
        return boto3.client(
            service,
            endpoint_url=local.endpoint_url,
            region_name=local.region,
            aws_access_key_id=local.access_key_id,
            aws_secret_access_key=local.secret_access_key,
            config=Config(retries={"max_attempts": 1}, parameter_validation=False, max_pool_connections=4),
        )

    zone = "us-east-1a"

    def name(self, stem: str = "audit") -> str:
        """Return a name that nothing else has."""
        return f"{stem}-{secrets.token_hex(4)}"

    def new_cidr(self) -> str:
        """Return a /16 that no VPC of this world has."""
        self._octet += 1
        return f"10.{self._octet % 250 + 1}.0.0/16"

    @cached_property
    def image(self) -> str:
        names = [{"Name": "name", "Values": ["debian-12-amd64-daily-*"]}]
        images = self.c.describe_images(Owners=[DEBIAN_DAILIES], Filters=names)["Images"]
        return max(images, key=lambda image: image["CreationDate"])["ImageId"]

    @cached_property
    def image_snapshot(self) -> str:
        return self.new_snapshot()

    @cached_property
    def key(self) -> str:
        return self.c.create_key_pair(KeyName=self.name("key"))["KeyName"]

    @cached_property
    def vpc(self) -> str:
        return self.new_vpc(AmazonProvidedIpv6CidrBlock=True)

    @cached_property
    def ipv6_block(self) -> str:
        vpc = self.c.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0]
        return vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]

    @cached_property
    def vpc_prefix(self) -> str:
        return ".".join(self.c.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0]["CidrBlock"].split(".")[:2])

    @cached_property
    def subnet(self) -> str:
        return self.c.create_subnet(
            VpcId=self.vpc,
            CidrBlock=f"{self.vpc_prefix}.0.0/20",
            AvailabilityZone=self.zone,
            Ipv6CidrBlock=self.ipv6_block.replace("/56", "/64"),
        )["Subnet"]["SubnetId"]

    @cached_property
    def group(self) -> str:
        return self.new_group()

    @cached_property
    def instance(self) -> str:
        return self.new_instance()

    @cached_property
    def volume(self) -> str:
        return self.new_volume()

    @cached_property
    def interface(self) -> str:
        return self.new_interface()

    @cached_property
    def address(self) -> str:
        return self.new_address()

    @cached_property
    def dhcp_options(self) -> str:
        return self.new_dhcp_options()

    def new_vpc(self, **more: Any) -> str:
        return self.c.create_vpc(CidrBlock=self.new_cidr(), **more)["Vpc"]["VpcId"]

    def new_subnet(self, vpc: str | None = None) -> str:
        vpc = vpc or self.new_vpc()
        block = self.c.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"]
        subnet = self.c.create_subnet(VpcId=vpc, CidrBlock=block.replace("/16", "/24"), AvailabilityZone=self.zone)
        return subnet["Subnet"]["SubnetId"]

    def new_group(self, vpc: str | None = None) -> str:
        return self.c.create_security_group(GroupName=self.name("group"), Description="audit", VpcId=vpc or self.vpc)[
            "GroupId"
        ]

    def new_volume(self, **more: Any) -> str:
        volume = self.c.create_volume(**{"AvailabilityZone": self.zone, "Size": 1, **more})["VolumeId"]
        self._wait(lambda: self.c.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available", volume)
        return volume

    def new_snapshot(self, **more: Any) -> str:
        snapshot = self.c.create_snapshot(VolumeId=self.volume, **more)["SnapshotId"]
        self._wait(
            lambda: self.c.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] == "completed", snapshot
        )
        return snapshot

    def new_image(self) -> str:
        image = self.c.register_image(
            Name=self.name("image"),
            RootDeviceName="/dev/sda1",
            BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": self.image_snapshot}}],
        )["ImageId"]
        self._wait(lambda: self.c.describe_images(ImageIds=[image])["Images"][0]["State"] == "available", image)
        return image

    def new_interface(self, **more: Any) -> str:
        return self.c.create_network_interface(SubnetId=self.subnet, **more)["NetworkInterface"]["NetworkInterfaceId"]

    def new_address(self) -> str:
        return self.c.allocate_address(Domain="vpc")["AllocationId"]

    def new_dhcp_options(self) -> str:
        configurations = [{"Key": "domain-name", "Values": ["audit.example"]}]
        return self.c.create_dhcp_options(DhcpConfigurations=configurations)["DhcpOptions"]["DhcpOptionsId"]

    def new_instance(self, state: str = "running", **more: Any) -> str:
        wanted = {"ImageId": self.image, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small", **more}
        if "NetworkInterfaces" not in wanted:
            wanted.setdefault("SubnetId", self.subnet)
        instance = self.c.run_instances(**wanted)["Instances"][0]["InstanceId"]
        self.wait_for(instance, "running")
        if state == "stopped":
            self.c.stop_instances(InstanceIds=[instance])
            self.wait_for(instance, "stopped")
        return instance

    def wait_for(self, instance: str, state: str) -> None:
        self._wait(lambda: self.instance_of(instance)["State"]["Name"] == state, f"{instance} to be {state}")

    def instance_of(self, instance: str) -> dict[str, Any]:
        return self.c.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def internet_gateway(self, vpc: str) -> str:
        gateway = self.c.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.c.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        return gateway

    # What cases refer to beside what they made last.

    def device(self) -> str:
        self._device = getattr(self, "_device", 0) + 1
        return f"/dev/xvd{chr(ord('b') + self._device // 26)}{chr(ord('a') + self._device % 26)}"

    def new_key(self) -> tuple[str, str]:
        key = self.c.create_key_pair(KeyName=self.name("key"))
        return key["KeyName"], key["KeyPairId"]

    def default_vpc_group(self) -> str:
        name = self.name("classic")
        self.c.create_security_group(GroupName=name, Description="audit")
        return name

    def group_with_rules(self, *, egress: bool = False) -> str:
        group = self.new_group()
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
        more = {**rule, "IpRanges": [{"CidrIp": "10.9.0.0/16"}]}
        call = self.c.authorize_security_group_egress if egress else self.c.authorize_security_group_ingress
        rules = call(GroupId=group, IpPermissions=[rule, more])["SecurityGroupRules"]
        self.last_rules = [one["SecurityGroupRuleId"] for one in rules]
        return group

    @cached_property
    def prefix_list(self) -> str:
        return self.new_prefix_list()

    def new_prefix_list(self) -> str:
        return self.c.create_managed_prefix_list(
            PrefixListName=self.name("pl"), MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": "10.5.0.0/16"}]
        )["PrefixList"]["PrefixListId"]

    def free_ip(self) -> str:
        """Return an address of the subnet that nothing has; others are given at random."""
        filters = [{"Name": "subnet-id", "Values": [self.subnet]}]
        interfaces = self.c.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        taken = {address["PrivateIpAddress"] for one in interfaces for address in one["PrivateIpAddresses"]}
        while True:
            self._host = getattr(self, "_host", 0) + 1
            address = f"{self.vpc_prefix}.{8 + self._host // 200}.{self._host % 200 + 5}"
            if address not in taken:
                return address

    def free_ipv6(self) -> str:
        self._host6 = getattr(self, "_host6", 0) + 1
        return self.ipv6_block.replace("::/56", f"::{self._host6 + 0x100:x}")

    def attached_interface(self) -> str:
        self.attach_interface()
        return self.last_interface

    def attach_interface(self) -> str:
        self.last_interface = self.new_interface()
        self.last_attachment = self.c.attach_network_interface(
            NetworkInterfaceId=self.last_interface, InstanceId=self.new_instance(), DeviceIndex=1
        )["AttachmentId"]

        def attached() -> bool:
            found = self.c.describe_network_interfaces(NetworkInterfaceIds=[self.last_interface])
            return found["NetworkInterfaces"][0]["Attachment"]["Status"] == "attached"

        self._wait(attached, self.last_interface)
        return self.last_attachment

    def rich_interface(self) -> str:
        self.last_ip, self.last_ipv6 = self.free_ip(), self.free_ipv6()
        interface = self.new_interface(Ipv6Addresses=[{"Ipv6Address": self.last_ipv6}])
        self.c.assign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=[self.last_ip])
        return interface

    def associated_address(self) -> str:
        self.last_allocation = self.new_address()
        return self.c.associate_address(AllocationId=self.last_allocation, NetworkInterfaceId=self.new_interface())[
            "AssociationId"
        ]

    def vpc_association(self) -> str:
        self.last_vpc = self.new_vpc()
        association = self.c.associate_vpc_cidr_block(VpcId=self.last_vpc, CidrBlock="100.64.0.0/16")
        return association["CidrBlockAssociation"]["AssociationId"]

    def free_block(self) -> str:
        self._block = getattr(self, "_block", 15) + 1
        return f"{self.vpc_prefix}.{self._block % 240}.0/24"

    def free_ipv6_block(self) -> str:
        self._block6 = getattr(self, "_block6", 0) + 1
        network = self.ipv6_block.removesuffix("00::/56")
        return f"{network}{self._block6:02x}::/64"

    def vpc_and_block(self) -> dict[str, Any]:
        vpc = self.new_vpc()
        block = self.c.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"]
        return {"VpcId": vpc, "CidrBlock": block.replace("/16", "/24")}

    def plain_subnet(self) -> str:
        self.last_subnet = self.c.create_subnet(
            VpcId=self.vpc, CidrBlock=self.free_block(), AvailabilityZone=self.zone
        )["Subnet"]["SubnetId"]
        return self.last_subnet

    def dual_subnet(self) -> str:
        subnet = self.plain_subnet()
        self.c.associate_subnet_cidr_block(SubnetId=subnet, Ipv6CidrBlock=self.free_ipv6_block())
        return subnet

    def subnet_association(self) -> str:
        subnet = self.c.describe_subnets(SubnetIds=[self.dual_subnet()])["Subnets"][0]
        return subnet["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]

    def new_table(self) -> str:
        return self.c.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]

    def table_association(self) -> str:
        self.last_table = self.new_table()
        return self.c.associate_route_table(RouteTableId=self.last_table, SubnetId=self.plain_subnet())["AssociationId"]

    @cached_property
    def gateway(self) -> str:
        return self.internet_gateway(self.vpc)

    def table_with_route(self) -> str:
        table = self.new_table()
        self.c.create_route(RouteTableId=table, DestinationCidrBlock="10.199.0.0/16", GatewayId=self.gateway)
        return table

    def new_gateway(self) -> str:
        return self.c.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]

    def attached_gateway(self) -> tuple[str, str]:
        vpc = self.new_vpc()
        return self.internet_gateway(vpc), vpc

    @cached_property
    def egress_gateway(self) -> str:
        return self.new_egress_gateway()

    def new_egress_gateway(self) -> str:
        gateway = self.c.create_egress_only_internet_gateway(VpcId=self.vpc)["EgressOnlyInternetGateway"]
        return gateway["EgressOnlyInternetGatewayId"]

    def public_subnet(self) -> str:
        _ = self.gateway
        subnet = self.plain_subnet()
        block = self.c.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["CidrBlock"]
        self.last_subnet_ip = block.replace(".0/24", ".77")
        return subnet

    @cached_property
    def nat_gateway(self) -> str:
        return self.new_nat_gateway()

    def new_nat_gateway(self) -> str:
        return self.c.create_nat_gateway(SubnetId=self.public_subnet(), AllocationId=self.new_address())["NatGateway"][
            "NatGatewayId"
        ]

    def new_acl(self) -> str:
        return self.c.create_network_acl(VpcId=self.vpc)["NetworkAcl"]["NetworkAclId"]

    def acl_with_entry(self) -> str:
        acl = self.new_acl()
        self.c.create_network_acl_entry(
            NetworkAclId=acl,
            RuleNumber=7,
            Protocol="6",
            RuleAction="allow",
            Egress=False,
            CidrBlock="10.0.0.0/8",
            PortRange={"From": 22, "To": 22},
        )
        return acl

    def acl_association(self) -> str:
        subnet = self.plain_subnet()
        acls = self.c.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])
        (association,) = [
            one["NetworkAclAssociationId"]
            for one in acls["NetworkAcls"][0]["Associations"]
            if one["SubnetId"] == subnet
        ]
        return association

    @cached_property
    def owner(self) -> str:
        return self.c.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0]["OwnerId"]

    @cached_property
    def peering(self) -> str:
        return self.accepted_peering()

    def new_peering(self) -> str:
        peering = self.c.create_vpc_peering_connection(VpcId=self.vpc, PeerVpcId=self.new_vpc())
        return peering["VpcPeeringConnection"]["VpcPeeringConnectionId"]

    def accepted_peering(self) -> str:
        peering = self.new_peering()
        self.c.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
        return peering

    def new_template(self) -> str:
        self.last_template_name = self.name("template")
        self.last_template = self.c.create_launch_template(
            LaunchTemplateName=self.last_template_name, LaunchTemplateData={"InstanceType": "t3.small"}
        )["LaunchTemplate"]["LaunchTemplateId"]
        return self.last_template

    def template_of_two(self) -> str:
        template = self.new_template()
        self.c.create_launch_template_version(
            LaunchTemplateId=template, LaunchTemplateData={"InstanceType": "t3.large"}
        )
        return template

    def new_placement_group(self) -> str:
        name = self.name("pg")
        self.c.create_placement_group(GroupName=name)
        return name

    @cached_property
    def profile(self) -> str:
        return self.new_profile()

    def new_profile(self) -> str:
        name = self.name("profile")
        iam = self._client("iam")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return name

    def profile_association(self) -> str:
        answer = self.c.associate_iam_instance_profile(
            InstanceId=self.new_instance(), IamInstanceProfile={"Name": self.new_profile()}
        )
        return answer["IamInstanceProfileAssociation"]["AssociationId"]

    def shared_image(self, permissions: list[dict[str, str]]) -> str:
        image = self.new_image()
        self.c.modify_image_attribute(ImageId=image, LaunchPermission={"Add": permissions})
        return image

    def tagged_image(self) -> str:
        image = self.new_image()
        self.c.create_tags(Resources=[image], Tags=[{"Key": "k", "Value": "v"}])
        return image

    def tagged(self) -> str:
        vpc = self.new_vpc()
        self.c.create_tags(Resources=[vpc], Tags=[{"Key": "k", "Value": "v"}, {"Key": "other", "Value": "another"}])
        return vpc

    def _wait(self, check: Any, what: str) -> None:
        wait_until(check, what=what, deadline=Deadline.after(60), interval=0.02)


def without_chance(dump: object) -> str:
    """Write a dump as text in which whatever differs from one run to the next is left out."""
    return _VOLATILE.sub("*", json.dumps(_without_metadata(dump), default=str, sort_keys=True))


def _without_metadata(dump: Any) -> Any:
    if isinstance(dump, dict):
        return {key: _without_metadata(value) for key, value in dump.items() if key != "ResponseMetadata"}
    if isinstance(dump, (list, tuple)):
        return [_without_metadata(one) for one in dump]
    return dump
