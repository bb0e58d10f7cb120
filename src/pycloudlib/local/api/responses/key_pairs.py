"""Request handlers for key pairs."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response, KeyPair


class KeyPairResponse(EC2Response):
    """Handles actions on key pairs."""

    def create_key_pair(self) -> ActionResult:
        """CreateKeyPair, in PEM."""
        if self._get_param("KeyFormat", "pem") != "pem":
            raise EC2ClientError("UnsupportedOperation", "The local EC2 writes private keys in the format pem only")
        return super().create_key_pair()

    def describe_key_pairs(self) -> ActionResult:
        """DescribeKeyPairs, by names and by ids."""
        key_pairs = self.ec2_backend.described_key_pairs(
            self._get_param("KeyNames", []), self._get_param("KeyPairIds", [])
        )
        with_public_key = self._get_bool_param("IncludePublicKey", False)
        return ActionResult(
            {"KeyPairs": [_described(key_pair, with_public_key=with_public_key) for key_pair in key_pairs]}
        )

    def delete_key_pair(self) -> ActionResult:
        """DeleteKeyPair, by name or by id."""
        deleted = self.ec2_backend.delete_key_pair(self._get_param("KeyName"), self._get_param("KeyPairId"))
        return ActionResult({"Return": True, "KeyPairId": deleted.id if deleted else None})


def _described(key_pair: KeyPair, *, with_public_key: bool) -> dict[str, Any]:
    return {
        "CreateTime": key_pair.create_time,
        "KeyFingerprint": key_pair.key_fingerprint,
        "KeyName": key_pair.key_name,
        "KeyPairId": key_pair.id,
        "KeyType": key_pair.key_type,
        "PublicKey": key_pair.public_key if with_public_key else None,
        "Tags": key_pair.get_tags(),
    }
