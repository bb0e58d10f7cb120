"""What is left in an account, as EC2 itself tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leftovers(client: Any) -> list[str]:
    """The ids of everything that somebody made and nobody deleted; what EC2 makes by itself does not count.

    Args:
        client: a boto3 EC2 client.
    """
    return sorted(one for find in FINDERS for one in find(client))


def _instances(client: Any) -> Iterator[str]:
    for reservation in client.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] != "terminated":
                yield instance["InstanceId"]


def _listed(operation: str, key: str, id_key: str, **arguments: Any) -> Callable[[Any], Iterator[str]]:
    def find(client: Any) -> Iterator[str]:
        for found in getattr(client, operation)(**arguments)[key]:
            if not _made_by_ec2(found):
                yield found[id_key]

    return find


def _internet_gateways(client: Any) -> Iterator[str]:
    default = {one["VpcId"] for one in client.describe_vpcs()["Vpcs"] if one["IsDefault"]}
    for gateway in client.describe_internet_gateways()["InternetGateways"]:
        if not default & {one["VpcId"] for one in gateway["Attachments"]}:
            yield gateway["InternetGatewayId"]


def _made_by_ec2(found: dict[str, Any]) -> bool:
    return bool(
        found.get("IsDefault")
        or found.get("DefaultForAz")
        or found.get("GroupName") == "default"
        or any(association.get("Main") for association in found.get("Associations", []))
    )


FINDERS: list[Callable[[Any], Iterator[str]]] = [
    _instances,
    _listed("describe_volumes", "Volumes", "VolumeId"),
    _listed("describe_snapshots", "Snapshots", "SnapshotId", OwnerIds=["self"]),
    _listed("describe_images", "Images", "ImageId", Owners=["self"]),
    _listed("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    _listed("describe_addresses", "Addresses", "AllocationId"),
    _listed("describe_key_pairs", "KeyPairs", "KeyPairId"),
    _listed("describe_security_groups", "SecurityGroups", "GroupId"),
    _listed("describe_vpcs", "Vpcs", "VpcId"),
    _listed("describe_subnets", "Subnets", "SubnetId"),
    _listed("describe_route_tables", "RouteTables", "RouteTableId"),
    _internet_gateways,
]
