"""Security groups."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent, when_free
from pycloudlib.ec2.api.creating import CreateRequest, create
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.api.filters import described_filters
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.network.interfaces import NetworkInterfaces
from pycloudlib.ec2.network.rules import Direction, Rule, check_text, checked_rule, from_group, to_permissions
from pycloudlib.errors import CloudError, InvalidArgumentError, PycloudlibError
from pycloudlib.lifecycle import UndoOrder

T = TypeVar("T")

logger = logging.getLogger(__name__)

KIND = "security group"

DELETE_TIMEOUT = 300.0
"""Seconds for the users of a security group to be deleted."""

UNDO_TIMEOUT = 60.0
"""Seconds for EC2 to respond when a security group is deleted after another error."""


@dataclass(frozen=True)
class SecurityGroup:
    """A security group. Its rules control the traffic of its instances.

    Args:
        id: the group id, such as "sg-0123456789abcdef0".
        name: the name, unique in its VPC.
        description: the description.
        vpc_id: the VPC; empty on servers without VPCs.
        tags: the tags, as of the description.
    """

    id: str
    name: str
    description: str
    vpc_id: str
    tags: Mapping[str, str]
    _context: RegionContext = field(repr=False, compare=False)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The current rules, one for each source. Each access calls DescribeSecurityGroups.

        Raises:
            ResourceNotFoundError: the group no longer exists.
        """
        describe = partial(self._context.client.describe_security_groups, GroupIds=[self.id])
        return from_group(self._until_consistent(describe, "describe")["SecurityGroups"][0])

    def authorize(
        self,
        protocol: str,
        from_port: int | None = None,
        to_port: int | None = None,
        cidr: str | None = None,
        source_group: SecurityGroup | str | None = None,
        *,
        egress: bool = False,
        description: str = "",
    ) -> None:
        """Add a rule (AuthorizeSecurityGroupIngress, AuthorizeSecurityGroupEgress). Idempotent.

        Args:
            protocol: "tcp", "udp", "icmp", "icmpv6", or "all" ("-1").
            from_port: the first port, 0 to 65535; the type for ICMP, default all; none for "all".
            to_port: the last port, default the first one; the code for ICMP, default all.
            cidr: the source's IPv4 or IPv6 CIDR block, or the id of a prefix list.
            source_group: the source's security group, or its id; instead of `cidr`.
            egress: whether the rule is for egress, with a destination instead of a source; default no.
            description: the description, at most 255 characters; default none.

        Raises:
            InvalidArgumentError: an argument is invalid; the message says what is allowed.
        """
        rule = _rule(protocol, from_port, to_port, cidr, source_group, egress=egress, description=description)
        self.add([rule])

    def revoke(
        self,
        protocol: str,
        from_port: int | None = None,
        to_port: int | None = None,
        cidr: str | None = None,
        source_group: SecurityGroup | str | None = None,
        *,
        egress: bool = False,
    ) -> None:
        """Remove a rule (RevokeSecurityGroupIngress, RevokeSecurityGroupEgress). No-op if it does not exist.

        Args:
            protocol: the protocol; see `authorize()` for this and the other arguments.
            from_port: the first port, or the ICMP type.
            to_port: the last port, or the ICMP code.
            cidr: the CIDR block, or the id of a prefix list.
            source_group: the security group, or its id.
            egress: whether the rule is for egress; default no.

        Raises:
            InvalidArgumentError: an argument is invalid.
        """
        rule = _rule(protocol, from_port, to_port, cidr, source_group, egress=egress)
        self.remove([rule])

    def add(self, rules: list[Rule], deadline: Deadline = NEVER) -> None:
        """Add several rules. Idempotent.

        Args:
            rules: the rules, of either direction.
            deadline: when to stop waiting for EC2; default never.
        """
        for direction in ("ingress", "egress"):
            of_direction = [rule for rule in rules if rule.direction == direction]
            if of_direction:
                self._authorize(direction, of_direction, deadline)

    def remove(self, rules: list[Rule]) -> None:
        """Remove several rules, ignoring those that do not exist.

        Args:
            rules: the rules, of either direction.
        """
        for rule in rules:
            call = self._call("revoke", rule.direction)
            permissions = to_permissions([rule], with_description=False)
            try:
                self._until_consistent(partial(call, GroupId=self.id, IpPermissions=permissions), "change")
            except CloudError as error:
                if error.code != "InvalidPermission.NotFound":
                    raise
                logger.info("%s has no rule %s", self.id, rule)

    def copy_to_region(self, region: str, name: str | None = None) -> SecurityGroup:
        """Create a security group with the same rules in the default VPC of another region.

        Copy rules with CIDR blocks, and let rules that reference the group itself reference the copy. Other groups and
        prefix lists do not exist there: skip their rules with a warning.

        Args:
            region: the region, such as "eu-central-1".
            name: the name of the copy; default the same.

        Returns:
            The copy, which `clean()` deletes.

        Raises:
            InvalidArgumentError: the name is invalid.
            CloudError: EC2 rejected the request; nothing is left in the other region.
        """
        rules = self.rules
        tags = {key: value for key, value in self.tags.items() if _is_users(key)}
        copies = SecurityGroups(self._context.in_region(region))
        copy = copies.create(name or self.name, self.description, tags=tags)
        try:
            copy._copy_rules(self.id, rules)
        except BaseException:
            copy._delete_or_log()
            raise
        return copy

    def delete(self, timeout: float = DELETE_TIMEOUT) -> None:
        """Delete the group once nothing uses it (DeleteSecurityGroup). No-op if it is deleted.

        Args:
            timeout: seconds for its users to be deleted; default 300.

        Raises:
            IllegalStateError: the group is still in use.
            NoResponseError: EC2 did not respond in time.
            CloudError: EC2 rejected the request.
        """
        self._delete_by(Deadline.after(timeout))

    def _delete_by(self, deadline: Deadline, patience: float = math.inf) -> None:
        """Delete the group by a deadline. See `delete()`.

        Args:
            deadline: when to give up.
            patience: maximum seconds for its users to be deleted; default until the deadline.
        """
        when_free(
            partial(self._context.client.delete_security_group, GroupId=self.id),
            what=f"delete {self.id}",
            deadline=deadline,
            patience=patience,
            is_hopeless=lambda _: self._is_used_for_good(deadline),
        )
        self._context.ledger.forget(self.id)

    def _is_used_for_good(self, deadline: Deadline) -> bool:
        """Return whether an undeletable instance or interface uses the group (DescribeNetworkInterfaces)."""
        ledger = self._context.ledger
        if not ledger.has_failures:
            return False
        try:
            using = NetworkInterfaces(self._context).find("group-id", self.id, deadline)
        except PycloudlibError as error:
            logger.debug("cannot determine the users of %s: %s", self.id, error)
            return True
        return bool(
            ledger.failed_in(user for interface in using for user in (interface.id, interface.instance_id or ""))
        )

    def _delete_or_log(self) -> None:
        """Delete the group after another error, and log a failure, so that the caller can raise the first error."""
        try:
            self._delete_by(Deadline.after(UNDO_TIMEOUT), patience=0)
        except Exception as error:
            logger.error("could not delete %s; clean() tries again: %s", self.id, error)

    def _authorize(self, direction: Direction, rules: list[Rule], deadline: Deadline) -> None:
        call = self._call("authorize", direction)
        try:
            permissions = to_permissions(rules)
            self._until_consistent(partial(call, GroupId=self.id, IpPermissions=permissions), "change", deadline)
        except CloudError as error:
            if error.code != "InvalidPermission.Duplicate":
                raise
            if len(rules) == 1:
                logger.info("%s has the rule %s already", self.id, rules[0])
                return
            # EC2 rejects the whole call if one rule exists.
            for rule in rules:
                self._authorize(direction, [rule], deadline)

    def _until_consistent(self, call: Callable[[], T], verb: str, deadline: Deadline = NEVER) -> T:
        patience = self._context.consistency_patience(self.id)
        return call_until_consistent(call, what=f"{verb} {self.id}", deadline=deadline, patience=patience)

    def _call(self, verb: str, direction: Direction) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(self._context.client, f"{verb}_security_group_{direction}")
        return call

    def _copy_rules(self, group_id: str, rules: tuple[Rule, ...]) -> None:
        desired = [
            translated
            for translated in (_translated_to(rule, group_id, self.id) for rule in rules)
            if translated is not None
        ]
        current = self.rules
        self.add([rule for rule in desired if rule not in current])
        self.remove([rule for rule in current if rule not in desired])


class SecurityGroups:
    """The security groups of one region.

    Args:
        context: the context of the region.
    """

    def __init__(self, context: RegionContext) -> None:
        self._context = context

    def find(self, filters: Mapping[str, object], deadline: Deadline = NEVER) -> list[SecurityGroup]:
        """Return the matching groups, sorted by name (DescribeSecurityGroups).

        Args:
            filters: see `described_filters()`.
            deadline: when to stop waiting for EC2; default never.
        """
        query_filters: Any = described_filters(filters)
        paginator = self._context.client.get_paginator("describe_security_groups")
        pages = responded(
            lambda: list(paginator.paginate(Filters=query_filters)), what="describe security groups", deadline=deadline
        )
        groups = [self._group(record) for page in pages for record in page["SecurityGroups"]]
        return sorted(groups, key=lambda group: (group.name, group.id))

    def create(
        self,
        name: str,
        description: str,
        *,
        vpc_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        deadline: Deadline = NEVER,
    ) -> SecurityGroup:
        """Create a security group (CreateSecurityGroup).

        Args:
            name: the name, which is also the tag "Name".
            description: the description, which EC2 requires.
            vpc_id: the VPC; default the default VPC.
            tags: further tags; default none.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            InvalidArgumentError: the name, the description, or a tag is invalid.
            CloudError: EC2 rejected the request; for example, the name is taken.
        """
        _check_name(name, description)
        parameters: dict[str, Any] = {"VpcId": vpc_id} if vpc_id else {}
        client = self._context.client

        def call(idempotency_tag: str) -> list[Any]:
            specification = self._context.tags_for(
                "security-group", name=name, extra=tags, idempotency_tag=idempotency_tag
            )
            response = client.create_security_group(
                GroupName=name, Description=description, TagSpecifications=specification, **parameters
            )
            # Complete the record, as DescribeSecurityGroups would return it.
            record = {"GroupName": name, "Description": description, "VpcId": vpc_id or ""}
            return [{**record, "GroupId": response["GroupId"], "Tags": specification[0]["Tags"]}]

        elsewhere = self._context.region != self._context.session.region
        request = CreateRequest(
            kind=f"{KIND} in {self._context.region}" if elsewhere else KIND,
            id_key="GroupId",
            order=UndoOrder.SECURITY_GROUP,
            call=call,
            find=lambda filters: client.describe_security_groups(Filters=filters)["SecurityGroups"],
            delete=lambda record: self._group(record).delete(),
        )
        group = self._group(create(self._context.ledger, request, deadline))
        logger.info("created the security group %s as %s", name, group.id)
        return group

    def _group(self, record: Mapping[str, Any]) -> SecurityGroup:
        tags = {tag["Key"]: tag["Value"] for tag in record.get("Tags", ())}
        return SecurityGroup(
            id=record["GroupId"],
            name=record["GroupName"],
            description=record.get("Description", ""),
            vpc_id=record.get("VpcId", ""),
            tags=MappingProxyType(tags),
            _context=self._context,
        )


def _check_name(name: str, description: str) -> None:
    check_text("the name of a security group", name)
    check_text("the description of a security group", description)
    if not name.strip() or name.startswith("sg-") or name == "default":
        raise InvalidArgumentError(
            f"the name of a security group is {name!r}; it must not be empty, nor 'default', nor begin with 'sg-'"
        )
    if not description:
        raise InvalidArgumentError(f"the security group {name!r} needs a description")


def _rule(
    protocol: str,
    from_port: int | None,
    to_port: int | None,
    cidr: str | None,
    source_group: SecurityGroup | str | None,
    *,
    egress: bool,
    description: str = "",
) -> Rule:
    if (cidr is None) == (source_group is None):
        raise InvalidArgumentError("a rule needs either cidr or source_group, and not both")
    return checked_rule(
        protocol,
        from_port,
        to_port,
        _group_id(source_group) if source_group is not None else str(cidr),
        direction="egress" if egress else "ingress",
        description=description,
    )


def _group_id(group: SecurityGroup | str) -> str:
    group_id = group.id if isinstance(group, SecurityGroup) else group
    if not isinstance(group_id, str) or not re.fullmatch(r"sg-[0-9a-f]+", group_id):
        raise InvalidArgumentError(f"source_group is {group_id!r}; it must be a SecurityGroup, or an id ('sg-...')")
    return group_id


def _is_users(key: str) -> bool:
    return key != "Name" and not key.startswith(("pycloudlib:", "aws:"))


def _translated_to(rule: Rule, group_id: str, copy_id: str) -> Rule | None:
    if rule.cidr is not None and not rule.source.startswith("pl-"):
        return rule
    if rule.source == group_id:
        return Rule(rule.direction, rule.protocol, rule.from_port, rule.to_port, copy_id, rule.description)
    logger.warning("the copy of %s lacks the rule %s, which refers to its own region", group_id, rule)
    return None
