"""Elastic addresses: loopback addresses that forward to the private address they are associated with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.api.models.interface import LocalInterface
from pycloudlib.local.api.models.interfaces import InterfaceRecords
from pycloudlib.local.api.moto_adapter import (
    EC2ClientError,
    ElasticAddress,
    Instance,
    ResourceAlreadyAssociatedError,
    random_eip_association_id,
)

_ASSOCIABLE = {"running", "stopping", "stopped"}


class LocalAddress(ElasticAddress):
    """An elastic address, and the private address that it is associated with."""

    associated_private_ip: str | None = None
    public_ipv4_pool = "amazon"

    @property
    def owner_id(self) -> str:
        """The account that owns the address."""
        return str(self.ec2_backend.account_id)

    @property
    def network_border_group(self) -> str:
        """The network border group: the region of the address."""
        return str(self.ec2_backend.region_name)

    @property
    def private_ip_address(self) -> str | None:
        """The associated private address; None without one."""
        return self.associated_private_ip


class AddressRecords(InterfaceRecords):
    """The elastic addresses of one account in one region."""

    def allocate_address(
        self, domain: str, address: str | None = None, tags: dict[str, str] | None = None
    ) -> ElasticAddress:
        """Allocate an unused public address (AllocateAddress).

        Raises:
            EC2ClientError: the address is given, or none is free (InsufficientAddressCapacity).
        """
        if address:
            raise EC2ClientError("InvalidParameterValue", f"The address '{address}' cannot be allocated: it is given.")
        try:
            public_ip = self.cloud.driver.allocate_public_ip()
        except LocalEC2Error as error:
            raise EC2ClientError("InsufficientAddressCapacity", str(error)) from error
        elastic = LocalAddress(self, "vpc", public_ip, tags)  # type: ignore[abstract]  # as moto's own class
        self.addresses.append(elastic)
        return elastic

    def associate(
        self,
        elastic: ElasticAddress,
        instance: Instance | None,
        interface: LocalInterface | None,
        private_ip: str | None,
        *,
        reassociate: bool,
    ) -> ElasticAddress:
        """Associate an address with an instance or an interface (AssociateAddress)."""
        assert isinstance(elastic, LocalAddress)  # noqa: S101  (no others are made)
        target = interface or self._only_interface(instance)
        if target.instance is not None and target.instance.state not in _ASSOCIABLE:
            raise EC2ClientError(
                "InvalidInstanceID" if instance is not None else "IncorrectInstanceState",
                f"The {target.instance.state} instance '{target.instance.id}' is not in a valid state "
                "for this operation.",
            )
        private = private_ip or str(target.private_ip_address)
        if private not in target.private_ips:
            raise EC2ClientError(
                "InvalidParameterValue", f"The private address {private} is not assigned to interface {target.id}"
            )
        if elastic.eni is target and elastic.associated_private_ip == private:
            return elastic
        if elastic.eni is not None:
            if not reassociate:
                raise ResourceAlreadyAssociatedError(elastic.public_ip)
            self._disassociate(elastic)
        before = target.elastic_address_of(private)
        if before is not None:
            self._disassociate(before, give_another=False)
        self._take_auto_public_ip(target, private)
        elastic.eni, elastic.instance = target, target.instance  # type: ignore[assignment]  # moto starts with None
        elastic.associated_private_ip = private
        elastic.association_id = random_eip_association_id()
        target.set_elastic_address(private, elastic)
        self.interface_changed(target)
        return elastic

    def disassociate_address(self, address: str | None = None, association_id: str | None = None) -> None:
        """Disassociate an elastic address from its private address (DisassociateAddress)."""
        addresses = self.address_by_ip([address]) if address else self.address_by_association([str(association_id)])
        self._disassociate(addresses[0])

    def release_address(self, address: str | None = None, allocation_id: str | None = None) -> None:
        """Release an address that is not associated (ReleaseAddress)."""
        addresses = self.address_by_ip([address]) if address else self.address_by_allocation([str(allocation_id)])
        elastic = addresses[0]
        if elastic.association_id:
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {elastic.public_ip} is in use.")
        self.addresses.remove(elastic)
        self.cloud.driver.release_public_ip(elastic.public_ip)

    def disassociate_addresses(self, interface: LocalInterface, private_ips: Sequence[str]) -> None:
        """Disassociate the elastic addresses of an interface's private addresses."""
        for private_ip in private_ips:
            elastic = interface.elastic_address_of(private_ip)
            if elastic is not None:
                self._disassociate(elastic, give_another=False)

    def _only_interface(self, instance: Instance | None) -> LocalInterface:
        interfaces = instance.nics if instance is not None else {}
        if instance is not None and not interfaces:
            raise EC2ClientError(
                "InvalidInstanceID",
                f"The {instance.state} instance '{instance.id}' is not in a valid state for this operation.",
            )
        if len(interfaces) != 1:
            raise EC2ClientError(
                "InvalidInstanceID",
                f"There are multiple interfaces attached to instance '{instance.id if instance else None}'. "
                "Please specify an interface ID for the operation instead.",
            )
        (interface,) = interfaces.values()
        return self.interface(interface.id)

    def _take_auto_public_ip(self, interface: LocalInterface, private_ip: str) -> None:
        if private_ip != interface.private_ip_address or interface.auto_public_ip is None:
            return
        public_ip, interface.auto_public_ip = interface.auto_public_ip, None
        self.cloud.driver.release_public_ip(public_ip)

    def _disassociate(self, elastic: ElasticAddress, *, give_another: bool = True) -> None:
        assert isinstance(elastic, LocalAddress)  # noqa: S101  (no others are made)
        interface: Any = elastic.eni
        if interface is None:
            return
        private = str(elastic.associated_private_ip)
        interface.set_elastic_address(private, None)
        elastic.eni = elastic.instance = elastic.associated_private_ip = elastic.association_id = None
        instance = interface.instance
        was_first = private == interface.private_ip_address and interface.device_index == 0
        if give_another and was_first and instance is not None and instance.state == "running":
            # As on EC2, an instance launched with a public address gets a new one.
            self.give_public_ip(instance)
        self.interface_changed(interface)
