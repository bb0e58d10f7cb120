"""The KMS keys of encrypted volumes.

The local EC2 only records keys: it has no KMS, and encrypts nothing.
"""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

from pycloudlib.local.api.moto_adapter import EC2ClientError

DEFAULT_KEY = "alias/aws/ebs"


def key_arn(key: str | None, region: str, account_id: str) -> str:
    """Return the ARN of a key.

    Args:
        key: the key's id, its alias, or the ARN of either; None for the account's default key.
        region: the region of the key.
        account_id: the account that owns the key.
    """
    name = key or DEFAULT_KEY
    prefix = f"arn:aws:kms:{region}:{account_id}:"
    name = name.removeprefix(prefix)
    if name.startswith("arn:"):
        return name
    if name.startswith("alias/"):
        # An alias always resolves to the same key.
        return f"{prefix}key/{uuid5(NAMESPACE_URL, prefix + name)}"
    return f"{prefix}key/{name.removeprefix('key/')}"


def check_key(key: str | None, *, encrypted: bool) -> None:
    """Reject a KMS key for an unencrypted volume.

    Raises:
        EC2ClientError: a key without encryption (InvalidParameterDependency).
    """
    if key and not encrypted:
        raise EC2ClientError(
            "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
        )
