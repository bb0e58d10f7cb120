"""The KMS keys of encrypted volumes. They are recorded: nothing is encrypted, and there is no KMS."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

from pycloudlib.local.api.moto_adapter import EC2ClientError

DEFAULT_KEY = "alias/aws/ebs"


def key_arn(key: str | None, region: str, account_id: str) -> str:
    """Return the ARN of a key.

    Args:
        key: its id, its alias, or the ARN of either; None for the account's default key.
        region: where it is.
        account_id: whose it is.
    """
    name = key or DEFAULT_KEY
    prefix = f"arn:aws:kms:{region}:{account_id}:"
    name = name.removeprefix(prefix)
    if name.startswith("arn:"):
        return name
    if name.startswith("alias/"):
        # An alias stands for the same key every time.
        return f"{prefix}key/{uuid5(NAMESPACE_URL, prefix + name)}"
    return f"{prefix}key/{name.removeprefix('key/')}"


def check_key(key: str | None, *, encrypted: bool) -> None:
    """Refuse a key for what is not encrypted.

    Raises:
        EC2ClientError: InvalidParameterDependency.
    """
    if key and not encrypted:
        raise EC2ClientError(
            "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
        )
