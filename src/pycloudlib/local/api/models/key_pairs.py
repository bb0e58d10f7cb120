"""Key pairs with EC2's fingerprints.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError, KeyPair, public_key_parse

KEY_TYPES = ("rsa", "ed25519")
LONGEST_NAME = 255


class KeyPairRecords(LocalRecords):
    """The key pairs of one account in one region."""

    def create_key_pair(self, name: str, key_type: str | None, tags: dict[str, str]) -> KeyPair:
        """Generate a key pair: RSA in PEM, or Ed25519 in OpenSSH format (CreateKeyPair).

        Raises:
            EC2ClientError: the name is invalid or taken, or the key type is unknown.
        """
        _check_name(name)
        if key_type not in (None, *KEY_TYPES):
            raise EC2ClientError("InvalidParameterValue", f"Invalid value '{key_type}' for KeyType.")
        self._check_new(name)
        key_pair: KeyPair = super().create_key_pair(name, key_type or "rsa", tags)
        public_key = public_key_parse(key_pair.material_public)
        if isinstance(public_key, Ed25519PublicKey):
            key_pair.key_fingerprint = _openssh_fingerprint(public_key)
        else:
            key_pair.key_fingerprint = _created_rsa_fingerprint(key_pair.material)
        # As on EC2, the comment is the key pair's name; cloud-init copies it into authorized_keys.
        key_pair.material_public += f" {name}".encode()
        return key_pair

    def import_key_pair(self, key_name: str, public_key_material: bytes, tags: dict[str, str]) -> KeyPair:
        """Import a public key in OpenSSH format (ImportKeyPair).

        Raises:
            EC2ClientError: the name is invalid or taken, or the key is malformed (InvalidKey.Format).
        """
        _check_name(key_name)
        self._check_new(key_name)
        try:
            public_key = public_key_parse(bytes(public_key_material))
        except (ValueError, binascii.Error) as error:
            raise EC2ClientError("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from error
        key_pair: KeyPair = super().import_key_pair(key_name, public_key_material, tags)
        if isinstance(public_key, Ed25519PublicKey):
            key_pair.key_fingerprint = _openssh_fingerprint(public_key)
        return key_pair

    def delete_key_pair(self, name: str | None, key_pair_id: str | None = None) -> KeyPair | None:
        """Delete a key pair. No-op for an unknown name (DeleteKeyPair)."""
        if key_pair_id is None:
            return self.key_pairs.pop(name or "", None)
        (key_pair,) = self._of_ids([key_pair_id])
        return self.key_pairs.pop(key_pair.key_name)

    def described_key_pairs(self, names: Sequence[str], key_pair_ids: Sequence[str]) -> list[KeyPair]:
        """Return key pairs by name and id; all without names and ids (DescribeKeyPairs).

        Raises:
            EC2ClientError: a name or an id is unknown (InvalidKeyPair.NotFound).
        """
        for name in names:
            if name not in self.key_pairs:
                raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
        chosen = {*names, *(key_pair.key_name for key_pair in self._of_ids(key_pair_ids))}
        key_pairs: list[KeyPair] = super().describe_key_pairs(sorted(chosen))
        return key_pairs

    def _of_ids(self, key_pair_ids: Sequence[str]) -> list[KeyPair]:
        by_id = {key_pair.id: key_pair for key_pair in self.key_pairs.values()}
        for key_pair_id in key_pair_ids:
            if key_pair_id not in by_id:
                raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{key_pair_id}' does not exist")
        return [by_id[key_pair_id] for key_pair_id in key_pair_ids]

    def _check_new(self, name: str) -> None:
        if name in self.key_pairs:
            raise EC2ClientError("InvalidKeyPair.Duplicate", f"The keypair already exists: {name}")


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isascii() or name != name.strip():
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({name}) for parameter keyName is invalid. Up to {LONGEST_NAME} ASCII characters are allowed, "
            "without leading or trailing spaces.",
        )


def _openssh_fingerprint(public_key: Ed25519PublicKey) -> str:
    """Return the SHA-256 fingerprint in base64, as ssh-keygen prints it."""
    encoded = public_key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    return base64.b64encode(hashlib.sha256(base64.b64decode(encoded)).digest()).decode()


def _created_rsa_fingerprint(private_key_pem: bytes) -> str:
    """Return the SHA-1 fingerprint of the private key as DER-encoded PKCS #8."""
    private_key = load_pem_private_key(private_key_pem, password=None)
    encoded = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    # EC2 defines the fingerprint so; it protects nothing.
    return hashlib.sha1(encoded, usedforsecurity=False).digest().hex(":")
