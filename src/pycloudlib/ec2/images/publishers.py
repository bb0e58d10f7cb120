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
        # Debian documents no accounts in other partitions. SSM's public parameters announce its images there, if any.
        DEBIAN_OWNER: {AWS: DEBIAN_OWNER},
        DEBIAN_DAILY_OWNER: {AWS: DEBIAN_DAILY_OWNER},
    }
)
"""The publisher's account in each partition, keyed by its account in the partition "aws"."""

UBUNTU_OWNERS = tuple(_ACCOUNTS[UBUNTU_OWNER].values())


def owners_in(partition: str, owners: Iterable[str], *, at_aws: bool) -> tuple[str, ...]:
    """Return the publishers' accounts in a partition.

    Args:
        partition: the partition, as boto3's `client.meta.partition` names it: "aws", "aws-cn", "aws-us-gov", ...
        owners: accounts in the partition "aws", and aliases such as "self", which are valid in every partition.
        at_aws: whether the endpoint is AWS's own. Another server may use either account. In AWS's partitions, an
            account number from another partition may belong to anybody.

    Returns:
        The accounts and aliases, without publishers that are unknown in the partition.
    """
    accepted: list[str] = []
    for owner in owners:
        accounts = _ACCOUNTS.get(owner, {partition: owner})
        accepted += [accounts[partition]] if partition in accounts else []
        accepted += [] if at_aws else [owner]
    return tuple(dict.fromkeys(accepted))
