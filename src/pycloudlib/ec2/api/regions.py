"""The regions that an account can use.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeRegions.html
"""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.errors import InvalidArgumentError, PermissionDeniedError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)


def region_names(client: EC2Client, deadline: Deadline = NEVER) -> list[str]:
    """Return the names of the regions that the account can use, sorted (DescribeRegions).

    Args:
        client: the boto3 EC2 client.
        deadline: when to stop waiting for EC2; default never.
    """
    response = responded(client.describe_regions, what="describe regions", deadline=deadline)
    return sorted(region["RegionName"] for region in response["Regions"])


def require_region(client: EC2Client, name: str, deadline: Deadline = NEVER) -> None:
    """Raise unless the account can use a region. Skip the check without permission for DescribeRegions.

    Args:
        client: the boto3 EC2 client.
        name: the region.
        deadline: when to stop waiting for EC2; default never.

    Raises:
        InvalidArgumentError: the region does not exist or is not enabled; the message suggests the closest ones.
    """
    if not isinstance(name, str):
        raise InvalidArgumentError(f"the region is {name!r}; it must be a string such as 'eu-central-1'")
    try:
        names = region_names(client, deadline)
    except PermissionDeniedError as error:
        logger.debug("using %s unchecked: %s", name, error)
        return
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(names)}"
    raise InvalidArgumentError(f"unknown region {name!r}, or not enabled for this account; {hint}")
