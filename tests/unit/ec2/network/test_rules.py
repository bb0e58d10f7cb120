from __future__ import annotations

import pytest

from pycloudlib.ec2.network.rules import (
    Rule,
    check_text,
    checked_network,
    checked_rule,
    from_group,
    rule_from,
    to_permissions,
)
from pycloudlib.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("10.0.0.0/8", {"IpRanges": [{"CidrIp": "10.0.0.0/8"}]}),
        ("2001:db8::/32", {"Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]}),
        ("sg-0123abcd", {"UserIdGroupPairs": [{"GroupId": "sg-0123abcd"}]}),
        ("pl-0123abcd", {"PrefixListIds": [{"PrefixListId": "pl-0123abcd"}]}),
    ],
)
def test_each_kind_of_source_has_its_place_and_is_read_back(source: str, place: dict[str, object]) -> None:
    rule = checked_rule("tcp", 80, 81, source)
    (permission,) = to_permissions([rule])
    assert permission == {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, **place}
    assert from_group({"IpPermissions": [permission]}) == (rule,)


def test_rule_for_all_protocols_ignores_ports_of_the_response() -> None:
    rule = checked_rule("-1", None, None, "::/0")
    assert to_permissions([rule]) == [{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]
    told = {"IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    assert from_group({"IpPermissions": [told]}) == (rule,)


def test_a_permission_with_several_sources_is_several_rules() -> None:
    told = {
        "IpProtocol": "udp",
        "FromPort": 53,
        "ToPort": 53,
        "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "names"}, {"CidrIp": "192.0.2.0/24"}],
        "UserIdGroupPairs": [{"GroupId": "sg-1", "UserId": "123456789012"}],
    }
    assert from_group({"IpPermissionsEgress": [told]}) == (
        Rule("egress", "udp", 53, 53, "10.0.0.0/8", "names"),
        Rule("egress", "udp", 53, 53, "192.0.2.0/24"),
        Rule("egress", "udp", 53, 53, "sg-1"),
    )


def test_a_description_is_left_out_when_a_rule_is_revoked() -> None:
    rule = checked_rule("tcp", 80, None, "10.0.0.0/8", description="the web")
    assert to_permissions([rule])[0]["IpRanges"][0]["Description"] == "the web"
    assert to_permissions([rule], with_description=False)[0]["IpRanges"] == [{"CidrIp": "10.0.0.0/8"}]


def test_rule_shows_its_source() -> None:
    by_network, by_group = checked_rule("tcp", 80, 81, "10.0.0.0/8"), checked_rule("all", None, None, "sg-1")
    assert (by_network.cidr, by_network.source_group) == ("10.0.0.0/8", None)
    assert (by_group.cidr, by_group.source_group) == (None, "sg-1")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("tcp", 80, 81, "::/0"), "ingress tcp 80-81 ::/0"),
        (("tcp", 80, None, "::/0"), "ingress tcp 80 ::/0"),
        (("icmp", None, None, "::/0"), "ingress icmp ::/0"),
        (("icmp", 8, None, "::/0"), "ingress icmp type 8 ::/0"),
        (("icmp", 3, 4, "::/0"), "ingress icmp type 3 code 4 ::/0"),
        (("all", None, None, "sg-1"), "ingress all sg-1"),
    ],
)
def test_a_rule_is_written_in_short(arguments: tuple[str, int | None, int | None, str], text: str) -> None:
    assert str(checked_rule(*arguments)) == text


def test_a_rule_is_taken_as_it_is_or_as_a_tuple() -> None:
    rule = Rule("ingress", "tcp", 80, 80, "10.0.0.0/8", "the web")
    assert rule_from(rule) == rule
    assert rule_from(("tcp", 80, None, "10.0.0.0/8")) == Rule("ingress", "tcp", 80, 80, "10.0.0.0/8")


@pytest.mark.parametrize("given", [("tcp", 80), "tcp", None, Rule("egress", "tcp", 80, 80, "::/0")])
def test_what_is_no_rule_for_ingress_is_refused(given: object) -> None:
    with pytest.raises(InvalidArgumentError, match="rule"):
        rule_from(given)  # type: ignore[arg-type]


def test_a_rule_that_was_made_by_hand_is_checked_too() -> None:
    with pytest.raises(InvalidArgumentError, match="higher than"):
        rule_from(Rule("ingress", "tcp", 90, 80, "::/0"))


@pytest.mark.parametrize("text", ["10.0.0.0/8", "2001:db8::/32", "203.0.113.7/32"])
def test_a_network_is_taken(text: str) -> None:
    assert checked_network(text) == text


def test_an_address_is_the_network_of_one() -> None:
    assert checked_network("203.0.113.7") == "203.0.113.7/32"


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "web", "10.0.0.1/8"])
def test_what_is_no_network_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"not a network|neither a network"):
        checked_network(text)


@pytest.mark.parametrize("source", [None, 7, b"10.0.0.0/8"])
def test_a_source_of_another_type_is_refused(source: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"not a network|neither a network"):
        checked_rule("tcp", 80, 80, source)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["x" * 256, "two\nlines", "ümlaut", None])
def test_a_text_that_ec2_would_not_take_is_refused(text: object) -> None:
    with pytest.raises(InvalidArgumentError, match="at most 255"):
        check_text("the description", text)  # type: ignore[arg-type]
