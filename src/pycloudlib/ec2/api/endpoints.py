"""Where EC2 is: at AWS, or at whatever else speaks its API."""

from __future__ import annotations

from urllib.parse import urlsplit

AWS_DOMAINS = (
    *(".amazonaws.com", ".api.aws"),
    *(".amazonaws.com.cn", ".api.amazonwebservices.com.cn"),
    # The European Sovereign Cloud, and the partitions of governments.
    *(".amazonaws.eu", ".api.amazonwebservices.eu"),
    *(".c2s.ic.gov", ".api.aws.ic.gov", ".sc2s.sgov.gov", ".api.aws.scloud"),
    *(".csp.hci.ic.gov", ".api.aws.hci.ic.gov", ".cloud.adc-e.uk", ".api.cloud-aws.adc-e.uk"),
)
"""The DNS suffixes of AWS's partitions, as botocore lists them in partitions.json."""


def is_aws(endpoint_url: str | None) -> bool:
    """Tell whether an endpoint is AWS's own.

    Args:
        endpoint_url: None for the one that boto3 chooses.
    """
    host = urlsplit(endpoint_url).hostname if endpoint_url else None
    return endpoint_url is None or bool(host and host.endswith(AWS_DOMAINS))


def endpoint_in(region: str, *, here: str, endpoint_url: str | None) -> str | None:
    """Tell where EC2 is in another region: AWS's endpoints have the region in their names, others serve them all.

    Args:
        region: the other region.
        here: the region of the endpoint.
        endpoint_url: the endpoint; None for the one that boto3 chooses.
    """
    if endpoint_url is None or not is_aws(endpoint_url):
        return endpoint_url
    return endpoint_url.replace(here, region)
