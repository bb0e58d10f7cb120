"""Security groups, with EC2's validation."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError, SecurityGroup, SecurityGroupRule

LONGEST_NAME = 255
MAX_PORT = 65535
MAX_ICMP = 255

_WITH_PORTS = {"tcp", "udp", "6", "17"}
_NAMED = {*_WITH_PORTS, "icmp", "icmpv6", "all"}

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html
_PUNCTUATION = set(" ._-:/()#,@[]+=&;{}!$*")


class SecurityGroupRecords(LocalRecords):
    """The security groups of one account in one region."""

    def create_security_group(self, name: str, description: str, *args: Any, **kwargs: Any) -> SecurityGroup:
        """Create a security group (CreateSecurityGroup).

        Raises:
            EC2ClientError: the name or the description is invalid, the name is taken, or the VPC does not exist.
        """
        if not kwargs.get("is_default"):
            _check_text("groupName", name)
            _check_text("groupDescription", description)
            self._check_group_name(name)
        vpc_id = kwargs.get("vpc_id")
        if vpc_id and vpc_id not in self.vpcs:
            raise EC2ClientError("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")
        # moto's own check would match the name against ids, and against groups of all VPCs if no VPC is given.
        if not kwargs.get("force") and any(group.name == name for group in self._groups_of(vpc_id)):
            raise EC2ClientError(
                "InvalidGroup.Duplicate",
                f"The security group '{name}' already exists for VPC '{vpc_id or self.default_vpc.id}'",
            )
        group: SecurityGroup = super().create_security_group(name, description, *args, **{**kwargs, "force": True})
        if kwargs.get("is_default"):
            members = {"GroupId": group.id, "UserId": self.account_id}
            group.add_ingress_rule(
                SecurityGroupRule(self, "-1", group.id, None, None, None, source_group=members, is_egress=False)
            )
        return group

    def associate_vpc_cidr_block(
        self, vpc_id: str, cidr_block: str, amazon_provided_ipv6_cidr_block: bool
    ) -> dict[str, Any]:
        """Associate a CIDR block (AssociateVpcCidrBlock).

        An IPv6 block adds an outbound IPv6 rule to the default group if its outbound rules are unmodified.

        See https://docs.aws.amazon.com/vpc/latest/userguide/default-security-group.html
        """
        associated: dict[str, Any] = super().associate_vpc_cidr_block(
            vpc_id, cidr_block, amazon_provided_ipv6_cidr_block
        )
        if amazon_provided_ipv6_cidr_block:
            for group in self._groups_of(vpc_id):
                if group.is_default and _allows_all_outbound_ipv4_only(group):
                    group.egress_rules.append(SecurityGroupRule(self, "-1", group.id, None, None, {"CidrIpv6": "::/0"}))
        return associated

    def describe_security_groups(
        self, group_ids: list[str] | None = None, groupnames: list[str] | None = None, filters: Any = None
    ) -> list[SecurityGroup]:
        """Return security groups (DescribeSecurityGroups).

        Args:
            group_ids: ids of groups.
            groupnames: names of groups of the default VPC; without ids and names, all groups.
            filters: ignored: the dispatcher applies them.

        Raises:
            EC2ClientError: an id or a name is unknown (InvalidGroup.NotFound).
        """
        groups = {group.id: group for group in self._all_groups()}
        for group_id in group_ids or ():
            if group_id not in groups:
                raise _not_found(group_id)
        default_vpc_ids = {group.name: group.id for group in self._groups_of(None)} if groupnames else {}
        for name in groupnames or ():
            if name not in default_vpc_ids:
                raise _not_found(name)
        requested_ids = {*(group_ids or ()), *(default_vpc_ids[name] for name in groupnames or ())} or set(groups)
        return [group for group in groups.values() if group.id in requested_ids]

    def delete_security_group(self, name: str | None = None, group_id: str | None = None) -> None:
        """Delete an unused security group (DeleteSecurityGroup).

        Raises:
            EC2ClientError: the group is unknown, a default group (CannotDelete), or in use (DependencyViolation).
        """
        group = self.security_group_of(name, group_id)
        if group.is_default:
            raise EC2ClientError(
                "CannotDelete",
                f'the specified group: "{group.id}" name: "{group.name}" cannot be deleted by a user',
            )
        if self._is_used(group):
            raise EC2ClientError("DependencyViolation", f"resource {group.id} has a dependent object")
        super().delete_security_group(group_id=group.id)

    def _is_used(self, group: SecurityGroup) -> bool:
        if any(used.id == group.id for eni in self.enis.values() for used in eni.group_set):
            return True
        return any(
            rule.source_group.get("GroupId") == group.id
            for other in self._all_groups()
            if other.id != group.id
            for rule in (*other.ingress_rules, *other.egress_rules)
        )

    def security_group_of(self, name: str | None, group_id: str | None) -> SecurityGroup:
        """Return a group by its name or its id.

        Raises:
            EC2ClientError: neither is given, or the group does not exist.
        """
        if not name and not group_id:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter groupName or groupId")
        return self.describe_security_groups([group_id] if group_id else [], [name] if name else [])[0]

    def _check_group_name(self, name: str) -> None:
        if name == "default":
            raise EC2ClientError("InvalidParameterValue", "Cannot use reserved security group name: default")
        if name.startswith("sg-"):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({name}) for parameter groupName is invalid. Group names may not be in the format sg-*",
            )

    def _all_groups(self) -> Iterator[SecurityGroup]:
        for groups in self.groups.values():
            yield from groups.values()

    def _groups_of(self, vpc_id: str | None) -> Iterable[SecurityGroup]:
        requested_vpc = vpc_id or (self.default_vpc.id if self.default_vpc else None)
        return [group for group in self._all_groups() if group.vpc_id == requested_vpc]


def _allows_all_outbound_ipv4_only(group: SecurityGroup) -> bool:
    return [(rule.ip_protocol, rule.ip_range) for rule in group.egress_rules] == [("-1", {"CidrIp": "0.0.0.0/0"})]


def complete_ports(permission: dict[str, Any]) -> None:
    """Set the port range to -1 through -1 for a protocol without ports: the rule allows all of its traffic.

    Args:
        permission: a member of IpPermissions; changed in place.
    """
    protocol = str(permission.get("IpProtocol") or "").lower()
    needs_range = protocol in {"", "-1", "all", "icmp", "1", *_WITH_PORTS}
    if not needs_range and permission.get("FromPort") is None and permission.get("ToPort") is None:
        permission["FromPort"] = permission["ToPort"] = -1


def canonicalize(permissions: Iterable[dict[str, Any]]) -> None:
    """Clear the host bits of the rules' CIDR blocks, as EC2 does.

    Args:
        permissions: IpPermissions of the request; changed in place.

    Raises:
        EC2ClientError: a CIDR block is malformed.
    """
    for permission in permissions:
        for ip_range in permission.get("IpRanges") or ():
            ip_range["CidrIp"] = _checked_cidr(ip_range.get("CidrIp"), ipaddress.IPv4Network)
        for ip_range in permission.get("Ipv6Ranges") or ():
            ip_range["CidrIpv6"] = _checked_cidr(ip_range.get("CidrIpv6"), ipaddress.IPv6Network)


def check_permissions(permissions: Iterable[Mapping[str, Any]]) -> None:
    """Validate the rules of a request.

    Args:
        permissions: IpPermissions of the request, canonicalized.

    Raises:
        EC2ClientError: a protocol, a port range, or a description is invalid, or a rule is repeated.
    """
    seen = set()
    for permission in permissions:
        _check_ports(permission)
        _check_descriptions(permission)
        for source in _sources(permission):
            rule = (permission.get("IpProtocol"), permission.get("FromPort"), permission.get("ToPort"), source)
            if rule in seen:
                raise EC2ClientError("InvalidParameterValue", "The same permission must not appear multiple times")
            seen.add(rule)


_DESCRIBED = (
    ("IpRanges", "CidrIp", "ip_range"),
    ("Ipv6Ranges", "CidrIpv6", "ip_range"),
    ("UserIdGroupPairs", "GroupId", "source_group"),
)
"""The source kinds with descriptions: member of a permission, member of a source, attribute of a rule."""


def described_rules(
    rules: Iterable[SecurityGroupRule], permission: Mapping[str, Any]
) -> Iterator[tuple[SecurityGroupRule, str | None]]:
    """Yield the rules that a permission names, with the descriptions it gives them.

    Raises:
        EC2ClientError: the group has no such rule (InvalidPermission.NotFound).
    """
    candidates = _with_traffic(rules, permission)
    for member, name, attribute in _DESCRIBED:
        for source in permission.get(member) or ():
            matching_rule = next(
                (rule for rule in candidates if getattr(rule, attribute).get(name) == source.get(name)), None
            )
            if matching_rule is None:
                raise EC2ClientError(
                    "InvalidPermission.NotFound", "The specified rule does not exist in this security group."
                )
            yield matching_rule, source.get("Description")


def check_group_rules(rules: Iterable[SecurityGroupRule], permission: Mapping[str, Any]) -> None:
    """Reject a rule for a source group that exists with another description.

    Raises:
        EC2ClientError: the rule exists (InvalidPermission.Duplicate).
    """
    existing = {rule.source_group.get("GroupId") for rule in _with_traffic(rules, permission)}
    if any(pair.get("GroupId") in existing for pair in permission.get("UserIdGroupPairs") or ()):
        raise EC2ClientError("InvalidPermission.Duplicate", "The specified rule already exists")


def complete_descriptions(rules: Iterable[SecurityGroupRule], permission: Mapping[str, Any]) -> None:
    """Set the descriptions of source groups to those of the rules, which are found without them.

    Args:
        rules: the rules of the security group.
        permission: a member of IpPermissions; changed in place.
    """
    described = {
        rule.source_group.get("GroupId"): rule.source_group.get("Description")
        for rule in _with_traffic(rules, permission)
    }
    for pair in permission.get("UserIdGroupPairs") or ():
        pair.pop("Description", None)
        if described.get(pair.get("GroupId")) is not None:
            pair["Description"] = described[pair["GroupId"]]


_NAMES = {"1": "icmp", "6": "tcp", "17": "udp", "all": "-1"}
"""moto's names of protocols."""


def _with_traffic(rules: Iterable[SecurityGroupRule], permission: Mapping[str, Any]) -> list[SecurityGroupRule]:
    """Return the rules with the protocol and the ports of a permission."""
    protocol_text = str(permission.get("IpProtocol")).lower()
    protocol = _NAMES.get(protocol_text, protocol_text)
    first, last = (None, None) if protocol == "-1" else (permission.get("FromPort"), permission.get("ToPort"))
    return [rule for rule in rules if (rule.ip_protocol, rule.from_port, rule.to_port) == (protocol, first, last)]


def rule_of_id(rules: Iterable[SecurityGroupRule], rule_id: str) -> SecurityGroupRule:
    """Return a rule by its id.

    Raises:
        EC2ClientError: the id is unknown (InvalidSecurityGroupRuleId.NotFound).
    """
    for rule in rules:
        if rule.id == rule_id:
            return rule
    raise EC2ClientError(
        "InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{rule_id}' does not exist"
    )


_SOURCES = {
    "CidrIpv4": ("IpRanges", "CidrIp", "IPv4 CIDR"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6", "IPv6 CIDR"),
    "PrefixListId": ("PrefixListIds", "PrefixListId", "prefix list"),
    "ReferencedGroupId": ("UserIdGroupPairs", "GroupId", "security group"),
}
"""The sources of a rule: the member of a permission, the member of its source, and the kind of the rule."""


def modified_rule(rule: SecurityGroupRule, update: Mapping[str, Any]) -> SecurityGroupRule:
    """Return a copy of a rule with the values of a SecurityGroupRuleRequest.

    Args:
        rule: the rule, which stays as it is.
        update: the values; without Description, the rule keeps its description.

    Raises:
        EC2ClientError: a value is invalid, or the rule has another kind of source.
    """
    source_members = [name for name in _SOURCES if update.get(name)]
    if len(source_members) != 1:
        raise EC2ClientError(
            "InvalidParameterCombination" if source_members else "MissingParameter",
            f"Specify exactly one of {', '.join(_SOURCES)} for the security group rule '{rule.id}'",
        )
    member, name, _ = _SOURCES[source_members[0]]
    kind = _kind_of(rule)
    if kind != source_members[0]:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Invalid rule type for security group rule '{rule.id}'. You may not specify {source_members[0]} "
            f"for an existing {_SOURCES[kind][2]} rule.",
        )
    old_source = rule.source_group or rule.ip_range
    description = update.get("Description", old_source.get("Description"))
    source = {name: update[source_members[0]], **({"Description": description} if description is not None else {})}
    permission = {
        field: update[field] for field in ("IpProtocol", "FromPort", "ToPort") if update.get(field) is not None
    }
    permission[member] = [source]
    complete_ports(permission)
    canonicalize([permission])
    check_permissions([permission])
    changed = SecurityGroupRule(
        rule.ec2_backend,
        permission["IpProtocol"],
        rule.group_id,
        permission.get("FromPort"),
        permission.get("ToPort"),
        source if kind.startswith("Cidr") else None,
        source_group={**rule.source_group, **source} if kind == "ReferencedGroupId" else None,
        prefix_list_id=source if kind == "PrefixListId" else None,
        is_egress=rule.is_egress,
    )
    changed.id = rule.id
    return changed


def _kind_of(rule: SecurityGroupRule) -> str:
    if rule.source_group:
        return "ReferencedGroupId"
    if rule.prefix_list_id:
        return "PrefixListId"
    return "CidrIpv6" if rule.cidr_ipv6 else "CidrIpv4"


def set_description(rule: SecurityGroupRule, description: str | None) -> None:
    """Set the description of a rule; None removes it."""
    source = rule.source_group or rule.ip_range
    source.pop("Description", None)
    if description is not None:
        source["Description"] = description


def _sources(permission: Mapping[str, Any]) -> Iterator[str]:
    for ip_range in permission.get("IpRanges") or ():
        yield str(ip_range.get("CidrIp"))
    for ip_range in permission.get("Ipv6Ranges") or ():
        yield str(ip_range.get("CidrIpv6"))
    for pair in permission.get("UserIdGroupPairs") or ():
        yield str(pair.get("GroupId") or pair.get("GroupName"))
    for prefix_list in permission.get("PrefixListIds") or ():
        yield str(prefix_list.get("PrefixListId"))


def _checked_cidr(cidr: str | None, kind: type[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str:
    try:
        network = kind(cidr or "", strict=False)
    except ValueError:
        network = None
    if network is None or "/" not in str(cidr):
        raise EC2ClientError("InvalidParameterValue", f"CIDR block {cidr} is malformed")
    return str(network)


def _check_descriptions(permission: Mapping[str, Any]) -> None:
    for kind in ("IpRanges", "Ipv6Ranges", "UserIdGroupPairs"):
        for source in permission.get(kind) or ():
            text = source.get("Description") or ""
            if not _is_plain(text):
                raise EC2ClientError(
                    "InvalidParameterValue",
                    "Invalid rule description. Valid descriptions are strings less than 256 characters from the "
                    "following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
                )


def _check_ports(permission: Mapping[str, Any]) -> None:
    protocol = str(permission.get("IpProtocol") or "").lower()
    if not protocol:
        raise EC2ClientError("MissingParameter", "The request must contain the parameter ipProtocol")
    if protocol not in _NAMED and not (protocol == "-1" or (protocol.isdecimal() and int(protocol) < MAX_ICMP + 1)):
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{permission['IpProtocol']}' for IP protocol")
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if (first is None) != (last is None):
        raise EC2ClientError("MissingParameter", "The parameters fromPort and toPort are given both, or neither")
    if protocol in _WITH_PORTS:
        _check_port_range(protocol, first, last)
    if protocol in ("icmp", "icmpv6"):
        for number in (first, last):
            if number is None or not -1 <= int(number) <= MAX_ICMP:
                raise EC2ClientError("InvalidParameterValue", f"ICMP code ({number}) out of range")


def _check_port_range(protocol: str, first: Any, last: Any) -> None:
    if first is None or last is None:
        raise EC2ClientError(
            "InvalidParameterValue",
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        )
    name = {"6": "TCP", "17": "UDP"}.get(protocol, protocol.upper())
    for port in (int(first), int(last)):
        if not 0 <= port <= MAX_PORT:
            raise EC2ClientError("InvalidParameterValue", f"Invalid value '{port}' for portRange. Port out of range")
    if int(first) > int(last):
        raise EC2ClientError("InvalidParameterValue", f"Invalid {name} port range ({first}-{last})")


def _check_text(parameter: str, text: str | None) -> None:
    if not text:
        raise EC2ClientError("MissingParameter", f"The request must contain the parameter {parameter}")
    if not _is_plain(text):
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({text}) for parameter {parameter} is invalid. Character sets beyond ASCII are not supported: "
            f"a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{{}}!$* are, {LONGEST_NAME} of them at most.",
        )


def _is_plain(text: str) -> bool:
    return len(text) <= LONGEST_NAME and all(
        character in _PUNCTUATION or (character.isascii() and character.isalnum()) for character in text
    )


def _not_found(name: str) -> EC2ClientError:
    return EC2ClientError("InvalidGroup.NotFound", f"The security group '{name}' does not exist")
