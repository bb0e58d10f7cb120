"""The accounts that publish images, in each of AWS's partitions.

Canonical's: https://documentation.ubuntu.com/aws/en/latest/aws-how-to/instances/find-ubuntu-images/#ownership-verification
Debian's: https://wiki.debian.org/Cloud/AmazonEC2Image
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

AWS = "aws"
CHINA = "aws-cn"
GOVCLOUD = "aws-us-gov"

UBUNTU_OWNER = "099720109477"
"""Canonical."""

DEBIAN_OWNER = "136693071363"
"""Debian's releases."""

DEBIAN_DAILY_OWNER = "903794441882"
"""Debian's daily builds."""

MARKETPLACE_OWNER = "aws-marketplace"
AMAZON_OWNER = "amazon"

_ACCOUNTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        UBUNTU_OWNER: {AWS: UBUNTU_OWNER, GOVCLOUD: "513442679011", CHINA: "837727238323"},
        # Debian documents no account in another partition. SSM's public parameters tell its images there, if any.
        DEBIAN_OWNER: {AWS: DEBIAN_OWNER},
        DEBIAN_DAILY_OWNER: {AWS: DEBIAN_DAILY_OWNER},
    }
)
"""By the account in the partition "aws": the same publisher's account in each partition."""

UBUNTU_OWNERS = tuple(_ACCOUNTS[UBUNTU_OWNER].values())


def owners_in(partition: str, owners: Iterable[str], *, at_aws: bool) -> tuple[str, ...]:
    """Name the publishers' accounts in a partition.

    Args:
        partition: as boto3's `client.meta.partition` names it: "aws", "aws-cn", "aws-us-gov", ...
        owners: accounts in the partition "aws", and aliases such as "self", which are the same everywhere.
        at_aws: whether the endpoint is AWS's own. Another server may offer its images under either account; in AWS's
            partitions the number of an account in another one may be anybody's.

    Returns:
        The accounts and aliases; without those of publishers that are not known in the partition.
    """
    found: list[str] = []
    for owner in owners:
        accounts = _ACCOUNTS.get(owner, {partition: owner})
        found += [accounts[partition]] if partition in accounts else []
        found += [] if at_aws else [owner]
    return tuple(dict.fromkeys(found))
