"""An instance, with the launch parameters and termination behavior that moto lacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from pycloudlib.local.api.models.interface import private_dns_name
from pycloudlib.local.api.models.launch_options import LaunchOptions
from pycloudlib.local.api.moto_adapter import Instance, StateReason

logger = logging.getLogger(__name__)

_BURSTABLE = "BurstablePerformanceSupported"
_UNLIMITED_FAMILIES = ("t3", "t3a", "t4g")
"""The instance families in unlimited mode by default.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-unlimited-mode.html
"""


class LocalInstance(Instance):
    """An instance.

    moto creates the object. `InstanceRecords` then sets its class to this one, and calls `complete()`.
    """

    cpu_options: dict[str, int]
    cpu_credits: str | None
    private_dns_name_options: dict[str, Any]
    maintenance_options: dict[str, str]
    capacity_reservation_specification: dict[str, Any]
    enclave_options: Mapping[str, bool] = {"Enabled": False}
    spot_instance_request_id: str | None = None
    boot_mode: str | None = None
    current_instance_boot_mode = "legacy-bios"
    ena_support = True
    network_performance_options: Mapping[str, str] = {"BandwidthWeighting": "default"}
    operator: Mapping[str, bool] = {"Managed": False}
    platform_details = "Linux/UNIX"
    usage_operation = "RunInstances"

    def complete(self, options: LaunchOptions, cpu: dict[str, int], zone_id: str, type_data: Mapping[str, Any]) -> None:
        """Record the launch parameters that moto does not.

        Args:
            options: the options of the launch.
            cpu: the number of cores, and of threads per core.
            zone_id: the id of the availability zone.
            type_data: EC2's description of the instance type.
        """
        placement: Any = self.placement
        placement.availability_zone_id = zone_id
        placement.group_name = options.placement.get("GroupName") or ""
        placement.tenancy = options.placement.get("Tenancy") or "default"
        self.hibernation_options = {"Configured": False}
        self.change_type(self.instance_type, cpu, type_data)
        if self.cpu_credits is not None:
            self.cpu_credits = options.cpu_credits or self.cpu_credits
        self.private_dns_name_options = {
            "HostnameType": options.private_dns.get("HostnameType") or "ip-name",
            "EnableResourceNameDnsARecord": bool(options.private_dns.get("EnableResourceNameDnsARecord")),
            "EnableResourceNameDnsAAAARecord": bool(options.private_dns.get("EnableResourceNameDnsAAAARecord")),
        }
        if self.metadata_options.http_protocol_ipv6 == "enabled":
            log_once(
                "HttpProtocolIpv6 is recorded only: the metadata service answers at [fd00:ec2::254] with the "
                "namespaces network, and never with user networking"
            )
        self.maintenance_options = {"AutoRecovery": options.auto_recovery, "RebootMigration": "default"}
        self.capacity_reservation_specification = {"CapacityReservationPreference": options.capacity_preference}
        self.lifecycle = None if options.spot is None else "spot"
        self.client_token = options.client_token or ""
        self.boot_mode = getattr(self.ec2_backend.amis.get(self.image_id), "boot_mode", None)
        self.state_reason = StateReason("pending", "pending")

    def change_type(self, instance_type: str, cpu: dict[str, int], type_data: Mapping[str, Any]) -> None:
        """Set the instance type, and the CPU options and credit mode that depend on it.

        Args:
            instance_type: the instance type.
            cpu: the number of cores, and of threads per core.
            type_data: EC2's description of the instance type.
        """
        self.instance_type = instance_type
        self.cpu_options = cpu
        self.cpu_credits = default_credits(instance_type) if type_data[_BURSTABLE] else None

    @property
    def instance_id(self) -> str:
        """The instance id; moto derives the attribute's name from the class name."""
        return str(self.id)

    @property
    def usage_operation_update_time(self) -> datetime:
        """The time at which the usage operation last changed: the launch."""
        return self.launch_time

    @property
    def terminated(self) -> bool:
        """Whether the instance is terminated, and only its record remains."""
        return self.state == "terminated"

    @property
    def is_spot(self) -> bool:
        """Whether the instance is a spot instance, of the request `spot_instance_request_id`."""
        return self.lifecycle == "spot"

    @property
    def vpc_id(self) -> str | None:
        """The VPC id; None after termination."""
        return str(self.nics[0].subnet.vpc_id) if 0 in self.nics else None

    @property
    def subnet_id(self) -> str | None:
        """The subnet id; None after termination."""
        return str(self.nics[0].subnet.id) if 0 in self.nics else None

    @property
    def private_ip(self) -> str | None:
        """The primary private IPv4 address; None after termination."""
        return self.nics[0].private_ip_address if 0 in self.nics else None

    @property
    def private_ip_address(self) -> str | None:
        """The primary private IPv4 address; None after termination."""
        return self.private_ip

    @property
    def public_ip(self) -> str | None:
        """The public IPv4 address; None without one."""
        return self.nics[0].public_ip if 0 in self.nics else None

    @property
    def public_ip_address(self) -> str | None:
        """The public IPv4 address; None without one."""
        return self.public_ip

    @property
    def private_dns_name(self) -> str:
        """The private host name, from the private address or the instance id; "" after termination."""
        private_ip = self.private_ip
        if private_ip is None:
            return ""
        address_name = private_dns_name(private_ip, self.region_name)
        if self.private_dns_name_options["HostnameType"] == "ip-name":
            return address_name
        return f"{self.id}.{address_name.partition('.')[2]}"

    @property
    def public_dns_name(self) -> str:
        """The public host name; "" without a public address, or in a VPC without public host names."""
        primary: Any = self.nics.get(0)
        return str(primary.primary_public_name) if primary is not None else ""

    @property
    def ipv6_address(self) -> str | None:
        """The first IPv6 address of the primary interface; None without one."""
        addresses = self.nics[0].ipv6_addresses if 0 in self.nics else []
        return str(addresses[0]) if addresses else None


@cache
def log_once(message: str) -> None:
    """Log a message once per process."""
    logger.info("%s", message)


def default_credits(instance_type: str) -> str:
    """Return the default credit mode of a burstable instance type: "standard" or "unlimited"."""
    return "unlimited" if instance_type.partition(".")[0] in _UNLIMITED_FAMILIES else "standard"


def local_instance(instance: Instance) -> LocalInstance:
    """Narrow moto's `Instance` to `LocalInstance` for mypy."""
    assert isinstance(instance, LocalInstance)  # noqa: S101  (no others are made)
    return instance
