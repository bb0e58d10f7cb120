from __future__ import annotations

import pytest

from pycloudlib.ec2.api.filters import described_filters
from pycloudlib.errors import InvalidArgumentError


def test_underscores_stand_for_hyphens_and_several_values_for_any_of_them() -> None:
    assert described_filters({"group_name": ["a", "b*"], "vpc_id": "vpc-1"}) == [
        {"Name": "group-name", "Values": ["a", "b*"]},
        {"Name": "vpc-id", "Values": ["vpc-1"]},
    ]


def test_tags_are_a_dict() -> None:
    assert described_filters({"tag": {"team": "blue", "floor": ["1", "2"]}}) == [
        {"Name": "tag:team", "Values": ["blue"]},
        {"Name": "tag:floor", "Values": ["1", "2"]},
    ]


def test_numbers_and_truth_are_written_as_ec2_does() -> None:
    assert described_filters({"size": 8, "encrypted": False}) == [
        {"Name": "size", "Values": ["8"]},
        {"Name": "encrypted", "Values": ["false"]},
    ]


@pytest.mark.parametrize("value", [None, 1.5, b"x", {"a": "b"}, ["fine", None]])
def test_any_other_value_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match="group_name"):
        described_filters({"group_name": value})
