"""Network ACLs, with the default entries that moto lacks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError, NetworkAcl

ALLOW_IPV6 = 101
DENY_IPV4, DENY_IPV6 = 32767, 32768
"""The last entries of every network ACL, shown as "*".

https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html
"""


_NUMBERS = {"all": "-1", "icmp": "1", "icmpv6": "58", "tcp": "6", "udp": "17"}
_ICMP, _WITH_PORTS = ("1", "58"), ("6", "17")
_LAST_PROTOCOL, _LAST_PORT, _LAST_ICMP = 255, 65535, 255


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
        if any((existing.rule_number, existing.egress) == (number, egress) for existing in acl.entries):
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


def checked_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Validate an entry, and return it with the number of its protocol and its CIDR block in canonical form.

    Args:
        entry: the arguments of moto's `create_network_acl_entry()`.

    Raises:
        EC2ClientError: a value is invalid (InvalidParameterValue), or missing (MissingParameter).
    """
    protocol_text = str(entry["protocol"]).lower()
    protocol = _NUMBERS.get(protocol_text, protocol_text)
    if protocol != "-1" and not (protocol.isdecimal() and int(protocol) <= _LAST_PROTOCOL):
        raise _invalid("protocol", entry["protocol"])
    if protocol in _WITH_PORTS:
        _check_range("portRange", entry["port_range_from"], entry["port_range_to"], 0, _LAST_PORT)
        if entry["port_range_from"] > entry["port_range_to"]:
            raise _invalid("portRange", f"{entry['port_range_from']}-{entry['port_range_to']}")
    if protocol in _ICMP:
        _check_range("icmpTypeCode", entry["icmp_type"], entry["icmp_code"], -1, _LAST_ICMP)
    blocks = {
        "cidr_block": _canonical(entry["cidr_block"], ipaddress.IPv4Network),
        "ipv6_cidr_block": _canonical(entry["ipv6_cidr_block"], ipaddress.IPv6Network),
    }
    return {**entry, "protocol": protocol, **blocks}


def _check_range(name: str, first: int | None, last: int | None, lowest: int, highest: int) -> None:
    if first is None or last is None:
        raise EC2ClientError("MissingParameter", f"The request must contain the parameter {name}")
    for number in (first, last):
        if not lowest <= number <= highest:
            raise _invalid(name, number)


def _canonical(cidr: str | None, kind: type[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str | None:
    if cidr is None:
        return None
    try:
        return str(kind(cidr, strict=False))
    except ValueError:
        raise EC2ClientError("InvalidParameterValue", f"CIDR block {cidr} is malformed") from None


def _invalid(name: str, value: object) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")
