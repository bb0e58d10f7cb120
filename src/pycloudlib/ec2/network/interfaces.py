"""Network interfaces: creation, attachment, detachment, and deletion."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent, ignore_already_attached, when_free
from pycloudlib.ec2.api.creating import CreateRequest, create
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.retries import PASSING_CODES, TRANSIENT_CODES
from pycloudlib.errors import CloudError, NetworkNotFoundError, NoResponseError, PermissionDeniedError
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

KIND = "network interface"

ATTACH_TIMEOUT = 120.0
"""Seconds to attach or detach an interface."""

POLL_INTERVAL = 0.5
MAX_POLL_INTERVAL = 3.0


@dataclass(frozen=True)
class NetworkInterface:
    """The description of a network interface at one moment (DescribeNetworkInterfaces).

    Args:
        id: the interface id, such as "eni-0123456789abcdef0".
        subnet_id: the subnet.
        security_group_ids: the ids of its security groups.
        mac: the MAC address, as the guest sees it.
        private_ips: the private IPv4 addresses, the primary one first.
        public_ips: the associated public IPv4 addresses; default none.
        ipv6_ips: the IPv6 addresses; default none.
        status: "available", "attaching", "in-use", or "detaching".
        attachment_id: the id of its attachment; default none.
        attachment_status: "attaching", "attached", or "detaching"; default none.
        instance_id: the attached instance; default none.
        device_index: the device index on the instance, 0 for the primary interface; default none.
    """

    id: str
    subnet_id: str
    security_group_ids: tuple[str, ...]
    mac: str
    private_ips: tuple[str, ...]
    public_ips: tuple[str, ...] = ()
    ipv6_ips: tuple[str, ...] = ()
    status: str = ""
    attachment_id: str | None = None
    attachment_status: str | None = None
    instance_id: str | None = None
    device_index: int | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> NetworkInterface:
        """Parse an interface of a CreateNetworkInterface or DescribeNetworkInterfaces response."""
        addresses = sorted(record.get("PrivateIpAddresses", ()), key=lambda address: not address.get("Primary"))
        associations = [record.get("Association") or {}, *(address.get("Association") or {} for address in addresses)]
        attachment = record.get("Attachment") or {}
        return cls(
            id=record["NetworkInterfaceId"],
            subnet_id=record.get("SubnetId", ""),
            security_group_ids=tuple(group["GroupId"] for group in record.get("Groups", ())),
            mac=record.get("MacAddress", ""),
            private_ips=tuple(address["PrivateIpAddress"] for address in addresses),
            public_ips=tuple(
                dict.fromkeys(association["PublicIp"] for association in associations if association.get("PublicIp"))
            ),
            ipv6_ips=tuple(address["Ipv6Address"] for address in record.get("Ipv6Addresses", ())),
            status=record.get("Status", ""),
            attachment_id=attachment.get("AttachmentId"),
            attachment_status=attachment.get("Status"),
            instance_id=attachment.get("InstanceId"),
            device_index=attachment.get("DeviceIndex"),
        )

    @property
    def is_primary(self) -> bool:
        """Whether this is the primary interface of an instance, which cannot be detached."""
        return self.device_index == 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses: private, public, and IPv6."""
        return (*self.private_ips, *self.public_ips, *self.ipv6_ips)

    def __str__(self) -> str:
        return f"{self.id} ({self.attachment_status or self.status})"


class NetworkInterfaces:
    """The network interfaces of one region.

    Args:
        context: the context of the region.
    """

    def __init__(self, context: RegionContext) -> None:
        self._context = context
        self._client = context.client

    def of_instance(self, instance_id: str, deadline: Deadline = NEVER) -> list[NetworkInterface]:
        """Return the interfaces of an instance, sorted by device index (DescribeNetworkInterfaces)."""
        interfaces = self.find("attachment.instance-id", instance_id, deadline)
        # Filter again, because a server without this filter returns all interfaces.
        attached = [interface for interface in interfaces if interface.instance_id == instance_id]
        return sorted(attached, key=lambda interface: interface.device_index or 0)

    def find(self, filter_name: str, value: str, deadline: Deadline = NEVER) -> list[NetworkInterface]:
        """Return the interfaces that match a filter (DescribeNetworkInterfaces).

        Raises:
            NoResponseError: EC2 did not respond by the deadline.
        """
        paginator = self._client.get_paginator("describe_network_interfaces")
        pages = responded(
            lambda: list(paginator.paginate(Filters=[{"Name": filter_name, "Values": [value]}])),
            what="describe network interfaces",
            deadline=deadline,
        )
        return [NetworkInterface.of(record) for page in pages for record in page["NetworkInterfaces"]]

    def create(
        self,
        subnet_id: str,
        security_group_ids: Sequence[str],
        *,
        ipv4_address_count: int = 1,
        ipv6_address_count: int | None = None,
        description: str = "",
    ) -> NetworkInterface:
        """Create an interface (CreateNetworkInterface).

        Args:
            subnet_id: the subnet.
            security_group_ids: the security groups.
            ipv4_address_count: the number of private IPv4 addresses, including the primary one; default 1.
            ipv6_address_count: the number of IPv6 addresses; 0 overrides the subnet's AssignIpv6AddressOnCreation;
                default as the subnet assigns.
            description: the description; default none.

        Raises:
            CapacityError: the subnet has no addresses left, or a quota is reached.
        """
        parameters: dict[str, Any] = {"SubnetId": subnet_id, "Groups": list(security_group_ids)}
        if ipv4_address_count > 1:
            parameters["SecondaryPrivateIpAddressCount"] = ipv4_address_count - 1
        if ipv6_address_count is not None:
            parameters["Ipv6AddressCount"] = ipv6_address_count

        def call(idempotency_tag: str) -> list[Any]:
            tags = self._context.tags_for("network-interface", idempotency_tag=idempotency_tag)
            response = self._client.create_network_interface(
                Description=description, TagSpecifications=tags, ClientToken=idempotency_tag, **parameters
            )
            return [response["NetworkInterface"]]

        request = CreateRequest(
            kind=KIND,
            id_key="NetworkInterfaceId",
            order=UndoOrder.INTERFACE,
            call=call,
            find=lambda filters: self._client.describe_network_interfaces(Filters=filters)["NetworkInterfaces"],
            delete=lambda record: self.delete(record["NetworkInterfaceId"]),
        )
        interface = NetworkInterface.of(create(self._context.ledger, request))
        logger.info("created %s with %s", interface.id, ", ".join(interface.private_ips))
        return interface

    def attach(self, interface_id: str, instance_id: str, index: int) -> NetworkInterface:
        """Attach an interface, wait until it is attached, and delete it on the instance's termination.

        (AttachNetworkInterface, ModifyNetworkInterfaceAttribute)

        Args:
            interface_id: the interface.
            instance_id: the instance.
            index: the device index, at least 1.

        Returns:
            The attached interface.

        Raises:
            IllegalStateError: the state of the instance does not allow it.
            PycloudlibTimeoutError: the interface was not attached in time.
        """
        call = partial(
            self._client.attach_network_interface,
            NetworkInterfaceId=interface_id,
            InstanceId=instance_id,
            DeviceIndex=index,
        )
        deadline = Deadline.after(ATTACH_TIMEOUT)
        call_until_consistent(
            ignore_already_attached(call), what=f"attach {interface_id} to {instance_id}", deadline=deadline
        )
        attached = self._wait_until_attached(interface_id, deadline)
        change: Any = {"AttachmentId": attached.attachment_id, "DeleteOnTermination": True}
        modify = self._client.modify_network_interface_attribute
        modify_attachment = partial(modify, NetworkInterfaceId=interface_id, Attachment=change)
        call_until_consistent(modify_attachment, what=f"modify {interface_id}", deadline=deadline)
        return attached

    def delete(self, interface_id: str, deadline: Deadline | None = None) -> None:
        """Detach and delete an interface (DetachNetworkInterface, DeleteNetworkInterface). No-op if it is deleted.

        Args:
            interface_id: the interface.
            deadline: when to give up; default ATTACH_TIMEOUT seconds from now.

        Raises:
            IllegalStateError: the interface is the primary one of an instance, and cannot be detached.
            PycloudlibTimeoutError: the interface was not detached in time.
        """
        deadline = deadline or Deadline.after(ATTACH_TIMEOUT)
        self._detach(interface_id, deadline)
        self.delete_detached(interface_id, deadline)

    def delete_detached(self, interface_id: str, deadline: Deadline) -> None:
        """Delete an interface that is detached, or attached to a terminating instance (DeleteNetworkInterface).

        Args:
            interface_id: the interface.
            deadline: when to give up.

        Raises:
            IllegalStateError: the interface is still attached.
        """
        call = partial(self._client.delete_network_interface, NetworkInterfaceId=interface_id)
        when_free(call, what=f"delete {interface_id}", deadline=deadline)
        self._context.ledger.forget(interface_id)

    def _detach(self, interface_id: str, deadline: Deadline) -> None:
        try:
            interface = self._describe(interface_id, deadline)
        except NetworkNotFoundError:
            return
        except PermissionDeniedError as error:
            logger.debug("deleting %s without describing it: %s", interface_id, error)
            return
        if interface.attachment_id is None:
            return
        if interface.attachment_status != "detaching":
            call = partial(self._client.detach_network_interface, AttachmentId=interface.attachment_id)
            when_free(call, what=f"detach {interface_id}", deadline=deadline)
        self._wait_until_detached(interface_id, deadline)

    def _describe(self, interface_id: str, deadline: Deadline) -> NetworkInterface:
        response = responded(
            partial(self._client.describe_network_interfaces, NetworkInterfaceIds=[interface_id]),
            what=f"describe {interface_id}",
            deadline=deadline,
        )
        return NetworkInterface.of(response["NetworkInterfaces"][0])

    def _wait_until_attached(self, interface_id: str, deadline: Deadline) -> NetworkInterface:
        last_seen: object = "nothing yet"

        def attached() -> NetworkInterface | None:
            nonlocal last_seen
            try:
                last_seen = interface = self._describe(interface_id, deadline)
            except (CloudError, NoResponseError) as error:
                if isinstance(error, CloudError) and error.code not in TRANSIENT_CODES:
                    raise
                logger.debug("%s: querying again: %s", interface_id, error)
                last_seen = error
                return None
            return interface if interface.attachment_status == "attached" else None

        return wait_until(
            attached,
            what=f"{interface_id} to be attached",
            deadline=deadline,
            interval=POLL_INTERVAL,
            max_interval=MAX_POLL_INTERVAL,
            last_seen=lambda: last_seen,
        )

    def _wait_until_detached(self, interface_id: str, deadline: Deadline) -> None:
        last_seen: object = "nothing yet"

        def detached() -> bool:
            nonlocal last_seen
            try:
                last_seen = interface = self._describe(interface_id, deadline)
            except NetworkNotFoundError:
                return True
            except (CloudError, NoResponseError) as error:
                if isinstance(error, CloudError) and error.code not in PASSING_CODES:
                    raise
                last_seen = error
                return False
            return interface.attachment_id is None and interface.status in ("", "available")

        wait_until(
            detached,
            what=f"{interface_id} to be detached",
            deadline=deadline,
            interval=POLL_INTERVAL,
            max_interval=MAX_POLL_INTERVAL,
            last_seen=lambda: last_seen,
        )
