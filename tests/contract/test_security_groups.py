"""Security groups through EC2: created, changed, read back, copied and deleted."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.network.rules import Rule
from pycloudlib.ec2.network.security_groups import SecurityGroup
from pycloudlib.errors import CloudError, InvalidArgumentError, ResourceNotFoundError

"""No test here needs a guest."""


@pytest.fixture
def group(ec2: EC2) -> SecurityGroup:
    return ec2.create_security_group(ec2.tag, "for a test")


def ingress(group: SecurityGroup) -> list[Rule]:
    return [rule for rule in group.rules if rule.direction == "ingress"]


def test_a_created_group_is_listed_with_its_tags(ec2: EC2) -> None:
    created = ec2.create_security_group(ec2.tag, "for a test", tags={"team": "blue"})
    (listed,) = ec2.security_groups(group_name=ec2.tag)
    assert (listed.id, listed.name, listed.description) == (created.id, ec2.tag, "for a test")
    assert listed.tags["team"] == "blue"
    assert listed.tags == created.tags
    assert {"pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(listed.tags)


def test_groups_are_found_by_tag_and_by_several_names(ec2: EC2) -> None:
    one = ec2.create_security_group(f"{ec2.tag}-1", "one", tags={"number": ec2.tag})
    two = ec2.create_security_group(f"{ec2.tag}-2", "two")
    assert [group.id for group in ec2.security_groups(group_name=[two.name, one.name])] == [one.id, two.id]
    assert [group.id for group in ec2.security_groups(tag={"number": ec2.tag})] == [one.id]
    assert {one.id, two.id} < {group.id for group in ec2.security_groups()}


def test_a_new_group_lets_everything_out_and_nothing_in(group: SecurityGroup) -> None:
    assert ingress(group) == []
    assert Rule("egress", "all", None, None, "0.0.0.0/0") in group.rules


def test_a_group_can_be_made_in_a_vpc(ec2: EC2) -> None:
    vpc = ec2.get_or_create_vpc(ec2.tag)
    group = ec2.create_security_group("inside", "in a VPC", vpc)
    (found,) = ec2.security_groups(vpc_id=vpc.id, group_name="inside")
    assert (found.id, found.vpc_id) == (group.id, vpc.id)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("tcp", 80, 80, "203.0.113.0/24"), Rule("ingress", "tcp", 80, 80, "203.0.113.0/24")),
        (("tcp", 8000, 8010, "2001:db8::/32"), Rule("ingress", "tcp", 8000, 8010, "2001:db8::/32")),
        (("udp", 53, None, "10.0.0.0/8"), Rule("ingress", "udp", 53, 53, "10.0.0.0/8")),
        (("icmp", 8, None, "0.0.0.0/0"), Rule("ingress", "icmp", 8, -1, "0.0.0.0/0")),
        (("icmpv6", None, None, "::/0"), Rule("ingress", "icmpv6", -1, -1, "::/0")),
        (("all", None, None, "198.51.100.0/24"), Rule("ingress", "all", None, None, "198.51.100.0/24")),
        (("-1", None, None, "198.51.100.0/24"), Rule("ingress", "all", None, None, "198.51.100.0/24")),
    ],
    ids=str,
)
def test_a_rule_is_read_back_as_authorized_until_it_is_revoked(
    group: SecurityGroup, arguments: tuple[Any, ...], rule: Rule
) -> None:
    group.authorize(*arguments)
    assert ingress(group) == [rule]
    group.revoke(*arguments)
    assert ingress(group) == []


def test_a_rule_can_name_a_group_by_object_by_id_and_the_group_itself(ec2: EC2, group: SecurityGroup) -> None:
    other = ec2.create_security_group(f"{ec2.tag}-other", "another")
    group.authorize("tcp", 22, source_group=other)
    group.authorize("udp", 53, source_group=other.id)
    group.authorize("all", source_group=group)
    sources = {(rule.protocol, rule.source_group) for rule in ingress(group)}
    assert sources == {("tcp", other.id), ("udp", other.id), ("all", group.id)}
    group.revoke("tcp", 22, source_group=other)
    assert {rule.protocol for rule in ingress(group)} == {"udp", "all"}


def test_egress_has_rules_of_its_own(group: SecurityGroup) -> None:
    group.authorize("tcp", 443, cidr="192.0.2.0/24", egress=True)
    group.revoke("all", cidr="0.0.0.0/0", egress=True)
    egress = [rule for rule in group.rules if rule.direction == "egress" and ":" not in rule.source]
    assert egress == [Rule("egress", "tcp", 443, 443, "192.0.2.0/24")]
    assert ingress(group) == []


def test_a_rule_has_a_description_and_is_revoked_without_it(group: SecurityGroup) -> None:
    group.authorize("tcp", 80, cidr="10.0.0.0/8", description="the web")
    assert [rule.description for rule in ingress(group)] == ["the web"]
    group.revoke("tcp", 80, cidr="10.0.0.0/8")
    assert ingress(group) == []


def test_authorizing_the_same_rule_twice_is_fine(group: SecurityGroup) -> None:
    group.authorize("tcp", 80, cidr="10.0.0.0/8")
    group.authorize("tcp", 80, cidr="10.0.0.0/8")
    group.add([Rule("ingress", "tcp", 80, 80, "10.0.0.0/8"), Rule("ingress", "tcp", 81, 81, "10.0.0.0/8")])
    assert [rule.from_port for rule in ingress(group)] == [80, 81]


def test_revoking_a_rule_that_is_not_there_is_fine(group: SecurityGroup) -> None:
    group.revoke("tcp", 80, cidr="10.0.0.0/8")
    assert ingress(group) == []


def test_a_copy_in_another_region_has_the_same_rules(
    ec2: EC2, group: SecurityGroup, caplog: pytest.LogCaptureFixture
) -> None:
    other = ec2.create_security_group(f"{ec2.tag}-other", "another")
    group.authorize("tcp", 80, cidr="10.0.0.0/8", description="the web")
    group.authorize("all", source_group=group)
    group.authorize("udp", 53, source_group=other)
    group.revoke("all", cidr="0.0.0.0/0", egress=True)
    with caplog.at_level(logging.WARNING):
        copy = group.copy_to_region("eu-central-1")
    assert other.id in caplog.text
    assert ec2.security_groups(group_id=copy.id) == []
    assert {(rule.protocol, rule.source, rule.description) for rule in ingress(copy)} == {
        ("tcp", "10.0.0.0/8", "the web"),
        ("all", copy.id, ""),
    }
    assert not any(rule.source == "0.0.0.0/0" for rule in copy.rules)
    assert ec2.clean() == []
    with pytest.raises(ClientError, match="NotFound"):
        copy._context.client.describe_security_groups(GroupIds=[copy.id])


def test_a_copy_can_have_another_name(ec2: EC2, group: SecurityGroup) -> None:
    copy = group.copy_to_region("eu-central-1", f"{ec2.tag}-there")
    assert (copy.name, copy.description) == (f"{ec2.tag}-there", group.description)


def test_a_deleted_group_is_gone_and_deleting_it_again_is_fine(ec2: EC2, group: SecurityGroup) -> None:
    group.delete()
    assert ec2.security_groups(group_name=ec2.tag) == []
    group.delete()
    with pytest.raises(ResourceNotFoundError, match=group.id):
        group.authorize("tcp", 80, cidr="10.0.0.0/8")


def test_clean_deletes_what_was_created_only(ec2: EC2, other_ec2: EC2, group: SecurityGroup) -> None:
    (found,) = other_ec2.security_groups(group_id=group.id)
    assert other_ec2.clean() == []
    assert found.rules
    assert ec2.clean() == []
    assert other_ec2.security_groups(group_id=group.id) == []


def test_a_second_group_of_the_name_is_an_error(ec2: EC2, group: SecurityGroup) -> None:
    with pytest.raises(CloudError, match=group.name):
        ec2.create_security_group(group.name, "again")


REFUSED_RULES: list[tuple[dict[str, Any], str]] = [
    ({"protocol": "http", "from_port": 80, "cidr": "0.0.0.0/0"}, "none of tcp, udp"),
    ({"protocol": "tcp", "cidr": "0.0.0.0/0"}, "needs a port"),
    ({"protocol": "tcp", "from_port": 65536, "cidr": "0.0.0.0/0"}, "0 to 65535"),
    ({"protocol": "tcp", "from_port": -1, "cidr": "0.0.0.0/0"}, "0 to 65535"),
    ({"protocol": "tcp", "from_port": True, "cidr": "0.0.0.0/0"}, "whole number"),
    ({"protocol": "tcp", "from_port": "80", "cidr": "0.0.0.0/0"}, "whole number"),
    ({"protocol": "tcp", "from_port": 90, "to_port": 80, "cidr": "0.0.0.0/0"}, "higher than"),
    ({"protocol": "icmp", "from_port": 256, "cidr": "0.0.0.0/0"}, "ICMP type"),
    ({"protocol": "all", "from_port": 80, "cidr": "0.0.0.0/0"}, "no ports"),
    ({"protocol": "tcp", "from_port": 80}, "either cidr or source_group"),
    ({"protocol": "tcp", "from_port": 80, "cidr": "::/0", "source_group": "sg-1"}, "either cidr or source_group"),
    ({"protocol": "tcp", "from_port": 80, "cidr": "10.0.0.1/8"}, "network of this address is '10.0.0.0/8'"),
    ({"protocol": "tcp", "from_port": 80, "cidr": "everywhere"}, "is not a network|is neither a network"),
    ({"protocol": "tcp", "from_port": 80, "source_group": "web"}, "must be a SecurityGroup, or an id"),
    ({"protocol": "tcp", "from_port": 80, "cidr": "::/0", "description": "x" * 256}, "at most 255"),
]


def test_a_rule_that_ec2_would_not_take_is_refused_in_one_line(group: SecurityGroup) -> None:
    for arguments, reason in REFUSED_RULES:
        with pytest.raises(InvalidArgumentError, match=reason) as caught:
            group.authorize(**arguments)
        assert "\n" not in str(caught.value)
    assert ingress(group) == []


def test_a_group_that_ec2_would_not_take_is_not_created(ec2: EC2) -> None:
    before = len(ec2.security_groups())
    for name, description in [
        ("sg-123", "x"),
        ("default", "x"),
        ("", "x"),
        ("n" * 256, "x"),
        ("ü", "x"),
        ("fine", ""),
        ("fine", "a\nb"),
    ]:
        with pytest.raises(InvalidArgumentError):
            ec2.create_security_group(name, description)
    assert len(ec2.security_groups()) == before
