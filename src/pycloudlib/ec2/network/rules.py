"""The rules of a security group.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pycloudlib.errors import InvalidArgumentError

Direction = Literal["ingress", "egress"]

PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "all")
"""The protocols of a rule. EC2's own value for "all", "-1", is also accepted."""

ALL = "all"
WIRE_ALL = "-1"
ICMP = ("icmp", "icmpv6")
MAX_PORT = 65535
MAX_ICMP = 255
ANY_ICMP = -1
"""All ICMP types, or all ICMP codes."""

ANYWHERE = ("0.0.0.0/0", "::/0")

_ID = re.compile(r"(sg|pl)-[0-9a-f]+")


@dataclass(frozen=True)
class Rule:
    """A rule: the traffic of a protocol from or to one source.

    Args:
        direction: "ingress" or "egress".
        protocol: "tcp", "udp", "icmp", "icmpv6", or "all"; EC2's number for other protocols.
        from_port: the first port, or the ICMP type, -1 for all types; None if ports do not apply.
        to_port: the last port, or the ICMP code, -1 for all codes; None if ports do not apply.
        source: the source, or for egress the destination: a CIDR block ("203.0.113.0/24", "::/0"), or the id of a
            security group ("sg-...") or a prefix list ("pl-...").
        description: the description, which has no effect; default none.
    """

    direction: Direction
    protocol: str
    from_port: int | None
    to_port: int | None
    source: str
    description: str = ""

    @property
    def cidr(self) -> str | None:
        """The CIDR block of the source; None for a security group or a prefix list."""
        return None if _ID.fullmatch(self.source) else self.source

    @property
    def source_group(self) -> str | None:
        """The security group id of the source; None for other sources."""
        return self.source if self.source.startswith("sg-") else None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.direction, self.protocol, self._numbers(), self.source)))

    def _numbers(self) -> str:
        if self.from_port is None or self.from_port == ANY_ICMP:
            return ""
        if self.protocol in ICMP:
            return f"type {self.from_port}" + (f" code {self.to_port}" if self.to_port != ANY_ICMP else "")
        return str(self.from_port) if self.from_port == self.to_port else f"{self.from_port}-{self.to_port}"


def checked_rule(
    protocol: str,
    from_port: int | None,
    to_port: int | None,
    source: str,
    *,
    direction: Direction = "ingress",
    description: str = "",
) -> Rule:
    """Return a valid rule.

    Args:
        protocol: one of PROTOCOLS, or "-1".
        from_port: the first port, or the ICMP type; None for all types, and for the protocol "all".
        to_port: the last port, or the ICMP code; None for the first port, or all codes.
        source: a CIDR block, or the id of a security group or a prefix list.
        direction: "ingress" (default) or "egress".
        description: the description, at most 255 characters; default none.

    Raises:
        InvalidArgumentError: an argument is invalid; the message says what is allowed.
    """
    name = ALL if str(protocol) == WIRE_ALL else protocol
    if name not in PROTOCOLS:
        raise InvalidArgumentError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    first, last = _checked_ports(name, from_port, to_port)
    check_text("the description of a rule", description)
    return Rule(direction, name, first, last, _checked_source(source), description)


def rule_from(rule: Rule | tuple[str, int | None, int | None, str]) -> Rule:
    """Return a valid ingress rule from a Rule, or from (protocol, from_port, to_port, source).

    Raises:
        InvalidArgumentError: the rule has another form, or is invalid.
    """
    if isinstance(rule, Rule):
        if rule.direction != "ingress":
            raise InvalidArgumentError(f"the rule {rule} is not one for ingress")
        return checked_rule(rule.protocol, rule.from_port, rule.to_port, rule.source, description=rule.description)
    if not isinstance(rule, tuple) or len(rule) != len(("protocol", "from_port", "to_port", "source")):
        raise InvalidArgumentError(
            f"{rule!r} is not a rule: it must be a Rule or (protocol, from_port, to_port, source)"
        )
    return checked_rule(*rule)


def to_permissions(rules: Iterable[Rule], *, with_description: bool = True) -> list[dict[str, Any]]:
    """Return the parameter IpPermissions for some rules.

    Args:
        rules: the rules, all of one direction.
        with_description: whether to include descriptions; default yes. RevokeSecurityGroup calls do not take them.
    """
    return [_permission(rule, with_description=with_description) for rule in rules]


def from_group(record: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules of a security group in a DescribeSecurityGroups response, one for each source."""
    ingress = [rule for permission in record.get("IpPermissions", ()) for rule in _rules_of(permission, "ingress")]
    egress = [rule for permission in record.get("IpPermissionsEgress", ()) for rule in _rules_of(permission, "egress")]
    return (*ingress, *egress)


def check_text(what: str, text: str) -> None:
    """Raise if a description is invalid.

    Raises:
        InvalidArgumentError: the description is invalid; the message says what is allowed.
    """
    if not isinstance(text, str) or not re.fullmatch(r"[\w ._\-:/()#,@\[\]+=&;{}!$*]{0,255}", text, re.ASCII):
        raise InvalidArgumentError(
            f"{what} is {text!r}; it must have at most 255 characters: "
            "letters a to z, digits, spaces and ._-:/()#,@[]+=&;{}!$*"
        )


def checked_network(text: str) -> str:
    """Validate an IPv4 or IPv6 CIDR block.

    Returns:
        The CIDR block in EC2's notation.

    Raises:
        InvalidArgumentError: the CIDR block is invalid. If it has host bits, the message suggests the network.
    """
    try:
        return str(ipaddress.ip_network(text))
    except (ValueError, TypeError):
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except (ValueError, TypeError):
        raise InvalidArgumentError(f"{text!r} is not a network such as '203.0.113.0/24' or '2001:db8::/32'") from None
    raise InvalidArgumentError(f"{text!r} is not a network: the network of this address is {str(network)!r}")


def _checked_source(source: str) -> str:
    if isinstance(source, str) and _ID.fullmatch(source):
        return source
    if not isinstance(source, str):
        raise InvalidArgumentError(f"{source!r} is neither a network such as '203.0.113.0/24' nor a security group")
    return checked_network(source)


def _checked_ports(protocol: str, first: int | None, last: int | None) -> tuple[int | None, int | None]:
    if protocol == ALL:
        if any(port not in (None, -1) for port in (first, last)):
            raise InvalidArgumentError(f"a rule for all protocols has no ports; given: {first!r} to {last!r}")
        return None, None
    if protocol in ICMP:
        return _in_range("ICMP type", first, ANY_ICMP, MAX_ICMP), _in_range("ICMP code", last, ANY_ICMP, MAX_ICMP)
    if first is None:
        raise InvalidArgumentError(f"a rule for {protocol} needs a port: 0 to {MAX_PORT}")
    low = _in_range("from_port", first, 0, MAX_PORT)
    high = _in_range("to_port", first if last is None else last, 0, MAX_PORT)
    if low > high:
        raise InvalidArgumentError(f"from_port {low} is higher than to_port {high}")
    return low, high


def _in_range(what: str, number: int | None, low: int, high: int) -> int:
    if number is None:
        return low
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise InvalidArgumentError(f"{what} is {number!r}; it must be a whole number from {low} to {high}")
    return number


def _permission(rule: Rule, *, with_description: bool) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": WIRE_ALL if rule.protocol == ALL else rule.protocol}
    if rule.from_port is not None:
        permission |= {"FromPort": rule.from_port, "ToPort": rule.to_port}
    description = {"Description": rule.description} if rule.description and with_description else {}
    ranges, key = _place_of(rule.source)
    return permission | {ranges: [{key: rule.source, **description}]}


def _place_of(source: str) -> tuple[str, str]:
    if source.startswith("sg-"):
        return "UserIdGroupPairs", "GroupId"
    if source.startswith("pl-"):
        return "PrefixListIds", "PrefixListId"
    return ("Ipv6Ranges", "CidrIpv6") if ":" in source else ("IpRanges", "CidrIp")


def _rules_of(permission: Mapping[str, Any], direction: Direction) -> Iterator[Rule]:
    protocol = permission["IpProtocol"]
    for ranges, key in (
        ("IpRanges", "CidrIp"),
        ("Ipv6Ranges", "CidrIpv6"),
        ("UserIdGroupPairs", "GroupId"),
        ("PrefixListIds", "PrefixListId"),
    ):
        for source in permission.get(ranges, ()):
            yield Rule(
                direction=direction,
                protocol=ALL if protocol == WIRE_ALL else protocol,
                from_port=None if protocol == WIRE_ALL else permission.get("FromPort"),
                to_port=None if protocol == WIRE_ALL else permission.get("ToPort"),
                source=source[key],
                description=source.get("Description", ""),
            )
