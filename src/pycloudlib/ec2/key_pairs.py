"""EC2 key pairs: the public keys that EC2 installs on instances."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.creating import CreateRequest, create
from pycloudlib.ec2.api.faults import translated
from pycloudlib.errors import CloudError, InvalidArgumentError, KeyPairError, KeyPairNotFoundError
from pycloudlib.key import KeyPair
from pycloudlib.key_format import fingerprint, parse_public_key
from pycloudlib.lifecycle import Ledger, UndoOrder
from pycloudlib.tags import Ownership, tag_specifications, timestamped

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

KIND = "key pair"

_NAME = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True)
class KeyPairDescription:
    """The description of a key pair (DescribeKeyPairs).

    Args:
        name: the name.
        id: the id, such as "key-0123456789abcdef0"; empty if EC2 does not report it.
        fingerprint: EC2's fingerprint: SHA-256 of an ed25519 key, MD5 of an imported RSA key, and SHA-1 of the private
            key of an RSA key that EC2 created.
        key_type: "ed25519" or "rsa"; empty if EC2 does not report it.
        public_key: the key in OpenSSH's format; empty if EC2 does not report it.
        created: the creation time in UTC; None if EC2 does not report it.
        tags: the tags.
    """

    name: str
    id: str = ""
    fingerprint: str = ""
    key_type: str = ""
    public_key: str = ""
    created: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> KeyPairDescription:
        """Parse a key pair of a DescribeKeyPairs response."""
        return cls(
            name=record["KeyName"],
            id=record.get("KeyPairId") or "",
            fingerprint=record.get("KeyFingerprint") or "",
            key_type=record.get("KeyType") or "",
            public_key=(record.get("PublicKey") or "").strip(),
            created=record.get("CreateTime"),
            tags=MappingProxyType({tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}),
        )


class KeyPairs:
    """The key pairs of one endpoint.

    Args:
        client: the boto3 EC2 client.
        ledger: the ledger that records uploaded key pairs.
        ownership: the tags of uploaded key pairs.
        prefix: the prefix of generated names.
    """

    def __init__(self, client: EC2Client, *, ledger: Ledger, ownership: Ownership, prefix: str) -> None:
        self._client = client
        self._ledger = ledger
        self._ownership = ownership
        self._prefix = prefix
        self._lock = threading.Lock()
        self._uploaded: dict[KeyPair, str] = {}

    def names(self) -> list[str]:
        """Return the names of all key pairs of the account in this region (DescribeKeyPairs)."""
        with translated():
            return [found["KeyName"] for found in self._client.describe_key_pairs()["KeyPairs"]]

    def all(self) -> list[KeyPairDescription]:
        """Return all key pairs of the account in this region, sorted by name (DescribeKeyPairs)."""
        with translated():
            records = self._client.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
        return sorted(map(KeyPairDescription.of, records), key=lambda found: found.name)

    def upload(self, key_pair: KeyPair, name: str) -> None:
        """Upload a public key under a name (ImportKeyPair). No-op if EC2 has the same key under this name.

        Args:
            key_pair: the key pair whose public key to upload.
            name: the name, 1 to 255 printable ASCII characters.

        Raises:
            InvalidArgumentError: the name is invalid.
            KeyPairError: EC2 has another key under this name, or does not support the key type.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidArgumentError(f"the name of a key pair is {name!r}; it must have 1 to 255 ASCII characters")
        text = key_pair.public_key_content
        try:
            self._import(text, name)
        except CloudError as error:
            if error.code == "InvalidKey.Format":
                raise KeyPairError(
                    f"EC2 does not support the type of the key {key_pair.public_key_path}: use ed25519 or rsa"
                ) from error
            if error.code != "InvalidKeyPair.Duplicate":
                raise
            self._expect_same(text, name)

    def name_for_launch(self, key_pair: KeyPair) -> str:
        """Return the name of a key pair in EC2. Upload a key pair without a name on first use (ImportKeyPair).

        Args:
            key_pair: the key pair.
        """
        if key_pair.name:
            return key_pair.name
        with self._lock:
            if key_pair not in self._uploaded or self._uploaded[key_pair] not in self._ledger:
                name = timestamped(self._prefix)
                self.upload(key_pair, name)
                self._uploaded[key_pair] = name
            return self._uploaded[key_pair]

    def delete(self, name: str) -> None:
        """Delete a key pair from EC2 (DeleteKeyPair). No-op if it does not exist."""
        try:
            with translated():
                self._client.delete_key_pair(KeyName=name)
        except KeyPairNotFoundError:
            logger.info("key pair %s is already deleted", name)
        self._ledger.forget(name)

    def _import(self, text: str, name: str) -> None:
        def call(idempotency_tag: str) -> list[Any]:
            tags = self._ownership.tags(name, idempotency_tag=idempotency_tag)
            specifications: Any = tag_specifications(["key-pair"], tags)
            self._client.import_key_pair(
                KeyName=name,
                PublicKeyMaterial=text.encode(),
                TagSpecifications=specifications,
            )
            return [{"KeyName": name}]

        request = CreateRequest(
            kind=KIND,
            id_key="KeyName",
            order=UndoOrder.KEY_PAIR,
            call=call,
            find=lambda filters: self._client.describe_key_pairs(Filters=filters)["KeyPairs"],
            delete=lambda _: self.delete(name),
        )
        create(self._ledger, request)
        logger.debug("uploaded the public key as %s", name)

    def _expect_same(self, text: str, name: str) -> None:
        with translated():
            found = self._client.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"][0]
        if not is_same_key(text, found):
            raise KeyPairError(
                f"EC2 has another key under the name {name!r}: choose another name, or delete_key({name!r}) first"
            )
        logger.info("EC2 has this key already, as %s", name)


def is_same_key(public_key_text: str, record: Mapping[str, Any]) -> bool:
    """Return whether EC2's record of a key pair holds this public key.

    Args:
        public_key_text: one line in OpenSSH's format.
        record: a key pair of a DescribeKeyPairs response.
    """
    if record.get("PublicKey"):
        return _key_itself(record["PublicKey"]) == _key_itself(public_key_text)
    shown = record.get("KeyFingerprint", "").removeprefix("SHA256:").rstrip("=")
    return shown in _fingerprints(public_key_text)


def _key_itself(text: str) -> list[str]:
    """Return the key type and the key, without the comment."""
    return text.split()[:2]


def _fingerprints(public_key_text: str) -> set[str]:
    """Return EC2's two fingerprints of an imported key: MD5 of the DER form (RSA), and OpenSSH's SHA-256 (ED25519).

    See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (slow to import)

    key = serialization.load_ssh_public_key(public_key_text.encode())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    md5 = hashlib.md5(der, usedforsecurity=False).hexdigest()
    _, blob = parse_public_key(public_key_text)
    return {":".join(md5[i : i + 2] for i in range(0, len(md5), 2)), fingerprint(blob).removeprefix("SHA256:")}
