"""CreateTags, through EC2.tag_resources()."""

from __future__ import annotations

from typing import Any

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.errors import InvalidArgumentError

"""No test here needs a guest."""

UNKNOWN = "i-0123456789abcdef0"


def tags_of(ec2: EC2, resource_id: str) -> dict[str, str]:
    answer = ec2.client.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource_id]}])
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}


def test_one_call_tags_resources_of_several_kinds(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, wait=False)
    group = ec2.create_security_group(ec2.tag, "tagged")
    calls: list[object] = []
    ec2.client.meta.events.register("before-call.ec2.CreateTags", lambda **_: calls.append(1))
    ec2.tag_resources([instance.id, group.id, instance.id], {"team": "blue", "empty": ""})
    assert len(calls) == 1
    for resource_id in (instance.id, group.id):
        assert tags_of(ec2, resource_id) | {"team": "blue", "empty": ""} == tags_of(ec2, resource_id)
    instance.refresh()
    assert instance.tags["team"] == "blue"


def test_a_tag_is_replaced_and_the_others_stay(ec2: EC2) -> None:
    group = ec2.create_security_group(ec2.tag, "tagged", tags={"team": "blue", "floor": "3"})
    ec2.tag_resources(group.id, {"team": "red"})
    assert (tags_of(ec2, group.id)["team"], tags_of(ec2, group.id)["floor"]) == ("red", "3")


@pytest.mark.parametrize(
    ("ids", "tags", "reason"),
    [
        ([], {"a": "b"}, "no ids"),
        (["not an id"], {"a": "b"}, "not an id|neither an id"),
        ([7], {"a": "b"}, "not an id|neither an id"),
        (7, {"a": "b"}, "not an id|neither an id"),
        ([["i-0123456789abcdef0"]], {"a": "b"}, "not an id|neither an id"),
        ([UNKNOWN], {}, "at least one"),
        ([UNKNOWN], {"a": 1}, "two strings"),
        ([UNKNOWN], {"aws:a": "b"}, "must not begin with 'aws:'"),
        ([UNKNOWN], {"pycloudlib:run": "b"}, "reserved for this library"),
        ([UNKNOWN], {"k" * 129: "b"}, "1 to 128 characters"),
        ([UNKNOWN], {"k": "v" * 257}, "at most 256"),
        ([UNKNOWN], {f"k{number}": "" for number in range(50)}, "at most 45"),
    ],
)
def test_what_ec2_would_not_take_is_refused(ec2: EC2, ids: Any, tags: Any, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        ec2.tag_resources(ids, tags)
