"""The wire of security groups: a request changes all that it names, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.security_groups import SecurityGroup
from moto.ec2.responses import EC2Response

from pycloudlib.local.models.security_groups import check_permissions

_ONE_RULE = ("IpProtocol", "FromPort", "ToPort")


class SecurityGroupResponse(EC2Response):
    """Answers what is asked about security groups."""

    def authorize_security_group_ingress(self) -> ActionResult:
        """AuthorizeSecurityGroupIngress."""
        return self._authorize(self.ec2_backend.authorize_security_group_ingress)

    def authorize_security_group_egress(self) -> ActionResult:
        """AuthorizeSecurityGroupEgress."""
        return self._authorize(self.ec2_backend.authorize_security_group_egress)

    def revoke_security_group_ingress(self) -> ActionResult:
        """RevokeSecurityGroupIngress."""
        with self._all_or_nothing():
            return super().revoke_security_group_ingress()

    def revoke_security_group_egress(self) -> ActionResult:
        """RevokeSecurityGroupEgress."""
        with self._all_or_nothing():
            return super().revoke_security_group_egress()

    def _authorize(self, authorize: Any) -> ActionResult:
        check_permissions(self._permissions())
        added: list[Any] = []
        with self._all_or_nothing():
            for arguments in self._process_rules_from_querystring():
                rules, _ = authorize(**arguments)
                added.extend(rules)
            if not added:
                raise EC2ClientError("MissingParameter", "Either 'ipPermissions' or a source should be provided.")
        return ActionResult({"Return": True, "SecurityGroupRules": added})

    def _permissions(self) -> list[dict[str, Any]]:
        given = self._get_param("IpPermissions")
        if given is not None:
            return list(given)
        one = {name: self._get_param(name) for name in _ONE_RULE if self._get_param(name) is not None}
        cidr = self._get_param("CidrIp")
        return [{**one, "IpRanges": [{"CidrIp": cidr}] if cidr else []}] if one else []

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
