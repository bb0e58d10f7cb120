"""One of each resource in a local EC2, and the parameters that name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def populate(client: EC2Client, image_id: str) -> dict[str, str]:
    """Create the resources.

    Returns:
        Their ids, by the last part of the names of parameters that take them.
    """
    vpc_id = client.create_vpc(CidrBlock="192.168.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    subnet_id = client.create_subnet(VpcId=vpc_id, CidrBlock="192.168.1.0/24")["Subnet"]["SubnetId"]
    gateway_id = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    client.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    table_id = client.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    group_id = client.create_security_group(GroupName="web", Description="web", VpcId=vpc_id)["GroupId"]
    instance = client.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)["Instances"][0]
    volume_id = client.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    snapshot_id = client.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    interface_id = client.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    address = client.allocate_address(Domain="vpc")
    template = client.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": image_id})
    options = client.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": ["example.com"]}])
    acl_id = client.create_network_acl(VpcId=vpc_id)["NetworkAcl"]["NetworkAclId"]
    client.create_key_pair(KeyName="mine")
    client.create_placement_group(GroupName="near", Strategy="cluster")
    return {
        "VpcId": vpc_id,
        "SubnetId": subnet_id,
        "InternetGatewayId": gateway_id,
        "GatewayId": gateway_id,
        "RouteTableId": table_id,
        "GroupId": group_id,
        "SecurityGroupId": group_id,
        "InstanceId": instance["InstanceId"],
        "ResourceId": instance["InstanceId"],
        "ImageId": image_id,
        "SourceImageId": image_id,
        "SourceRegion": "us-east-1",
        "VolumeId": volume_id,
        "SnapshotId": snapshot_id,
        "SourceSnapshotId": snapshot_id,
        "NetworkInterfaceId": interface_id,
        "AllocationId": address["AllocationId"],
        "PublicIp": address["PublicIp"],
        "LaunchTemplateId": template["LaunchTemplate"]["LaunchTemplateId"],
        "LaunchTemplateName": "web",
        "DhcpOptionsId": options["DhcpOptions"]["DhcpOptionsId"],
        "NetworkAclId": acl_id,
        "KeyName": "mine",
        "GroupName": "near",
        "AvailabilityZone": "us-east-1a",
        "DestinationCidrBlock": "10.0.0.0/8",
        "CidrBlock": "192.168.7.0/24",
        "CidrIp": "10.0.0.0/8",
        "IpProtocol": "tcp",
        "InstanceType": "t3.small",
        "DeviceName": "/dev/sdf",
        "Device": "/dev/sdg",
        "Attribute": "userData",
    }
