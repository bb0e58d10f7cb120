"""Network ACLs, with the default entries that moto lacks."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import NetworkAcl

ALLOW_IPV6 = 101
DENY_IPV4, DENY_IPV6 = 32767, 32768
"""The last entries of every network ACL, shown as "*".

https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html
"""


class NetworkAclRecords(LocalRecords):
    """The network ACLs of one account in one region."""

    def create_network_acl(
        self, vpc_id: str, tags: list[dict[str, str]] | None = None, default: bool = False
    ) -> NetworkAcl:
        """Create a network ACL (CreateNetworkAcl), including the default one of a new VPC."""
        acl: NetworkAcl = super().create_network_acl(vpc_id, tags, default)
        if not default:  # moto adds this entry to default ACLs
            for egress in (False, True):
                self._add_entry(acl, DENY_IPV4, "deny", "0.0.0.0/0", egress=egress)
        if self.get_vpc(vpc_id).get_cidr_block_association_set(ipv6=True):
            self._add_ipv6_entries(acl)
        return acl

    def associate_vpc_cidr_block(
        self, vpc_id: str, cidr_block: str, amazon_provided_ipv6_cidr_block: bool
    ) -> dict[str, Any]:
        """Associate a CIDR block; an IPv6 block adds IPv6 entries to network ACLs (AssociateVpcCidrBlock)."""
        associated: dict[str, Any] = super().associate_vpc_cidr_block(
            vpc_id, cidr_block, amazon_provided_ipv6_cidr_block
        )
        if amazon_provided_ipv6_cidr_block:
            for acl in self.network_acls.values():
                if acl.vpc_id == vpc_id:
                    self._add_ipv6_entries(acl)
        return associated

    def _add_ipv6_entries(self, acl: NetworkAcl) -> None:
        for egress in (False, True):
            if acl.default:
                self._add_entry(acl, ALLOW_IPV6, "allow", "::/0", egress=egress)
            self._add_entry(acl, DENY_IPV6, "deny", "::/0", egress=egress)

    def _add_entry(self, acl: NetworkAcl, number: int, action: str, cidr: str, *, egress: bool) -> None:
        if any((one.rule_number, one.egress) == (number, egress) for one in acl.entries):
            return
        self.create_network_acl_entry(
            network_acl_id=acl.id,
            rule_number=number,
            protocol="-1",
            rule_action=action,
            egress=egress,
            cidr_block=None if ":" in cidr else cidr,  # type: ignore[arg-type]  # moto's annotation has no None
            icmp_code=None,
            icmp_type=None,
            port_range_from=None,
            port_range_to=None,
            ipv6_cidr_block=cidr if ":" in cidr else None,
        )
