"""Launch permissions of images.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharing-amis.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pycloudlib.ec2.api.faults import translated
from pycloudlib.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

EVERYBODY = "all"


@dataclass(frozen=True)
class LaunchPermissions:
    """The launch permissions of an image, besides its owner's.

    Args:
        everybody: whether the image is public; default no.
        account_ids: the accounts with which the image is shared, sorted; default none.
        organizations: the ARNs of the organizations and organizational units with which it is shared, sorted; default
            none.
    """

    everybody: bool = False
    account_ids: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()

    @property
    def private(self) -> bool:
        """Whether only the owner can launch the image."""
        return not (self.everybody or self.account_ids or self.organizations)


def launch_permissions(client: EC2Client, image_id: str) -> LaunchPermissions:
    """Return the launch permissions of an image (DescribeImageAttribute).

    Raises:
        ImageNotFoundError: the image does not exist.
        PermissionDeniedError: another account owns the image.
    """
    permissions = _read(client, image_id)
    arns = (permission.get(kind) for permission in permissions for kind in ("OrganizationArn", "OrganizationalUnitArn"))
    return LaunchPermissions(
        everybody=any(permission.get("Group") == EVERYBODY for permission in permissions),
        account_ids=tuple(sorted(permission["UserId"] for permission in permissions if permission.get("UserId"))),
        organizations=tuple(sorted(filter(None, arns))),
    )


def change(client: EC2Client, image_id: str, operation: Literal["Add", "Remove"], targets: str | Iterable[str]) -> None:
    """Add or remove launch permissions of an image (ModifyImageAttribute). Idempotent.

    Args:
        client: the boto3 EC2 client.
        image_id: the AMI id.
        operation: whether to add or to remove.
        targets: an account id of 12 digits, several of them, or "all" for everybody.

    Raises:
        InvalidArgumentError: an account id is invalid; the message says what is allowed.
        ImageNotFoundError: the image does not exist.
        PermissionDeniedError: another account owns the image.
    """
    _modify(client, image_id, operation, checked_targets(targets))


def remove_all(client: EC2Client, image_id: str) -> None:
    """Remove all launch permissions of an image, except its owner's (ModifyImageAttribute).

    Raises:
        ImageNotFoundError: the image does not exist.
        PermissionDeniedError: another account owns the image.
    """
    found = _read(client, image_id)
    if found:
        _modify(client, image_id, "Remove", found)


def checked_targets(targets: str | Iterable[str]) -> list[dict[str, Any]]:
    """Return EC2's launch permissions for some accounts.

    Args:
        targets: an account id of 12 digits, several of them, or "all" for everybody.

    Raises:
        InvalidArgumentError: an account id is invalid; the message says what is allowed.
    """
    if targets == EVERYBODY:
        return [{"Group": EVERYBODY}]
    account_ids = [targets] if isinstance(targets, str) or not isinstance(targets, Iterable) else list(targets)
    invalid = [
        account_id
        for account_id in account_ids
        if not isinstance(account_id, str) or not re.fullmatch(r"[0-9]{12}", account_id)
    ]
    if invalid or not account_ids:
        shown = ", ".join(map(repr, invalid)) or "none given"
        raise InvalidArgumentError(f"invalid account id {shown}: must be a string of 12 digits, or 'all' for everybody")
    return [{"UserId": account_id} for account_id in dict.fromkeys(account_ids)]


def _read(client: EC2Client, image_id: str) -> list[dict[str, Any]]:
    with translated():
        response = client.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    return [{**permission} for permission in response.get("LaunchPermissions", [])]


def _modify(
    client: EC2Client, image_id: str, operation: Literal["Add", "Remove"], targets: list[dict[str, Any]]
) -> None:
    permission: Any = {operation: targets}
    modify = partial(client.modify_image_attribute, ImageId=image_id)
    with translated():
        modify(LaunchPermission=permission)
