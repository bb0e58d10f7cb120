"""A network interface: its private addresses, and the public addresses associated with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycloudlib.local.api.moto_adapter import Attachment, NetworkInterface, security_groups_of
from pycloudlib.local.network.attachment import Address, NetworkAttachment


class ServiceAttachment(Attachment):
    """The attachment of an interface to an AWS service, such as a NAT gateway.

    Args:
        interface: the interface.
    """

    def __init__(self, interface: NetworkInterface) -> None:
        self.attach_time = interface.attach_time
        self.attachment_id = interface.attachment_id
        self.delete_on_termination = False
        self.device_index = 1
        self.network_card_index = 0
        self.instance_id = None  # type: ignore[assignment]  # moto knows attachments to instances only
        self.instance_owner_id = "amazon-aws"
        self.status = "attached"


class LocalInterface(NetworkInterface):
    """A network interface with a public address per private address."""

    operator: Mapping[str, bool] = {"Managed": False}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._elastic: dict[str, Any] = {}
        self._auto_public_ip: str | None = None
        self.attachment_status = "attached"
        super().__init__(*args, **kwargs)
        self._update_names()

    @property
    def network_interface_id(self) -> str:
        """The interface id; moto derives the attribute's name from the class name."""
        return str(self.id)

    @property
    def public_ip(self) -> str | None:
        """The public address of the primary private address; None without one."""
        return self.public_ip_of(str(self.private_ip_address))

    @public_ip.setter
    def public_ip(self, address: str | None) -> None:
        """No-op: the addresses that moto sets are not routed."""

    @property
    def auto_public_ip(self) -> str | None:
        """The auto-assigned public address, released when the instance stops; None without one."""
        return self._auto_public_ip

    @auto_public_ip.setter
    def auto_public_ip(self, address: str | None) -> None:
        self._auto_public_ip = address
        self._update_associations()

    def check_auto_public_ip(self) -> None:
        """No-op: the machine driver allocates public addresses, not moto."""

    def public_ip_of(self, private_ip: str) -> str | None:
        """Return the public address of a private address; None without one."""
        elastic = self._elastic.get(private_ip)
        if elastic is not None:
            return str(elastic.public_ip)
        return self._auto_public_ip if private_ip == self.private_ip_address else None

    @property
    def private_ips(self) -> tuple[str, ...]:
        """The private addresses, the primary one first."""
        return tuple(address["PrivateIpAddress"] for address in self.private_ip_addresses)

    @property
    def public_ips(self) -> dict[str, str]:
        """The private addresses by public address."""
        pairs = [(self.public_ip_of(private), private) for private in self.private_ips]
        return {public: private for public, private in pairs if public}

    @property
    def elastic_addresses(self) -> list[Any]:
        """The elastic addresses associated with the interface."""
        return list(self._elastic.values())

    def elastic_address_of(self, private_ip: str) -> Any:
        """Return the elastic address of a private address; None without one."""
        return self._elastic.get(private_ip)

    def set_elastic_address(self, private_ip: str, address: Any) -> None:
        """Associate an elastic address with a private address; None disassociates."""
        if address is None:
            self._elastic.pop(private_ip, None)
        else:
            self._elastic[private_ip] = address
        self._update_associations()

    def add_private_ips(self, addresses: list[str]) -> None:
        """Add secondary private addresses."""
        self.private_ip_addresses.extend({"Primary": False, "PrivateIpAddress": address} for address in addresses)
        self._update_names()

    def remove_private_ips(self, addresses: list[str]) -> None:
        """Remove private addresses."""
        self.private_ip_addresses[:] = [
            address for address in self.private_ip_addresses if address["PrivateIpAddress"] not in addresses
        ]

    @property
    def attachment(self) -> Attachment | None:
        """The attachment with its status; None if detached."""
        if self.attachment_id and self.instance is None:
            return ServiceAttachment(self)
        attachment = super().attachment
        if attachment is not None:
            attachment.status = self.attachment_status
        return attachment

    @property
    def association(self) -> dict[str, Any]:
        """The association of the primary private address; empty without one."""
        return self._association(str(self.private_ip_address))

    @property
    def instance_private_ip_address_list(self) -> list[dict[str, Any]]:
        """The private addresses, as DescribeInstances returns them."""
        return self.private_ip_addresses

    @property
    def group_set(self) -> Any:
        """The security groups of the interface."""
        return security_groups_of(self)

    def machine_attachment(self) -> NetworkAttachment:
        """Return the interface's description for its machine."""
        subnet: Any = self.subnet
        return NetworkAttachment(
            interface_id=self.id,
            mac=self.mac_address,
            addresses=tuple(Address(private, self.public_ip_of(private)) for private in self.private_ips),
            subnet=subnet.cidr_block,
            ipv6_addresses=tuple(self.ipv6_addresses),
            ipv6_subnet=subnet.ipv6_cidr,
        )

    def _association(self, private_ip: str) -> dict[str, Any]:
        public_ip = self.public_ip_of(private_ip)
        if public_ip is None:
            return {}
        elastic = self._elastic.get(private_ip)
        association = {
            "IpOwnerId": elastic.owner_id if elastic else "amazon",
            "PublicIp": public_ip,
            "PublicDnsName": self._public_name(public_ip),
        }
        if elastic is not None:
            association["AllocationId"] = elastic.allocation_id
            association["AssociationId"] = elastic.association_id
        return association

    def _public_name(self, public_ip: str) -> str:
        vpc = self.ec2_backend.get_vpc(self.subnet.vpc_id)
        named = is_true(vpc.enable_dns_support) and is_true(vpc.enable_dns_hostnames)
        return public_dns_name(public_ip, self.ec2_backend.region_name) if named else ""

    @property
    def primary_public_name(self) -> str:
        """The public host name of the primary private address; "" without one."""
        return str(self.association.get("PublicDnsName", ""))

    def public_names_changed(self) -> None:
        """Update the public host names after a change of the VPC's DNS attributes."""
        self._update_associations()

    def _update_associations(self) -> None:
        for address in self.private_ip_addresses:
            address.pop("Association", None)
            association = self._association(address["PrivateIpAddress"])
            if association:
                address["Association"] = association

    def _update_names(self) -> None:
        for address in self.private_ip_addresses:
            address["PrivateDnsName"] = private_dns_name(address["PrivateIpAddress"], self.ec2_backend.region_name)
        self.private_dns_name = private_dns_name(str(self.private_ip_address), self.ec2_backend.region_name)


def is_true(attribute: Any) -> bool:
    """Return the value of a VPC attribute, which moto keeps as a text or a boolean."""
    return str(attribute).lower() == "true"


def private_dns_name(private_ip: str, region: str) -> str:
    """Return EC2's private host name of an address.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/hostname-types.html
    """
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{private_ip.replace('.', '-')}.{domain}"


def public_dns_name(public_ip: str, region: str) -> str:
    """Return EC2's public host name of an address."""
    domain = "compute-1.amazonaws.com" if region == "us-east-1" else f"{region}.compute.amazonaws.com"
    return f"ec2-{public_ip.replace('.', '-')}.{domain}"
