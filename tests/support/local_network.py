"""Short words for what is asked of a local EC2 about networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pycloudlib.deadline import Deadline
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@dataclass(frozen=True)
class Network:
    vpc_id: str
    subnet_id: str
    ipv6_cidr: str


Launch = Callable[..., str]


def describe(client: EC2Client, instance_id: str) -> dict[str, Any]:
    return client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def wait_for(client: EC2Client, instance_id: str, state: str) -> None:
    def reached() -> bool:
        return describe(client, instance_id)["State"]["Name"] == state

    wait_until(reached, what=f"{instance_id} to be {state}", deadline=Deadline.after(60), interval=0.02)


def interface(client: EC2Client, interface_id: str) -> dict[str, Any]:
    return client.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"][0]


def primary(client: EC2Client, instance_id: str) -> str:
    return describe(client, instance_id)["NetworkInterfaces"][0]["NetworkInterfaceId"]


def create(client: EC2Client, subnet_id: str, **parameters: Any) -> str:
    return client.create_network_interface(SubnetId=subnet_id, **parameters)["NetworkInterface"]["NetworkInterfaceId"]


def attach(client: EC2Client, interface_id: str, instance_id: str, index: int = 1) -> str:
    attached = client.attach_network_interface(
        NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=index
    )

    def done() -> bool:
        return interface(client, interface_id)["Attachment"]["Status"] == "attached"

    wait_until(done, what=f"{interface_id} to be attached", deadline=Deadline.after(60), interval=0.02)
    return attached["AttachmentId"]


def detach(client: EC2Client, interface_id: str, attachment_id: str) -> None:
    client.detach_network_interface(AttachmentId=attachment_id)

    def done() -> bool:
        return interface(client, interface_id)["Status"] == "available"

    wait_until(done, what=f"{interface_id} to be detached", deadline=Deadline.after(60), interval=0.02)


def private_ips(described: dict[str, Any]) -> list[str]:
    return [one["PrivateIpAddress"] for one in described["PrivateIpAddresses"]]
