"""Endpoints: AWS's own, and other implementations of the EC2 API."""

from __future__ import annotations

from urllib.parse import urlsplit

AWS_DOMAINS = (
    *(".amazonaws.com", ".api.aws"),
    *(".amazonaws.com.cn", ".api.amazonwebservices.com.cn"),
    # The European Sovereign Cloud, and government partitions.
    *(".amazonaws.eu", ".api.amazonwebservices.eu"),
    *(".c2s.ic.gov", ".api.aws.ic.gov", ".sc2s.sgov.gov", ".api.aws.scloud"),
    *(".csp.hci.ic.gov", ".api.aws.hci.ic.gov", ".cloud.adc-e.uk", ".api.cloud-aws.adc-e.uk"),
)
"""The DNS suffixes of AWS's partitions, as botocore lists them in partitions.json."""


def is_aws(endpoint_url: str | None) -> bool:
    """Return whether an endpoint is AWS's own.

    Args:
        endpoint_url: the URL; None for boto3's choice.
    """
    host = urlsplit(endpoint_url).hostname if endpoint_url else None
    return endpoint_url is None or bool(host and host.endswith(AWS_DOMAINS))


def endpoint_in(region: str, *, here: str, endpoint_url: str | None) -> str | None:
    """Return the endpoint of another region: AWS's host names contain the region; other endpoints serve all regions.

    Args:
        region: the other region.
        here: the region of the endpoint.
        endpoint_url: the endpoint; None for boto3's choice.
    """
    if endpoint_url is None or not is_aws(endpoint_url):
        return endpoint_url
    return endpoint_url.replace(here, region)
