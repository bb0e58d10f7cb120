"""Disrupted connectivity of subnets: a clone of the subnet's network ACL that denies traffic replaces it.

https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html#disrupt-connectivity
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from pycloudlib.local.api.models.network_acls import DENY_IPV4, NetworkAclRecords
from pycloudlib.local.api.models.topology import canonical, prefix_list_entries, vpc_blocks
from pycloudlib.local.api.moto_adapter import EC2ClientError, NetworkAcl

logger = logging.getLogger(__name__)

ALL, ZONE, VPC, PREFIX_LIST = "all", "availability-zone", "vpc", "prefix-list"
SCOPES = (ALL, ZONE, VPC, PREFIX_LIST)

_EVERYTHING = ("0.0.0.0/0", "::/0")
_TAGS = [{"Key": "managedByFIS", "Value": "true"}]


class DisruptionRecords(NetworkAclRecords):
    """The disrupted subnets of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._disrupted: dict[str, tuple[str, str]] = {}
        super().__init__(region_name, account_id)

    def check_disruptable(self, subnet: Any, scope: str, prefix_list: str = "") -> None:
        """Require a subnet that is not disrupted, and traffic to deny.

        Raises:
            EC2ClientError: the subnet is disrupted already, or nothing would be denied.
        """
        if subnet.id in self._disrupted:
            raise EC2ClientError("IncorrectState", f"The connectivity of the subnet '{subnet.id}' is disrupted already")
        if not self._denied(subnet, scope, prefix_list):
            reason = {
                ZONE: f"The VPC of the subnet '{subnet.id}' has no subnet in another Availability Zone",
                PREFIX_LIST: f"The prefix list '{prefix_list}' does not exist, or has no entry",
            }
            raise EC2ClientError("InvalidParameterValue", reason[scope])

    def disrupt_connectivity(self, subnet: Any, scope: str, prefix_list: str = "") -> None:
        """Deny traffic of a subnet until restore_connectivity().

        Args:
            subnet: one that check_disruptable() accepts.
            scope: one of SCOPES: all traffic, that with other Availability Zones of the VPC, that with addresses out of
                the VPC, or that with the addresses of a prefix list. Traffic within the subnet goes on.
            prefix_list: its id, name, or ARN; for that scope only.
        """
        original, association = self._association_of(subnet.id)
        clone = self.create_network_acl(subnet.vpc_id, _TAGS)
        denied = self._denied(subnet, scope, prefix_list)
        for number, cidr in enumerate(denied, 1):
            for egress in (False, True):
                self._add_entry(clone, number, "deny", cidr, egress=egress)
        _copy_entries(self, original, clone, len(denied) + 1)
        self.replace_network_acl_association(association.id, clone.id)
        self._disrupted[subnet.id] = (original.id, clone.id)
        logger.info("disrupted the connectivity of %s: %s replaces %s", subnet.id, clone.id, original.id)

    def restore_connectivity(self, subnet_id: str) -> None:
        """Restore a subnet's network ACL, and delete the clone. No-op if it is not disrupted.

        If the subnet was associated with another network ACL meanwhile, keep that one.
        """
        original_id, clone_id = self._disrupted.pop(subnet_id, ("", ""))
        clone = self.network_acls.get(clone_id)
        if clone is None:
            return
        for association in clone.associations:
            if association.subnet_id == subnet_id:
                self.replace_network_acl_association(association.id, self._acl_or_default(original_id, clone.vpc_id))
        if not clone.associations:
            self.delete_network_acl(clone_id)
        logger.info("restored the connectivity of %s", subnet_id)

    def _acl_or_default(self, acl_id: str, vpc_id: str) -> str:
        if acl_id in self.network_acls:
            return acl_id
        return next(acl.id for acl in self.network_acls.values() if acl.default and acl.vpc_id == vpc_id)

    def _association_of(self, subnet_id: str) -> tuple[NetworkAcl, Any]:
        return next(
            (acl, association)
            for acl in self.network_acls.values()
            for association in acl.associations
            if association.subnet_id == subnet_id
        )

    def _denied(self, subnet: Any, scope: str, prefix_list: str) -> list[str]:
        """Return the CIDR blocks with which a scope denies traffic."""
        if scope == ALL:
            return list(_EVERYTHING)
        if scope == VPC:
            vpc = self.get_vpc(subnet.vpc_id)
            return list(_outside([*vpc_blocks(vpc, ipv6=False), *vpc_blocks(vpc, ipv6=True)]))
        if scope == ZONE:
            return [block for other in self._subnets_elsewhere(subnet) for block in _blocks(other)]
        list_ids = (
            candidate.id for candidate in self.managed_prefix_lists.values() if prefix_list in _identifiers(candidate)
        )
        return [block for prefix_list_id in list_ids for block in prefix_list_entries(self, prefix_list_id)]

    def _subnets_elsewhere(self, subnet: Any) -> list[Any]:
        subnets = (other for of_zone in self.subnets.values() for other in of_zone.values())
        zone = subnet.availability_zone
        return [other for other in subnets if other.vpc_id == subnet.vpc_id and other.availability_zone != zone]


def _copy_entries(records: DisruptionRecords, original: NetworkAcl, clone: NetworkAcl, first: int) -> None:
    """Copy the entries of a network ACL in their order, from a number on."""
    copied = sorted((entry for entry in original.entries if _number(entry) < DENY_IPV4), key=_number)
    for number, entry in enumerate(copied, first):
        records.create_network_acl_entry(
            network_acl_id=clone.id,
            rule_number=number,
            protocol=entry.protocol,
            rule_action=entry.rule_action,
            egress=entry.egress,
            cidr_block=entry.cidr_block,
            icmp_code=entry.icmp_code,
            icmp_type=entry.icmp_type,
            port_range_from=entry.port_range_from,
            port_range_to=entry.port_range_to,
            ipv6_cidr_block=entry.ipv6_cidr_block,
        )


def _number(entry: Any) -> int:
    return int(entry.rule_number)


def _outside(blocks: Iterable[str]) -> Iterator[str]:
    """Return the CIDR blocks of all addresses that are in none of these."""
    networks = [ipaddress.ip_network(block) for block in blocks]
    for address_space in map(ipaddress.ip_network, _EVERYTHING):
        remaining: list[Any] = [address_space]
        for inside in networks:
            remaining = [part for network in remaining for part in _without(network, inside)]
        yield from map(str, sorted(remaining))


def _without(network: Any, inside: Any) -> Iterable[Any]:
    if network.version != inside.version or not network.overlaps(inside):
        return [network]
    return network.address_exclude(inside) if inside.subnet_of(network) else []


def _blocks(subnet: Any) -> list[str]:
    return [canonical(block) for block in (subnet.cidr_block, subnet.ipv6_cidr) if block is not None]


def _identifiers(prefix_list: Any) -> tuple[str, ...]:
    return prefix_list.id, prefix_list.prefix_list_arn, prefix_list.prefix_list_name
