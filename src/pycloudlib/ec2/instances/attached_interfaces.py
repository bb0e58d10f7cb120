"""The network interfaces that are attached to an instance."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Sequence
from functools import partial
from itertools import count
from weakref import WeakValueDictionary

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent
from pycloudlib.ec2.instances.described import DescribedInstance
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.network.addresses import ElasticAddress, ElasticAddresses
from pycloudlib.ec2.network.interface_counts import AddressCounts, limits_of
from pycloudlib.ec2.network.interfaces import NetworkInterface, NetworkInterfaces
from pycloudlib.errors import InvalidArgumentError, NetworkNotFoundError, PycloudlibError

logger = logging.getLogger(__name__)

ENDED_ASSOCIATIONS = {"disassociating", "disassociated", "failing", "failed"}
"""The states in which an IPv6 CIDR block provides no addresses."""


class InstanceWithInterfaces(DescribedInstance):
    """An instance with its network interfaces."""

    created_interfaces: list[str]
    """The primary private IPv4 addresses of the interfaces that this object added and has not removed."""

    def _create_parts(self, context: InstanceContext, *, launched: bool) -> None:
        super()._create_parts(context, launched=launched)
        self.created_interfaces = []

    @property
    def public_ips(self) -> list[str]:
        """The public IPv4 addresses of all interfaces, the primary one first (DescribeNetworkInterfaces).

        Raises:
            InstanceStateError: the instance was deleted.
        """
        return [address for interface in self.network_interfaces() for address in interface.public_ips]

    def network_interfaces(self) -> list[NetworkInterface]:
        """Return the network interfaces, the primary one first (DescribeNetworkInterfaces).

        Raises:
            InstanceStateError: the instance was deleted.
        """
        self._refuse_if_deleted("queried for its interfaces")
        return self._interfaces.of_instance(self.id)

    def add_network_interface(
        self, *, ipv4_address_count: int = 1, ipv6_address_count: int = 0, ipv4_public_ip_count: int = 0
    ) -> str:
        """Attach a new network interface, and wait until it is attached. It is deleted with the instance.

        The interface is in the subnet and the security groups of the primary interface. The guest decides whether to
        configure it. After an error, nothing is left. (CreateNetworkInterface, AttachNetworkInterface; for public
        addresses AllocateAddress, AssociateAddress)

        Args:
            ipv4_address_count: the number of private IPv4 addresses, at least 1; default 1.
            ipv6_address_count: the number of IPv6 addresses; default 0.
            ipv4_public_ip_count: the number of public IPv4 addresses, each associated with a private one; default 0.

        Returns:
            The interface's primary private IPv4 address.

        Raises:
            InvalidArgumentError: the instance type or the subnet does not support this; nothing was created.
            InstanceStateError: the instance was deleted.
            CapacityError: the subnet or the account has no addresses left.
            CloudError: EC2 rejected the request.
        """
        counts = AddressCounts(ipv4_address_count, ipv6_address_count, ipv4_public_ip_count)
        self._refuse_if_deleted("given an interface")
        if self.state.is_ending:
            raise self._state_error(f"it cannot be given an interface: it is {self._status.seen}")
        with _lock_of(self.id):
            attached = self._interfaces.of_instance(self.id)
            index = self._free_index(attached, counts)
            self._require_ipv6(attached[0].subnet_id, counts)
            added = self._add_interface(attached[0], index, counts)
        self.created_interfaces.append(added)
        return added

    def remove_network_interface(self, ip_address: str) -> None:
        """Detach and delete a network interface of this instance, and release its public addresses.

        Elastic addresses that another program allocated are not released. (DetachNetworkInterface,
        DeleteNetworkInterface, ReleaseAddress)

        Args:
            ip_address: any address of the interface: private, public, or IPv6.

        Raises:
            NetworkNotFoundError: no interface of this instance has the address.
            InvalidArgumentError: the address is invalid, or belongs to the primary interface, which cannot be detached.
            CloudError: EC2 rejected the request.
        """
        address = _checked_address(ip_address)
        self._refuse_if_deleted("queried for its interfaces")
        with _lock_of(self.id):
            interface = self._interface_with(address)
            addresses = self._addresses.own_of("network-interface-id", [interface.id])
            self._interfaces.delete(interface.id)
            errors = self._addresses.release_all(addresses)
        self.created_interfaces[:] = [ip for ip in self.created_interfaces if ip not in interface.addresses]
        logger.info("removed %s from %s", interface.id, self.id)
        for error in errors:
            raise error

    # For the instance's own deletion

    def _addresses_to_release(self, deadline: Deadline) -> list[ElasticAddress]:
        """Return the instance's elastic addresses. Call this before termination; EC2 does not report them afterward."""
        if not self._addresses.is_recorded():
            return []
        try:
            interface_ids = [interface.id for interface in self._interfaces.of_instance(self.id, deadline)]
            return self._addresses.own_of("network-interface-id", interface_ids, deadline)
        except PycloudlibError as error:
            logger.warning("could not release the addresses of %s; clean() tries again: %s", self.id, error)
            return []

    def _release_addresses(self, addresses: Sequence[ElasticAddress], deadline: Deadline) -> list[Exception]:
        """Release the addresses of a terminating instance, and return the errors."""
        return self._addresses.release_all(addresses, deadline)

    # Nouns

    @property
    def _interfaces(self) -> NetworkInterfaces:
        return NetworkInterfaces(self._context.region_context)

    @property
    def _addresses(self) -> ElasticAddresses:
        return ElasticAddresses(self._context.region_context)

    # Adding

    def _free_index(self, attached: Sequence[NetworkInterface], counts: AddressCounts) -> int:
        if not attached:
            raise self._state_error("EC2 lists no network interface to take the subnet from")
        limits = limits_of(self._context.client, self.instance_type)
        if limits is not None:
            limits.check(counts)
            if len(attached) >= limits.interfaces:
                raise InvalidArgumentError(
                    f"{self.id} has {len(attached)} network interfaces, the maximum of a {self.instance_type}"
                )
        taken = {interface.device_index for interface in attached}
        return next(index for index in count(1) if index not in taken)

    def _require_ipv6(self, subnet_id: str, counts: AddressCounts) -> None:
        if not counts.ipv6:
            return
        describe = partial(self._context.client.describe_subnets, SubnetIds=[subnet_id])
        subnet = call_until_consistent(describe, what=f"describe {subnet_id}")["Subnets"][0]
        states = {
            association["Ipv6CidrBlockState"]["State"] for association in subnet.get("Ipv6CidrBlockAssociationSet", ())
        }
        if not states - ENDED_ASSOCIATIONS:
            raise InvalidArgumentError(
                f"{self.id} cannot have IPv6 addresses: its subnet {subnet_id} has no IPv6 block"
            )

    def _add_interface(self, primary: NetworkInterface, index: int, counts: AddressCounts) -> str:
        addresses: list[ElasticAddress] = []
        created: list[NetworkInterface] = []
        try:
            for _ in range(counts.public):
                addresses.append(self._addresses.allocate())
            interface = self._interfaces.create(
                primary.subnet_id,
                primary.security_group_ids,
                ipv4_address_count=counts.ipv4,
                # EC2 might reject a count of 0 in a subnet without an IPv6 block.
                ipv6_address_count=counts.ipv6 if counts.ipv6 or primary.ipv6_ips else None,
                description=f"interface {index} of {self.id}",
            )
            created.append(interface)
            self._interfaces.attach(interface.id, self.id, index)
            for address, private_ip in zip(addresses, interface.private_ips, strict=False):
                self._addresses.associate(address, interface.id, private_ip)
        except BaseException:
            # Also after Ctrl-C: only this method knows these resources.
            self._undo_adding(created, addresses)
            raise
        logger.info("attached %s to %s as interface %d", interface.id, self.id, index)
        return interface.private_ips[0]

    def _undo_adding(self, created: Sequence[NetworkInterface], addresses: Sequence[ElasticAddress]) -> None:
        errors = self._addresses.release_all(addresses)
        for interface in created:
            try:
                self._interfaces.delete(interface.id)
            except PycloudlibError as error:
                errors.append(error)
        for failure in errors:
            logger.error("not deleted; clean() tries again: %s", failure)

    # Removing

    def _interface_with(self, requested: _Address) -> NetworkInterface:
        attached = self._interfaces.of_instance(self.id)
        for interface in attached:
            if requested not in map(ipaddress.ip_address, interface.addresses):
                continue
            if interface.is_primary:
                raise InvalidArgumentError(
                    f"{requested} belongs to the primary interface of {self.id}, which cannot be removed"
                )
            return interface
        addresses = ", ".join(address for interface in attached for address in interface.addresses)
        raise NetworkNotFoundError(
            str(requested),
            message=f"no interface of {self.id} has the address {requested}; it has {addresses or 'none'}",
        )


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _checked_address(ip: str) -> _Address:
    try:
        return ipaddress.ip_address(ip)
    except ValueError:
        raise InvalidArgumentError(f"{ip!r} is not an address such as '10.0.0.7'") from None


class _Lock:
    """A lock that supports weak references."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


_locks: WeakValueDictionary[str, _Lock] = WeakValueDictionary()
_locks_lock = threading.Lock()


def _lock_of(instance_id: str) -> _Lock:
    """Return the lock of an instance, so that two objects for the same instance never choose the same index."""
    with _locks_lock:
        return _locks.setdefault(instance_id, _Lock())
