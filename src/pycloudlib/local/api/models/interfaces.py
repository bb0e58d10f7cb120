"""Network interfaces: creation, attachment, private addresses, and deletion."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.models.interface import LocalInterface
from pycloudlib.local.api.models.subnet import LocalSubnet
from pycloudlib.local.api.moto_adapter import (
    INSTANCE_TYPES,
    Attachment,
    EC2ClientError,
    Instance,
    InvalidNetworkAttachmentIdError,
    InvalidSecurityGroupNotFoundError,
    NetworkInterface,
    set_security_groups,
)
from pycloudlib.local.machines.commands import ChangeInterface, End, Outcome, Plug, Unplug

logger = logging.getLogger(__name__)

_ENDED = {"shutting-down", "terminated"}
_CHANGEABLE = {"running", "stopped"}

MOST_IPV6 = 64
"""The maximum number of IPv6 addresses of an interface, which the largest instance types have."""


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
        """Create a network interface (CreateNetworkInterface).

        Its public address comes from the machine driver.

        Raises:
            EC2ClientError: an address or a security group is invalid.
        """
        subnet_record: Any = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
        kwargs |= self._dropped_at_launch(kwargs.get("device_index"))
        description = kwargs.pop("description", description)
        private_ip_addresses = kwargs.pop("private_ip_addresses", private_ip_addresses)
        primary_ip = private_ip_address[0] if isinstance(private_ip_address, list) else private_ip_address
        private = _private_ips(
            subnet_record, primary_ip, private_ip_addresses or [], int(kwargs.pop("secondary_ips_count", 0) or 0)
        )
        kwargs["ipv6_addresses"] = _ipv6_ips(
            subnet_record, kwargs.get("ipv6_addresses") or [], kwargs.pop("ipv6_address_count", None)
        )
        self._require_groups(subnet_record, group_ids or [])
        interface = LocalInterface(  # type: ignore[abstract]  # moto's base class is for CloudFormation
            self,
            subnet_record,
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
        """Return a network interface.

        Raises:
            EC2ClientError: the id is unknown (InvalidNetworkInterfaceID.NotFound).
        """
        return local_interface(self.get_network_interface(interface_id))

    def delete_network_interface(self, eni_id: str) -> None:
        """Delete a detached network interface (DeleteNetworkInterface)."""
        interface = self.interface(eni_id)
        if interface.attachment_id is not None:
            raise EC2ClientError("InvalidParameterValue", f"Network interface '{eni_id}' is currently in use.")
        self.disassociate_addresses(interface, interface.private_ips)
        super().delete_network_interface(eni_id)

    def disassociate_addresses(self, interface: LocalInterface, private_ips: Sequence[str]) -> None:
        """Disassociate the elastic addresses of private addresses. AddressRecords overrides this."""

    def attach_network_interface(self, eni_id: str, instance_id: str, device_index: int) -> Attachment:
        """Attach an interface, and plug it into the machine (AttachNetworkInterface)."""
        interface = self.interface(eni_id)
        instance = self.get_instance(instance_id)
        index = int(device_index)
        self._check_attachment(interface, instance, index)
        instance.attach_eni(interface, index)
        self.interface_moved(interface)
        interface.attachment_status = "attaching"
        self.controllers[instance.id].machine.submit(
            Plug(interface.machine_attachment()), partial(self._interface_plugged, instance, interface.id)
        )
        attachment = interface.attachment
        assert attachment is not None  # noqa: S101  (it was just attached)
        return attachment

    def interface_moved(self, interface: LocalInterface) -> None:
        """Update an interface's elastic addresses after it was attached or detached."""
        for address in interface.elastic_addresses:
            address.instance = interface.instance

    def detach_network_interface(self, attachment_id: str, force: bool = False) -> None:
        """Detach an interface once the guest has released it; with `force`, at once (DetachNetworkInterface)."""
        interface = self.interface_of_attachment(attachment_id)
        instance = interface.instance
        if instance is None:
            raise EC2ClientError("OperationNotPermitted", "You are not allowed to manage 'ela-attach' attachments.")
        if interface.device_index == 0:
            raise EC2ClientError(
                "OperationNotPermitted",
                "The network interface at device index 0 and networkCard index 0 cannot be detached.",
            )
        _require_changeable(instance)
        if interface.attachment_status == "detaching" and not force:
            return
        interface.attachment_status = "detaching"
        self.controllers[instance.id].machine.submit(
            Unplug(interface.id, force=force), partial(self._interface_unplugged, instance, interface.id)
        )

    def interface_of_attachment(self, attachment_id: str) -> LocalInterface:
        """Return the network interface of an attachment.

        Raises:
            EC2ClientError: the attachment id is unknown (InvalidAttachmentID.NotFound).
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
        """Change the groups, the source/destination check, or the description (ModifyNetworkInterfaceAttribute)."""
        interface = self.interface(eni_id)
        self._require_groups(interface.subnet, group_ids)
        super().modify_network_interface_attribute(eni_id, group_ids, source_dest_check, description)
        if group_ids and interface.instance is not None and interface.device_index == 0:
            interface.instance.security_groups = list(interface.group_set)

    def modify_instance_security_groups(self, instance_id: str, new_group_id_list: list[str]) -> Instance:
        """Change the security groups of an instance's primary interface (ModifyInstanceAttribute)."""
        instance = self.get_instance(instance_id)
        require_interfaces(instance)
        self._require_groups(instance.nics[0].subnet, new_group_id_list)
        instance = super().modify_instance_security_groups(instance_id, new_group_id_list)
        set_security_groups(instance.nics[0], list(instance.security_groups))
        return instance

    def set_interface_deletion(self, eni_id: str, attachment_id: str, *, delete: bool) -> None:
        """Set DeleteOnTermination of an attachment (ModifyNetworkInterfaceAttribute)."""
        interface = self.interface(eni_id)
        if attachment_id != interface.attachment_id:
            raise InvalidNetworkAttachmentIdError(attachment_id)
        interface.delete_on_termination = delete

    def assign_private_ips(self, eni_id: str, addresses: list[str], count: int) -> list[str]:
        """Assign private addresses, and return the new ones (AssignPrivateIpAddresses)."""
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
        """Remove secondary private addresses, and disassociate their elastic addresses (UnassignPrivateIpAddresses)."""
        interface = self.interface(eni_id)
        addresses = private_ip_address or []
        if set(addresses) - set(interface.private_ips[1:]):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Some of {addresses} are not secondary private addresses of interface {eni_id}",
            )
        self.disassociate_addresses(interface, addresses)
        interface.remove_private_ips(addresses)
        self.interface_changed(interface)
        return interface

    def assign_ipv6_ips(self, eni_id: str, addresses: list[str], count: int) -> list[str]:
        """Assign IPv6 addresses, and return the new ones (AssignIpv6Addresses)."""
        interface = self.interface(eni_id)
        assigned = _ipv6_ips(_subnet(interface), addresses, len(addresses) + count)
        if interface.instance is not None:
            _require_ipv6_room(interface.instance, len(interface.ipv6_addresses) + len(assigned))
        interface.ipv6_addresses.extend(assigned)
        self.interface_changed(interface)
        return assigned

    def unassign_ipv6_addresses(self, eni_id: str, ips: list[str] | None = None) -> list[str]:
        """Remove IPv6 addresses, and return the removed ones (UnassignIpv6Addresses)."""
        interface = self.interface(eni_id)
        if set(ips or []) - set(interface.ipv6_addresses):
            raise EC2ClientError("InvalidParameterValue", f"Some of {ips} are not assigned to interface {eni_id}")
        removed: list[str] = super().unassign_ipv6_addresses(eni_id, ips)
        self.interface_changed(interface)
        return removed

    def interface_changed(self, interface: LocalInterface) -> None:
        """Send an interface's addresses to its machine, if it is attached to one."""
        instance = interface.instance
        if instance is not None and instance.id in self.controllers and instance.state not in _ENDED:
            self.controllers[instance.id].machine.submit(
                ChangeInterface(interface.machine_attachment()), partial(_log_failure, interface.id)
            )

    def interfaces_of(self, instance: Instance) -> list[LocalInterface]:
        """Return an instance's network interfaces, the primary one first."""
        return [local_interface(interface) for _, interface in sorted(instance.nics.items())]

    def _interface_plugged(self, instance: Instance, interface_id: str, end: End) -> None:
        """Set the interface to attached, or back to available if the attachment failed."""
        with self.cloud.lock:
            _log_failure(interface_id, end)
            for interface in self._attached(instance, interface_id, "attaching"):
                if end.outcome is Outcome.DONE:
                    interface.attachment_status = "attached"
                elif end.outcome is Outcome.FAILED:
                    self._detach_interface(instance, interface)

    def _interface_unplugged(self, instance: Instance, interface_id: str, end: End) -> None:
        """Detach the interface, or set it back to attached if the guest did not release it."""
        with self.cloud.lock:
            _log_failure(interface_id, end)
            for interface in self._attached(instance, interface_id, "detaching"):
                if end.outcome is Outcome.DONE:
                    self._detach_interface(instance, interface)
                elif end.outcome is Outcome.FAILED:
                    interface.attachment_status = "attached"

    def give_public_ip(self, instance: Instance) -> None:
        """Allocate a public address for an instance that auto-assigns one and has none.

        Raises:
            LocalEC2Error: no public address is free.
        """
        primary = self.interfaces_of(instance)[0]
        if primary.public_ip_auto_assign and primary.public_ip is None:
            primary.auto_public_ip = self.cloud.driver.allocate_public_ip()

    def take_public_ip(self, instance: Instance) -> None:
        """Release an instance's auto-assigned public address, as EC2 does when the instance stops."""
        primary = self.interfaces_of(instance)[0]
        if primary.auto_public_ip is not None:
            self.cloud.driver.release_public_ip(primary.auto_public_ip)
            primary.auto_public_ip = None

    def release_interfaces(self, instance: Instance) -> None:
        """Detach a terminated instance's interfaces, and delete those with DeleteOnTermination."""
        for interface in self.interfaces_of(instance):
            self._detach_interface(instance, interface)
            if interface.delete_on_termination:
                self.delete_network_interface(interface.id)
        instance.security_groups = []

    def _detach_interface(self, instance: Instance, interface: LocalInterface) -> None:
        instance.detach_eni(interface)
        interface.attachment_status = "attached"  # the initial status, for the next launch with it
        self.interface_moved(interface)

    def _attached(self, instance: Instance, interface_id: str, status: str) -> list[LocalInterface]:
        if instance.state in _ENDED:
            return []
        interfaces = [interface for interface in self.interfaces_of(instance) if interface.id == interface_id]
        return [interface for interface in interfaces if interface.attachment_status == status]

    def _dropped_at_launch(self, device_index: int | None) -> dict[str, Any]:
        """Return launch parameters of an interface that moto drops. LaunchInterfaceRecords overrides this."""
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
        maximum = _limit(instance, "MaximumNetworkInterfaces")
        if len(instance.nics) >= maximum:
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


def _log_failure(interface_id: str, end: End) -> None:
    if end.outcome is Outcome.FAILED:
        logger.warning("%s could not be changed: %s", interface_id, end.detail)


def local_interface(interface: NetworkInterface) -> LocalInterface:
    """Narrow moto's `NetworkInterface` to `LocalInterface` for mypy."""
    assert isinstance(interface, LocalInterface)  # noqa: S101  (no others are made)
    return interface


def _subnet(interface: LocalInterface) -> LocalSubnet:
    subnet = interface.subnet
    assert isinstance(subnet, LocalSubnet)  # noqa: S101  (no others are made)
    return subnet


def _private_ips(subnet: LocalSubnet, primary: str | None, requested: Sequence[Any], secondary_count: int) -> list[str]:
    """Choose or validate an interface's private addresses, the primary one first."""
    specs = [{"PrivateIpAddress": spec} if isinstance(spec, str) else spec for spec in requested]
    if not all(spec.get("PrivateIpAddress") for spec in specs):
        raise EC2ClientError("MissingParameter", "The request must contain the parameter privateIpAddress")
    primary_ips = [spec["PrivateIpAddress"] for spec in specs if spec.get("Primary")]
    if len(primary_ips) > 1:
        raise EC2ClientError("InvalidParameterValue", "Only one private address can be the primary one.")
    named = [spec["PrivateIpAddress"] for spec in specs]
    first = primary_ips[0] if primary_ips else primary
    ordered = list(dict.fromkeys([first, *named])) if first else named
    for address in ordered:
        subnet.require_free(address)
    count = max(1, len(ordered)) + secondary_count
    subnet.require_room(count)
    while len(ordered) < count:
        ordered.append(subnet.choose(ordered))
    return ordered


def _ipv6_ips(subnet: LocalSubnet, requested: Sequence[str], count: int | None) -> list[str]:
    """Choose or validate an interface's IPv6 addresses; without a count, as many as the subnet assigns."""
    chosen = [subnet.require_free_ipv6(address) for address in requested]
    if count is None:
        count = 0 if requested else subnet.assigned_ipv6_count
    if count > MOST_IPV6:
        raise EC2ClientError(
            "Ipv6AddressLimitExceeded", f"A network interface has at most {MOST_IPV6} IPv6 addresses, not {count}."
        )
    while len(chosen) < count:
        chosen.append(subnet.choose_ipv6(chosen))
    return chosen


def require_interfaces(instance: Instance) -> None:
    """Reject a terminated instance, which has no interfaces.

    Raises:
        EC2ClientError: the instance has no interfaces (IncorrectInstanceState).
    """
    if not instance.nics:
        raise EC2ClientError(
            "IncorrectInstanceState",
            f"The {instance.state} instance '{instance.id}' is not in a valid state for this operation.",
        )


def require_available(interface: LocalInterface) -> None:
    """Reject an attached interface.

    Raises:
        EC2ClientError: the interface is attached (InvalidNetworkInterface.InUse).
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
    description = INSTANCE_TYPES.get(instance.instance_type) or {}
    return int(description.get("NetworkInfo", {}).get(name, 1))
