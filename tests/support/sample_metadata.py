"""Metadata of an instance, to test with."""

from __future__ import annotations

from pycloudlib.local.network.metadata import InstanceMetadata, InterfaceMetadata

MAC = "02:00:00:6f:be:53"
INTERFACE = InterfaceMetadata(
    mac=MAC,
    interface_id="eni-0123456789abcdef0",
    device_number=0,
    private_ips=("172.31.0.4", "172.31.0.5"),
    public_ips=("127.1.2.3",),
    ipv6_ips=(),
    subnet_id="subnet-1",
    subnet_cidr="172.31.0.0/20",
    subnet_ipv6_cidrs=(),
    vpc_id="vpc-1",
    vpc_cidrs=("172.31.0.0/16",),
    vpc_ipv6_cidrs=(),
    security_groups=("default",),
    security_group_ids=("sg-1",),
    owner_id="123456789012",
    local_hostname="ip-172-31-0-4.ec2.internal",
    public_hostname="ec2-127-1-2-3.compute-1.amazonaws.com",
)
INSTANCE = InstanceMetadata(
    instance_id="i-0123456789abcdef0",
    image_id="ami-0123456789abcdef0",
    instance_type="t3.micro",
    architecture="x86_64",
    account_id="123456789012",
    region="us-east-1",
    availability_zone="us-east-1a",
    reservation_id="r-1",
    launch_index=0,
    pending_time="2026-01-05T06:00:00Z",
    key_name="my-key",
    public_key="ssh-ed25519 AAAA me",
    user_data=b"#!/bin/sh\n\xff\x00",
    block_devices={"ami": "xvda", "root": "/dev/xvda"},
    interfaces=(INTERFACE,),
    tokens_required=False,
    enabled=True,
    tags=None,
    availability_zone_id="use1-az6",
    placement_group="near",
    spot=True,
)
