"""Request handlers for security groups: each request is atomic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pycloudlib.local.api.models.security_groups import (
    MAX_PORT,
    canonicalize,
    check_group_rules,
    check_permissions,
    complete_descriptions,
    complete_ports,
    described_rules,
    modified_rule,
    rule_of_id,
    set_description,
)
from pycloudlib.local.api.moto_adapter import (
    ActionResult,
    EC2ClientError,
    EC2Response,
    SecurityGroup,
    SecurityGroupRule,
)

_ONE_RULE = ("IpProtocol", "FromPort", "ToPort")
_ONE_SOURCE = ("CidrIp", "SourceSecurityGroupName", "SourceSecurityGroupOwnerId")

_EVERYTHING: tuple[dict[str, Any], ...] = (
    {"IpProtocol": "tcp", "FromPort": 0, "ToPort": MAX_PORT},
    {"IpProtocol": "udp", "FromPort": 0, "ToPort": MAX_PORT},
    {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1},
)
"""The traffic that a rule for a source group without a protocol allows.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html
"""


class SecurityGroupResponse(EC2Response):
    """Handles actions on security groups."""

    filters: Mapping[str, Sequence[str]]

    def authorize_security_group_ingress(self) -> ActionResult:
        """AuthorizeSecurityGroupIngress."""
        return self._authorize(self.ec2_backend.authorize_security_group_ingress, egress=False)

    def authorize_security_group_egress(self) -> ActionResult:
        """AuthorizeSecurityGroupEgress."""
        return self._authorize(self.ec2_backend.authorize_security_group_egress, egress=True)

    def modify_security_group_rules(self) -> ActionResult:
        """ModifySecurityGroupRules."""
        with self._all_or_nothing() as group:
            for requested in self._get_param("SecurityGroupRules", []):
                update = requested.get("SecurityGroupRule") or {}
                rules = group.ingress_rules
                if all(rule.id != requested["SecurityGroupRuleId"] for rule in rules):
                    rules = group.egress_rules
                rule = rule_of_id(rules, requested["SecurityGroupRuleId"])
                if update.get("ReferencedGroupId"):
                    self.ec2_backend.security_group_of(None, update["ReferencedGroupId"])
                if update.get("PrefixListId"):
                    self.ec2_backend.require_resources([update["PrefixListId"]])
                changed = modified_rule(rule, update)
                if any(other == changed for other in rules if other is not rule):
                    raise EC2ClientError("InvalidPermission.Duplicate", "The specified rule already exists")
                rules[:] = [changed if existing is rule else existing for existing in rules]
        return ActionResult({"Return": True})

    def revoke_security_group_ingress(self) -> ActionResult:
        """RevokeSecurityGroupIngress."""
        self._name_permissions()
        check_permissions(self._get_param("IpPermissions", []))
        with self._all_or_nothing() as group:
            for permission in self._get_param("IpPermissions", []):
                complete_descriptions(group.ingress_rules, permission)
            return super().revoke_security_group_ingress()

    def revoke_security_group_egress(self) -> ActionResult:
        """RevokeSecurityGroupEgress."""
        self._name_permissions()
        check_permissions(self._get_param("IpPermissions", []))
        with self._all_or_nothing() as group:
            for permission in self._get_param("IpPermissions", []):
                complete_descriptions(group.egress_rules, permission)
            return super().revoke_security_group_egress()

    def update_security_group_rule_descriptions_ingress(self) -> ActionResult:
        """UpdateSecurityGroupRuleDescriptionsIngress."""
        return self._describe_rules(egress=False)

    def update_security_group_rule_descriptions_egress(self) -> ActionResult:
        """UpdateSecurityGroupRuleDescriptionsEgress."""
        return self._describe_rules(egress=True)

    def _describe_rules(self, *, egress: bool) -> ActionResult:
        """Set the descriptions of rules, or remove them if the request has none."""
        self._name_permissions()
        permissions, by_id = self._get_param("IpPermissions", []), self._get_param("SecurityGroupRuleDescriptions", [])
        check_permissions(permissions)
        if bool(permissions) == bool(by_id):
            raise EC2ClientError("MissingParameter", "Specify either IpPermissions or SecurityGroupRuleDescriptions")
        with self._all_or_nothing() as group:
            rules = group.egress_rules if egress else group.ingress_rules
            for requested in by_id:
                set_description(rule_of_id(rules, requested.get("SecurityGroupRuleId")), requested.get("Description"))
            for permission in permissions:
                for rule, description in described_rules(rules, permission):
                    set_description(rule, description)
        return ActionResult({"Return": True})

    def _authorize(self, authorize: Any, *, egress: bool) -> ActionResult:
        self._name_permissions()
        permissions = self._get_param("IpPermissions", [])
        check_permissions(permissions)
        added: list[Any] = []
        with self._all_or_nothing() as group:
            for permission in permissions:
                self.ec2_backend.require_resources(
                    prefix_list.get("PrefixListId", "") for prefix_list in permission.get("PrefixListIds") or ()
                )
                check_group_rules(group.egress_rules if egress else group.ingress_rules, permission)
            for arguments in self._process_rules_from_querystring():
                rules, _ = authorize(**arguments)
                added.extend(rules)
            if not added:
                raise EC2ClientError("MissingParameter", "Either 'ipPermissions' or a source should be provided.")
        return ActionResult({"Return": True, "SecurityGroupRules": [_described(rule) for rule in added]})

    def describe_security_group_rules(self) -> ActionResult:
        """DescribeSecurityGroupRules."""
        for group_id in self.filters.get("group-id", ()):
            if not group_id.startswith(("sg-", "*", "?")):
                raise EC2ClientError("InvalidGroupId.Malformed", f"The security group ID '{group_id}' is malformed")
        rules = self.ec2_backend.describe_security_group_rules(self._get_param("SecurityGroupRuleIds", []), {})
        return ActionResult({"SecurityGroupRules": [_described(rule) for rule in rules]})

    def _name_permissions(self) -> None:
        """Turn a single rule's parameters into IpPermissions, groups' names into ids, and canonicalize CIDR blocks."""
        single_rule = {
            name: self._get_param(name) for name in (*_ONE_RULE, *_ONE_SOURCE) if self._get_param(name) is not None
        }
        if single_rule and "IpPermissions" in self.params:
            raise EC2ClientError(
                "InvalidParameterCombination",
                f"The parameter ipPermissions cannot be used with the parameter {next(iter(single_rule))}",
            )
        if single_rule:
            self.params["IpPermissions"] = _permissions(single_rule)
        for name in (*_ONE_RULE, *_ONE_SOURCE):
            self.params.pop(name, None)
        for permission in self.params.get("IpPermissions", []):
            complete_ports(permission)
            for pair in permission.get("UserIdGroupPairs", []):
                if pair.get("GroupName") and not pair.get("GroupId"):
                    pair["GroupId"] = self.ec2_backend.security_group_of(pair.pop("GroupName"), None).id
        canonicalize(self.params.get("IpPermissions", []))

    @contextmanager
    def _all_or_nothing(self) -> Iterator[SecurityGroup]:
        name, group_id = self._get_param("GroupName"), self._get_param("GroupId")
        group: SecurityGroup = self.ec2_backend.security_group_of(name, group_id)
        before = list(group.ingress_rules), list(group.egress_rules)
        try:
            yield group
        except EC2ClientError:
            group.ingress_rules, group.egress_rules = before
            raise


def _described(rule: SecurityGroupRule) -> dict[str, Any]:
    """Return a rule as EC2 describes it."""
    backend, source = rule.ec2_backend, rule.source_group
    described = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "GroupOwnerId": backend.account_id,
        "IsEgress": rule.is_egress,
        "IpProtocol": rule.ip_protocol,
        "FromPort": -1 if rule.from_port is None else rule.from_port,
        "ToPort": -1 if rule.to_port is None else rule.to_port,
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "PrefixListId": rule.prefix_list_id,
        "Description": rule.description or source.get("Description"),
        "SecurityGroupRuleArn": (
            f"arn:aws:ec2:{backend.region_name}:{backend.account_id}:security-group-rule/{rule.id}"
        ),
        "Tags": rule.get_tags(),
    }
    if source:
        described["ReferencedGroupInfo"] = {"GroupId": source.get("GroupId"), "UserId": source.get("UserId")}
    return described


def _permissions(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Convert the parameters of a single rule to IpPermissions."""
    rule = {name: parameters[name] for name in _ONE_RULE if name in parameters}
    if "CidrIp" in parameters:
        return [{**rule, "IpRanges": [{"CidrIp": parameters["CidrIp"]}]}]
    if "SourceSecurityGroupName" not in parameters:
        return [rule]
    pair = {"GroupName": parameters["SourceSecurityGroupName"]}
    if "SourceSecurityGroupOwnerId" in parameters:
        pair["UserId"] = parameters["SourceSecurityGroupOwnerId"]
    return [{**permission, "UserIdGroupPairs": [dict(pair)]} for permission in ([rule] if rule else _EVERYTHING)]
