"""Network interfaces: made, attached, detached and deleted, and their private addresses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidNetworkAttachmentIdError,
    InvalidSecurityGroupNotFoundError,
)
from moto.ec2.models.elastic_network_interfaces import Attachment, NetworkInterface
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance

from pycloudlib.local.models.base import LocalRecords
from pycloudlib.local.models.interface import LocalInterface
from pycloudlib.local.models.subnet import LocalSubnet

logger = logging.getLogger(__name__)

_ENDED = {"shutting-down", "terminated"}
_CHANGEABLE = {"running", "stopped"}


class InterfaceRecords(LocalRecords):
    """The network interfaces of one account in one region."""

    def create_network_interface(
        self,
        subnet: Any,
        private_ip_address: str | list[str],
        private_ip_addresses: list[Any] | None = None,
        group_ids: list[str] | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        delete_on_termination: bool | None = False,
        **kwargs: Any,
    ) -> LocalInterface:
        """CreateNetworkInterface; a public address comes with the machine, not from moto."""
        place: Any = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
        kwargs |= self._left_out_at_launch(kwargs.get("device_index"))
        private_ip_addresses = kwargs.pop("private_ip_addresses", private_ip_addresses)
        one = private_ip_address[0] if isinstance(private_ip_address, list) else private_ip_address
        private = _private_ips(place, one, private_ip_addresses or [], int(kwargs.pop("secondary_ips_count", 0) or 0))
        kwargs["ipv6_addresses"] = _ipv6_ips(
            place, kwargs.get("ipv6_addresses") or [], int(kwargs.pop("ipv6_address_count", 0) or 0)
        )
        self._require_groups(place, group_ids or [])
        interface = LocalInterface(  # type: ignore[abstract]  # moto's base class is for CloudFormation
            self,
            place,
            private[0],
            [{"Primary": ip == private[0], "PrivateIpAddress": ip} for ip in private],
            group_ids=group_ids,
            description=description,
            tags=tags,
            delete_on_termination=delete_on_termination,
            **kwargs,
        )
        self.enis[interface.id] = interface
        return interface

    def interface(self, interface_id: str) -> LocalInterface:
        """A network interface.

        Raises:
            EC2ClientError: InvalidNetworkInterfaceID.NotFound.
        """
        return local_interface(self.get_network_interface(interface_id))

    def delete_network_interface(self, eni_id: str) -> None:
        """DeleteNetworkInterface, of one that is not attached."""
        interface = self.interface(eni_id)
        if interface.attachment_id is not None:
            raise EC2ClientError("InvalidParameterValue", f"Network interface '{eni_id}' is currently in use.")
        self.let_go_of(interface, interface.private_ips)
        super().delete_network_interface(eni_id)

    def let_go_of(self, interface: LocalInterface, private_ips: Sequence[str]) -> None:
        """Take away what leads to addresses of an interface; the noun above knows of elastic addresses."""

    def attach_network_interface(self, eni_id: str, instance_id: str, device_index: int) -> Attachment:
        """AttachNetworkInterface: the machine is told to plug it in."""
        interface = self.interface(eni_id)
        instance = self.get_instance(instance_id)
        index = int(device_index)
        self._check_attachment(interface, instance, index)
        instance.attach_eni(interface, index)
        self.interface_moved(interface)
        interface.attachment_status = "attaching"
        self.lives[instance.id].machine.attach_interface(interface.machine_attachment())
        attachment = interface.attachment
        assert attachment is not None  # noqa: S101  (it was just attached)
        return attachment

    def interface_moved(self, interface: LocalInterface) -> None:
        """Take note that an interface has another instance, or none."""
        for address in interface.elastic_addresses:
            address.instance = interface.instance

    def detach_network_interface(self, attachment_id: str) -> None:
        """DetachNetworkInterface: the guest is asked to let go of it."""
        interface = self.interface_of_attachment(attachment_id)
        instance = interface.instance
        assert instance is not None  # noqa: S101  (it is attached)
        if interface.device_index == 0:
            raise EC2ClientError(
                "OperationNotPermitted",
                "The network interface at device index 0 and networkCard index 0 cannot be detached.",
            )
        _require_changeable(instance)
        if interface.attachment_status == "detaching":
            return
        interface.attachment_status = "detaching"
        self.lives[instance.id].machine.detach_interface(interface.id)

    def interface_of_attachment(self, attachment_id: str) -> LocalInterface:
        """The network interface that an attachment ties to an instance.

        Raises:
            EC2ClientError: InvalidAttachmentID.NotFound.
        """
        for interface_id, interface in self.enis.items():
            if interface.attachment_id == attachment_id:
                return self.interface(interface_id)
        raise InvalidNetworkAttachmentIdError(attachment_id)

    def modify_network_interface_attribute(
        self,
        eni_id: str,
        group_ids: list[str],
        source_dest_check: bool | None = None,
        description: str | None = None,
    ) -> None:
        """ModifyNetworkInterfaceAttribute."""
        interface = self.interface(eni_id)
        self._require_groups(interface.subnet, group_ids)
        super().modify_network_interface_attribute(eni_id, group_ids, source_dest_check, description)
        if group_ids and interface.instance is not None and interface.device_index == 0:
            interface.instance.security_groups = list(interface.group_set)

    def modify_instance_security_groups(self, instance_id: str, new_group_id_list: list[str]) -> Instance:
        """ModifyInstanceAttribute of the security groups, which are the primary interface's."""
        self._require_groups(self.get_instance(instance_id).nics[0].subnet, new_group_id_list)
        instance = super().modify_instance_security_groups(instance_id, new_group_id_list)
        instance.nics[0]._group_set = list(instance.security_groups)
        return instance

    def set_interface_deletion(self, eni_id: str, attachment_id: str, *, delete: bool) -> None:
        """ModifyNetworkInterfaceAttribute: whether an interface goes with its instance."""
        interface = self.interface(eni_id)
        if attachment_id != interface.attachment_id:
            raise InvalidNetworkAttachmentIdError(attachment_id)
        interface.delete_on_termination = delete

    def assign_private_ips(self, eni_id: str, addresses: list[str], count: int) -> list[str]:
        """AssignPrivateIpAddresses: gives back those that are new."""
        interface = self.interface(eni_id)
        subnet = _subnet(interface)
        for address in addresses:
            subnet.require_free(address)
        chosen = list(addresses)
        subnet.require_room(count)
        for _ in range(count):
            chosen.append(subnet.choose(chosen))
        if interface.instance is not None:
            _require_ipv4_room(interface.instance, len(interface.private_ips) + len(chosen))
        interface.add_private_ips(chosen)
        self.interface_changed(interface)
        return chosen

    def unassign_private_ip_addresses(self, eni_id: str, private_ip_address: list[str] | None = None) -> LocalInterface:
        """UnassignPrivateIpAddresses."""
        interface = self.interface(eni_id)
        addresses = private_ip_address or []
        if set(addresses) - set(interface.private_ips[1:]):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Some of {addresses} are not secondary private addresses of interface {eni_id}",
            )
        self.let_go_of(interface, addresses)
        interface.remove_private_ips(addresses)
        self.interface_changed(interface)
        return interface

    def assign_ipv6_ips(self, eni_id: str, addresses: list[str], count: int) -> list[str]:
        """AssignIpv6Addresses: gives back those that are new."""
        interface = self.interface(eni_id)
        new = _ipv6_ips(_subnet(interface), addresses, len(addresses) + count)
        if interface.instance is not None:
            _require_ipv6_room(interface.instance, len(interface.ipv6_addresses) + len(new))
        interface.ipv6_addresses.extend(new)
        self.interface_changed(interface)
        return new

    def unassign_ipv6_addresses(self, eni_id: str, ips: list[str] | None = None) -> list[str]:
        """UnassignIpv6Addresses."""
        interface = self.interface(eni_id)
        if set(ips or []) - set(interface.ipv6_addresses):
            raise EC2ClientError("InvalidParameterValue", f"Some of {ips} are not assigned to interface {eni_id}")
        removed: list[str] = super().unassign_ipv6_addresses(eni_id, ips)
        self.interface_changed(interface)
        return removed

    def interface_changed(self, interface: LocalInterface) -> None:
        """Tell the machine of an interface's addresses, if it has one."""
        instance = interface.instance
        if instance is not None and instance.id in self.lives and instance.state not in _ENDED:
            self.lives[instance.id].machine.change_interface(interface.machine_attachment())

    def interfaces_of(self, instance: Instance) -> list[LocalInterface]:
        """An instance's network interfaces, the primary one first."""
        return [local_interface(interface) for _, interface in sorted(instance.nics.items())]

    def interface_attached(self, instance: Instance, interface_id: str) -> None:
        """The guest can use an interface."""
        for interface in self._attached(instance, interface_id):
            if interface.attachment_status == "attaching":
                interface.attachment_status = "attached"

    def interface_detached(self, instance: Instance, interface_id: str) -> None:
        """The guest has let go of an interface."""
        for interface in self._attached(instance, interface_id):
            instance.detach_eni(interface)
            self.interface_moved(interface)

    def interface_failed(self, instance: Instance, interface_id: str, detail: str) -> None:
        """The machine could not be given an interface."""
        for interface in self._attached(instance, interface_id):
            logger.warning("%s: %s could not be attached: %s", instance.id, interface.id, detail)
            instance.detach_eni(interface)
            self.interface_moved(interface)

    def give_public_ip(self, instance: Instance) -> None:
        """Give an instance a public address, if it is to have one and has none.

        Raises:
            LocalEC2Error: there is none.
        """
        primary = self.interfaces_of(instance)[0]
        if primary.public_ip_auto_assign and primary.public_ip is None:
            primary.auto_public_ip = self.cloud.driver.allocate_public_ip()

    def take_public_ip(self, instance: Instance) -> None:
        """Take away the public address that an instance was given: it does not outlast a stop."""
        primary = self.interfaces_of(instance)[0]
        if primary.auto_public_ip is not None:
            self.cloud.driver.release_public_ip(primary.auto_public_ip)
            primary.auto_public_ip = None

    def release_interfaces(self, instance: Instance) -> None:
        """Let a terminated instance's interfaces go: those that go with it are deleted, the others are free."""
        primary = instance.nics[0]
        for interface in self.interfaces_of(instance):
            instance.detach_eni(interface)
            self.interface_moved(interface)
            if interface.delete_on_termination:
                self.delete_network_interface(interface.id)
            # moto deletes it once more, and asks the primary one for the instance's addresses as long as it is listed.
            interface.delete_on_termination = False
        instance.nics = {0: primary}

    def _attached(self, instance: Instance, interface_id: str) -> list[LocalInterface]:
        if instance.state in _ENDED:
            return []
        return [interface for interface in self.interfaces_of(instance) if interface.id == interface_id]

    def _left_out_at_launch(self, device_index: int | None) -> dict[str, Any]:
        """What a launch says of an interface and moto does not hand on; the noun above knows."""
        return {}

    def _check_attachment(self, interface: LocalInterface, instance: Instance, index: int) -> None:
        require_available(interface)
        _require_changeable(instance)
        if index in instance.nics:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Instance '{instance.id}' already has an interface attached at device index '{index}'.",
            )
        if interface.availability_zone != instance.availability_zone:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "You may not attach a network interface to an instance if they are not in the same availability zone",
            )
        most = _limit(instance, "MaximumNetworkInterfaces")
        if len(instance.nics) >= most:
            raise EC2ClientError(
                "AttachmentLimitExceeded",
                f"Interface count {len(instance.nics) + 1} exceeds the limit for {instance.instance_type}",
            )
        _require_ipv4_room(instance, len(interface.private_ips))
        _require_ipv6_room(instance, len(interface.ipv6_addresses))

    def _require_groups(self, subnet: Any, group_ids: Sequence[str]) -> None:
        for group_id in group_ids:
            group = self.get_security_group_from_id(group_id)
            if group is None:
                raise InvalidSecurityGroupNotFoundError(group_id)
            if group.vpc_id != subnet.vpc_id:
                raise EC2ClientError(
                    "InvalidParameter",
                    f"Security group {group_id} and subnet {subnet.id} belong to different networks.",
                )


def local_interface(interface: NetworkInterface) -> LocalInterface:
    """Tell mypy what moto does not know."""
    assert isinstance(interface, LocalInterface)  # noqa: S101  (no others are made)
    return interface


def _subnet(interface: LocalInterface) -> LocalSubnet:
    subnet = interface.subnet
    assert isinstance(subnet, LocalSubnet)  # noqa: S101  (no others are made)
    return subnet


def _private_ips(subnet: LocalSubnet, primary: str | None, wanted: Sequence[Any], more: int) -> list[str]:
    """Choose or check an interface's private addresses, the primary one first."""
    specs = [{"PrivateIpAddress": one} if isinstance(one, str) else one for one in wanted]
    said = [one["PrivateIpAddress"] for one in specs if one.get("Primary")]
    if len(said) > 1:
        raise EC2ClientError("InvalidParameterValue", "Only one private address can be the primary one.")
    named = [one["PrivateIpAddress"] for one in specs]
    first = said[0] if said else primary
    ordered = list(dict.fromkeys([first, *named])) if first else named
    for address in ordered:
        subnet.require_free(address)
    count = max(1, len(ordered)) + more
    subnet.require_room(count)
    while len(ordered) < count:
        ordered.append(subnet.choose(ordered))
    return ordered


def _ipv6_ips(subnet: LocalSubnet, wanted: Sequence[str], count: int) -> list[str]:
    """Choose or check an interface's IPv6 addresses."""
    chosen = [subnet.require_free_ipv6(address) for address in wanted]
    if not wanted and not count and subnet.assign_ipv6_address_on_creation and subnet.ipv6_cidr:
        count = 1
    while len(chosen) < count:
        chosen.append(subnet.choose_ipv6(chosen))
    return chosen


def require_available(interface: LocalInterface) -> None:
    """Refuse an interface that is attached already.

    Raises:
        EC2ClientError: InvalidNetworkInterface.InUse.
    """
    if interface.attachment_id is not None:
        raise EC2ClientError("InvalidNetworkInterface.InUse", f"Interface: [{interface.id}] in use.")


def _require_changeable(instance: Instance) -> None:
    if instance.state not in _CHANGEABLE:
        raise EC2ClientError(
            "IncorrectState", f"Instance '{instance.id}' is not in a valid state for this operation: {instance.state}"
        )


def _require_ipv4_room(instance: Instance, count: int) -> None:
    if count > _limit(instance, "Ipv4AddressesPerInterface"):
        raise EC2ClientError(
            "PrivateIpAddressLimitExceeded",
            f"Number of private addresses will exceed limit of {instance.instance_type}.",
        )


def _require_ipv6_room(instance: Instance, count: int) -> None:
    if count > _limit(instance, "Ipv6AddressesPerInterface"):
        raise EC2ClientError(
            "Ipv6AddressLimitExceeded", f"Number of IPv6 addresses will exceed limit of {instance.instance_type}."
        )


def _limit(instance: Instance, name: str) -> int:
    known = INSTANCE_TYPES.get(instance.instance_type) or {}
    return int(known.get("NetworkInfo", {}).get(name, 1))
