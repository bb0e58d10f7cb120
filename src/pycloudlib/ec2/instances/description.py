"""The description of an instance, as EC2 gives it (DescribeInstances, RunInstances)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any


class InstanceState(Enum):
    """The states of an instance, as EC2 names them."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"

    @property
    def is_ending(self) -> bool:
        """Whether the instance is terminating or terminated, which is final."""
        return self in (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class InstanceDescription:
    """The description of an instance at one moment (DescribeInstances).

    Args:
        instance_id: the instance id, such as "i-0123456789abcdef0".
        state: the state.
        state_reason: EC2's reason for the state; empty if EC2 gives none.
        image_id: the AMI from which the instance was launched.
        instance_type: the instance type, such as "t3.micro".
        public_ip: the public IPv4 address; None without one.
        private_ip: the private IPv4 address; None without one.
        ipv6: the primary IPv6 address, or else the first one; None without one.
        public_dns_name: the public DNS name; empty without one.
        private_dns_name: the private DNS name; empty without one.
        availability_zone: the availability zone, such as "eu-central-1a".
        tags: the tags.
        launched: the launch time; None if EC2 does not report it.
    """

    instance_id: str
    state: InstanceState
    state_reason: str = ""
    image_id: str = ""
    instance_type: str = ""
    public_ip: str | None = None
    private_ip: str | None = None
    ipv6: str | None = None
    public_dns_name: str = ""
    private_dns_name: str = ""
    availability_zone: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    launched: datetime | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> InstanceDescription:
        """Parse an instance of a RunInstances or DescribeInstances response."""
        reason = record.get("StateReason", {}).get("Message", "") or record.get("StateTransitionReason", "")
        return cls(
            instance_id=record["InstanceId"],
            state=InstanceState(record["State"]["Name"]),
            state_reason=reason,
            image_id=record.get("ImageId", ""),
            instance_type=record.get("InstanceType", ""),
            public_ip=record.get("PublicIpAddress") or None,
            private_ip=record.get("PrivateIpAddress") or None,
            ipv6=_ipv6_of(record),
            public_dns_name=record.get("PublicDnsName", ""),
            private_dns_name=record.get("PrivateDnsName", ""),
            availability_zone=record.get("Placement", {}).get("AvailabilityZone", ""),
            tags=MappingProxyType({tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}),
            launched=record.get("LaunchTime"),
        )

    @property
    def address(self) -> str | None:
        """The address to connect to: public IPv4, or else private IPv4, or else IPv6; None without any."""
        return self.public_ip or self.private_ip or self.ipv6

    def __str__(self) -> str:
        reason = f" ({self.state_reason})" if self.state_reason else ""
        return f"{self.state}{reason}"


def _ipv6_of(record: Mapping[str, Any]) -> str | None:
    """Return the primary IPv6 address, or else the first one of the first interface."""
    if record.get("Ipv6Address"):
        return str(record["Ipv6Address"])
    interfaces = sorted(
        record.get("NetworkInterfaces", []), key=lambda interface: interface.get("Attachment", {}).get("DeviceIndex", 0)
    )
    addresses = [address for interface in interfaces for address in interface.get("Ipv6Addresses", [])]
    addresses.sort(key=lambda address: not address.get("IsPrimaryIpv6", False))
    return str(addresses[0]["Ipv6Address"]) if addresses else None
