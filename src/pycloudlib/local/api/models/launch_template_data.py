"""The launch template data that reproduces an instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycloudlib.local.api.models.instance import LocalInstance
from pycloudlib.local.api.moto_adapter import Volume


def launch_template_data(instance: LocalInstance, volumes: Mapping[str, Volume]) -> dict[str, Any]:
    """Return the launch template data of an instance (GetLaunchTemplateData).

    Args:
        instance: the instance.
        volumes: all volumes, by id.
    """
    placement: Any = instance.placement
    options = instance.metadata_options
    profile: Any = instance.iam_instance_profile
    data: dict[str, Any] = {
        "BlockDeviceMappings": [_device(name, mapped, volumes) for name, mapped in instance.get_block_device_mapping],
        "CapacityReservationSpecification": instance.capacity_reservation_specification,
        "CpuOptions": instance.cpu_options,
        "CreditSpecification": {"CpuCredits": instance.cpu_credits} if instance.cpu_credits else None,
        "DisableApiStop": bool(instance.disable_api_stop),
        "DisableApiTermination": bool(instance.disable_api_termination),
        "EbsOptimized": bool(instance.ebs_optimized),
        "EnclaveOptions": instance.enclave_options,
        "HibernationOptions": instance.hibernation_options,
        "IamInstanceProfile": {"Arn": profile["Arn"]} if profile else None,
        "ImageId": instance.image_id,
        "InstanceInitiatedShutdownBehavior": instance.instance_initiated_shutdown_behavior,
        "InstanceMarketOptions": {"MarketType": "spot"} if instance.is_spot else None,
        "InstanceType": instance.instance_type,
        "KeyName": instance.key_name,
        "MaintenanceOptions": instance.maintenance_options,
        "MetadataOptions": {
            "HttpTokens": options.http_tokens,
            "HttpPutResponseHopLimit": options.http_put_response_hop_limit,
            "HttpEndpoint": options.http_endpoint,
            "HttpProtocolIpv6": options.http_protocol_ipv6,
            "InstanceMetadataTags": options.instance_metadata_tags,
        },
        "Monitoring": {"Enabled": instance.monitored},
        "NetworkInterfaces": [_interface(index, interface) for index, interface in sorted(instance.nics.items())],
        "Placement": {
            "AvailabilityZone": placement.zone,
            "GroupName": placement.group_name,
            "Tenancy": placement.tenancy,
        },
        "PrivateDnsNameOptions": instance.private_dns_name_options,
        "TagSpecifications": _tags(instance),
        "UserData": str(instance.user_data) if instance.user_data else None,
    }
    return {name: value for name, value in data.items() if value is not None}


def _device(name: str, mapped: Any, volumes: Mapping[str, Any]) -> dict[str, Any]:
    volume = volumes[mapped.volume_id]
    ebs = {
        "DeleteOnTermination": bool(mapped.delete_on_termination),
        "Encrypted": bool(volume.encrypted),
        "Iops": volume.iops,
        "SnapshotId": volume.snapshot_id,
        "Throughput": volume.throughput,
        "VolumeSize": volume.size,
        "VolumeType": volume.volume_type,
    }
    return {"DeviceName": name, "Ebs": {member: value for member, value in ebs.items() if value is not None}}


def _interface(index: int, interface: Any) -> dict[str, Any]:
    return {
        "AssociatePublicIpAddress": bool(interface.public_ip_auto_assign),
        "DeleteOnTermination": bool(interface.delete_on_termination),
        "Description": interface.description or "",
        "DeviceIndex": index,
        "Groups": [group.id for group in interface.group_set],
        "InterfaceType": interface.interface_type,
        "Ipv6Addresses": [{"Ipv6Address": address} for address in interface.ipv6_addresses],
        "NetworkCardIndex": 0,
        "PrivateIpAddresses": [
            {"Primary": bool(address["Primary"]), "PrivateIpAddress": address["PrivateIpAddress"]}
            for address in interface.private_ip_addresses
        ],
        "SubnetId": interface.subnet.id,
    }


def _tags(instance: LocalInstance) -> list[dict[str, Any]]:
    # Launch templates cannot contain AWS-generated tags.
    tags = [
        {"Key": tag["key"], "Value": tag["value"]} for tag in instance.get_tags() if not tag["key"].startswith("aws:")
    ]
    return [{"ResourceType": "instance", "Tags": tags}] if tags else []
