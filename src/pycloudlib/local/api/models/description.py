"""The contents of an instance's metadata service, read from moto's records."""

from __future__ import annotations

import base64
from typing import Any

from pycloudlib.local.api.models.instance_types import describe_type
from pycloudlib.local.api.moto_adapter import Instance
from pycloudlib.local.network.metadata import InstanceMetadata, InterfaceMetadata


def instance_metadata(instance: Instance, reservation_id: str, public_key: str) -> InstanceMetadata:
    """Return an instance's current metadata.

    Args:
        instance: moto's record of the instance.
        reservation_id: the reservation of the launch.
        public_key: the public key in OpenSSH format; "" without a key pair.
    """
    options = instance.metadata_options
    placement: Any = instance.placement
    return InstanceMetadata(
        instance_id=instance.id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        architecture=str(instance.architecture),
        account_id=instance.owner_id,
        region=instance.region_name,
        availability_zone=str(instance.availability_zone),
        reservation_id=reservation_id,
        launch_index=int(instance.ami_launch_index),
        pending_time=f"{instance.launch_time:%Y-%m-%dT%H:%M:%SZ}",
        key_name=str(instance.key_name or ""),
        public_key=public_key,
        user_data=user_data(instance),
        block_devices=_block_devices(instance),
        interfaces=tuple(
            _interface(index, eni, instance)
            for index, eni in sorted(instance.nics.items())
            if getattr(eni, "attachment_status", None) != "detaching"
        ),
        tokens_required=options.http_tokens == "required",
        enabled=options.http_endpoint != "disabled",
        availability_zone_id=placement.availability_zone_id,
        placement_group=placement.group_name,
        spot=instance.lifecycle == "spot",
        system=str(describe_type(instance.instance_type).get("Hypervisor", "nitro")),
        tags=_tags(instance) if options.instance_metadata_tags == "enabled" else None,
        spot_interruption=instance.ec2_backend.interruption_of(instance),
        instance_profile=instance.ec2_backend.profile_metadata(instance),
    )


def user_data(instance: Instance) -> bytes | None:
    """Decode an instance's user data; return None without user data."""
    if instance.user_data is None:
        return None
    return base64.b64decode(instance.user_data.as_bytes()) or None


def _block_devices(instance: Instance) -> dict[str, str]:
    root = instance.root_device_name.removeprefix("/dev/")
    extra = [name.removeprefix("/dev/") for name in instance.block_device_mapping]
    names = {f"ebs{number}": name for number, name in enumerate((name for name in extra if name != root), start=1)}
    return {"ami": root, "root": instance.root_device_name, **names}


def _tags(instance: Instance) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in instance.get_tags()}


def _interface(index: int, eni: Any, instance: Instance) -> InterfaceMetadata:
    vpc = instance.ec2_backend.get_vpc(eni.subnet.vpc_id)
    return InterfaceMetadata(
        mac=eni.mac_address,
        interface_id=eni.id,
        device_number=index,
        private_ips=tuple(address["PrivateIpAddress"] for address in eni.private_ip_addresses),
        public_ips=tuple(eni.public_ips),
        associations=eni.public_ips,
        ipv6_ips=tuple(eni.ipv6_addresses),
        subnet_id=eni.subnet.id,
        subnet_cidr=eni.subnet.cidr_block,
        subnet_ipv6_cidrs=(eni.subnet.ipv6_cidr,) if eni.subnet.ipv6_cidr else (),
        vpc_id=vpc.id,
        vpc_cidrs=(vpc.cidr_block,),
        vpc_ipv6_cidrs=tuple(
            association["cidr_block"] for association in vpc.get_cidr_block_association_set(ipv6=True)
        ),
        security_groups=tuple(group.name for group in eni.group_set),
        security_group_ids=tuple(group.id for group in eni.group_set),
        owner_id=eni.owner_id,
        local_hostname=instance.private_dns_name if index == 0 else eni.private_dns_name,
        public_hostname=eni.primary_public_name,
    )
