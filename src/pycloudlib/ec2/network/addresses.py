"""Elastic IP addresses: public IPv4 addresses that persist until they are released."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent, when_free
from pycloudlib.ec2.api.creating import CreateRequest, create
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.errors import PermissionDeniedError, PycloudlibError
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.tags import RUN

logger = logging.getLogger(__name__)

KIND = "elastic address"

CHUNK = 200
"""EC2's limit for the values of one filter."""

RELEASE_TIMEOUT = 60.0
"""Seconds for which EC2 may still count an address as used after its disassociation."""


@dataclass(frozen=True)
class ElasticAddress:
    """An elastic IP address.

    Args:
        allocation_id: the allocation id, such as "eipalloc-0123456789abcdef0".
        public_ip: the address.
        association_id: the id of its association with an interface; default none.
        interface_id: the associated interface; default none.
        tags: the tags.
    """

    allocation_id: str
    public_ip: str
    association_id: str | None = None
    interface_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ElasticAddress:
        """Parse an address of a DescribeAddresses response."""
        return cls(
            allocation_id=record.get("AllocationId", ""),
            public_ip=record["PublicIp"],
            association_id=record.get("AssociationId") or None,
            interface_id=record.get("NetworkInterfaceId") or None,
            tags=MappingProxyType({tag["Key"]: tag["Value"] for tag in record.get("Tags", ())}),
        )


class ElasticAddresses:
    """The elastic IP addresses of one region.

    Args:
        context: the context of the region.
    """

    def __init__(self, context: RegionContext) -> None:
        self._context = context

    def allocate(self) -> ElasticAddress:
        """Allocate a new address (AllocateAddress).

        Raises:
            CapacityError: the account's quota is reached.
        """
        client = self._context.client

        def call(idempotency_tag: str) -> list[Any]:
            return [
                client.allocate_address(
                    Domain="vpc",
                    TagSpecifications=self._context.tags_for("elastic-ip", idempotency_tag=idempotency_tag),
                )
            ]

        request = CreateRequest(
            kind=KIND,
            id_key="AllocationId",
            order=UndoOrder.ADDRESS,
            call=call,
            find=lambda filters: client.describe_addresses(Filters=filters)["Addresses"],
            delete=lambda record: self.release(record["AllocationId"]),
        )
        address = ElasticAddress.of(create(self._context.ledger, request))
        logger.info("allocated %s as %s", address.public_ip, address.allocation_id)
        return address

    def associate(self, address: ElasticAddress, interface_id: str, private_ip: str) -> None:
        """Associate an address with a private address of an interface (AssociateAddress).

        Args:
            address: the elastic IP address.
            interface_id: the interface.
            private_ip: the interface's private address.
        """
        call = partial(
            self._context.client.associate_address,
            AllocationId=address.allocation_id,
            NetworkInterfaceId=interface_id,
            PrivateIpAddress=private_ip,
            AllowReassociation=False,
        )
        call_until_consistent(call, what=f"associate {address.public_ip} with {interface_id}")

    def is_recorded(self) -> bool:
        """Return whether addresses were allocated here and are not released yet."""
        return bool(self._context.ledger.ids(KIND))

    def own_of(self, filter_name: str, values: Iterable[str], deadline: Deadline = NEVER) -> list[ElasticAddress]:
        """Return the matching addresses that this library allocated, in this run or another (DescribeAddresses).

        Args:
            filter_name: "network-interface-id" or "instance-id".
            values: the ids of the associated interfaces or instances.
            deadline: when to stop waiting for EC2; default never.
        """
        requested = list(values)
        chunks = [requested[start : start + CHUNK] for start in range(0, len(requested), CHUNK)]
        addresses = [address for chunk in chunks for address in self._find(filter_name, chunk, deadline)]
        return [address for address in addresses if RUN in address.tags]

    def release(self, allocation_id: str, deadline: Deadline | None = None) -> None:
        """Disassociate and release an address (DisassociateAddress, ReleaseAddress). No-op if it is released.

        Args:
            allocation_id: the allocation id.
            deadline: when to give up; default RELEASE_TIMEOUT seconds from now.
        """
        deadline = deadline or Deadline.after(RELEASE_TIMEOUT)
        client = self._context.client
        for address in self._find_if_permitted(allocation_id, deadline):
            if address.association_id:
                when_free(
                    partial(client.disassociate_address, AssociationId=address.association_id),
                    what=f"disassociate {address.public_ip}",
                    deadline=deadline,
                    patience=RELEASE_TIMEOUT,
                )
        when_free(
            partial(client.release_address, AllocationId=allocation_id),
            what=f"release {allocation_id}",
            deadline=deadline,
            patience=RELEASE_TIMEOUT,
        )
        self._context.ledger.forget(allocation_id)

    def _find_if_permitted(self, allocation_id: str, deadline: Deadline) -> list[ElasticAddress]:
        try:
            # Use a filter, because EC2 rejects an unknown id.
            return self._find("allocation-id", [allocation_id], deadline)
        except PermissionDeniedError as error:
            logger.debug("releasing %s without describing it: %s", allocation_id, error)
            return []

    def release_all(self, addresses: Iterable[ElasticAddress], deadline: Deadline | None = None) -> list[Exception]:
        """Release several addresses. Errors do not stop the others.

        Args:
            addresses: the addresses.
            deadline: when to give up; default RELEASE_TIMEOUT seconds for each.

        Returns:
            The errors.
        """
        errors: list[Exception] = []
        for address in addresses:
            try:
                self.release(address.allocation_id, deadline)
            except PycloudlibError as error:
                errors.append(error)
        return errors

    def _find(self, filter_name: str, values: list[str], deadline: Deadline) -> list[ElasticAddress]:
        describe = partial(self._context.client.describe_addresses, Filters=[{"Name": filter_name, "Values": values}])
        response = responded(describe, what="describe addresses", deadline=deadline)
        return [ElasticAddress.of(record) for record in response["Addresses"]]
