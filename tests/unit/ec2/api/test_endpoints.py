from __future__ import annotations

import pytest
from botocore.loaders import create_loader

from pycloudlib.ec2.api.endpoints import AWS_DOMAINS, endpoint_in, is_aws


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, True),
        ("https://ec2.eu-central-1.amazonaws.com", True),
        ("https://ec2.cn-north-1.amazonaws.com.cn/", True),
        ("https://ec2.us-east-1.api.aws", True),
        ("https://ec2.eusc-de-east-1.amazonaws.eu", True),
        ("https://ec2.us-iso-east-1.c2s.ic.gov", True),
        ("https://vpce-1.ec2.us-east-1.vpce.amazonaws.com", True),
        ("http://127.0.0.1:4566", False),
        ("http://cloud.example:8773/services/Cloud", False),
        ("http://amazonaws.com.example:8773", False),
        ("http://notamazonaws.com", False),
    ],
)
def test_awss_own_endpoints_are_known(url: str | None, expected: bool) -> None:
    assert is_aws(url) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, None),
        ("https://ec2.us-east-1.amazonaws.com", "https://ec2.eu-west-1.amazonaws.com"),
        ("http://us-east-1.cloud.example:8773/us-east-1", "http://us-east-1.cloud.example:8773/us-east-1"),
    ],
)
def test_another_region_is_at_another_endpoint_of_awss_only(url: str | None, expected: str | None) -> None:
    assert endpoint_in("eu-west-1", here="us-east-1", endpoint_url=url) == expected


def test_the_suffixes_of_all_partitions_are_known() -> None:
    partitions = create_loader().load_data("partitions")["partitions"]
    suffixes = {partition["outputs"][key] for partition in partitions for key in ("dnsSuffix", "dualStackDnsSuffix")}
    assert {f".{suffix}" for suffix in suffixes} <= set(AWS_DOMAINS)
