"""Members are found where moto's serializer finds them, also when values of one class have different attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pycloudlib.local.api.moto_adapter import get_service_model
from pycloudlib.local.api.result_reader import Reader

REGIONS = get_service_model("ec2").operation_model("DescribeRegions")


def plain(*regions: Any) -> Any:
    reader = Reader(REGIONS.output_shape, "DescribeRegions.DescribeRegionsResult", {})
    return reader.plain({"Regions": list(regions)})["Regions"]


def test_attributes_of_one_class_differ() -> None:
    named = SimpleNamespace(region_name="eu-west-1")
    complete = SimpleNamespace(region_name="eu-west-2", endpoint="ec2.eu-west-2.amazonaws.com", opt_in_status=None)
    other = SimpleNamespace(RegionName="eu-west-3", OptInStatus="opted-in")
    assert plain(named, complete, other, named) == [
        {"RegionName": "eu-west-1"},
        {"Endpoint": "ec2.eu-west-2.amazonaws.com", "RegionName": "eu-west-2"},
        {"OptInStatus": "opted-in", "RegionName": "eu-west-3"},
        {"RegionName": "eu-west-1"},
    ]


def test_items_differ() -> None:
    assert plain({"RegionName": "a"}, {"region_name": "b", "Endpoint": "e"}, {"RegionName": None, "Endpoint": "f"}) == [
        {"RegionName": "a"},
        {"Endpoint": "e", "RegionName": "b"},
        {"Endpoint": "f"},
    ]


def test_properties_and_attributes_of_the_class_are_found() -> None:
    class Region:
        endpoint = "e"

        def __init__(self, name: str | None) -> None:
            self._name = name
            self.region_name = "from the next name"

        @property
        def RegionName(self) -> str:  # noqa: N802
            if self._name is None:
                raise AttributeError
            return self._name

    assert plain(Region("a"), Region(None)) == [
        {"Endpoint": "e", "RegionName": "a"},
        {"Endpoint": "e", "RegionName": "from the next name"},
    ]


def test_attributes_that_a_class_computes_are_found() -> None:
    class Region:
        def __getattr__(self, name: str) -> str:
            if name == "region_name":
                return "computed"
            raise AttributeError(name)

    assert plain(Region()) == [{"RegionName": "computed"}]
