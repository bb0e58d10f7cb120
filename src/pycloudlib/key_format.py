"""The formats of SSH keys, for key pairs and host keys: OpenSSH's and PEM.

The errors have one line without any part of a private key; callers raise them as errors of this library.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.serialization.ssh import SSHPrivateKeyTypes

    PrivateKey = PrivateKeyTypes | SSHPrivateKeyTypes

_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")


class PassphraseNeeded(ValueError):  # noqa: N818  (not an error of the format)
    """The private key has a passphrase."""


def decode_key(data: bytes) -> str:
    r"""Decode the content of a key file, in any common encoding and with any line ending.

    Args:
        data: the content: UTF-8, or the encoding of its byte order mark (UTF-8 or UTF-16).

    Returns:
        The text, without the mark and with "\n" as the line ending.

    Raises:
        UnicodeDecodeError: the content is not text.
    """
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_utf_16 else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def has_private_key(text: str) -> bool:
    """Return whether a text has a private key in OpenSSH's or PEM format."""
    return _PRIVATE_KEY.search(text) is not None


def parse_private_key(text: str, path: Path) -> PrivateKey:
    """Parse a private key in OpenSSH's or PEM format.

    Args:
        text: the text of the file.
        path: the file, for errors.

    Raises:
        PassphraseNeeded: the key has a passphrase.
        ValueError: the text is not a private key; the message has the reason.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  (slow to import)
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    if not has_private_key(text):
        raise ValueError(_why_no_private_key(text, path))
    load = (
        serialization.load_ssh_private_key
        if "BEGIN OPENSSH PRIVATE KEY" in text
        else serialization.load_pem_private_key
    )
    # Do not chain: a traceback must not contain parts of a private key.
    try:
        return load(text.encode(), password=None)
    except TypeError:
        raise PassphraseNeeded(
            f"private key {path} has a passphrase; `ssh-keygen -p -f {path}` removes it, or use another key"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"private key {path} is damaged, or of an unsupported type") from None


def public_key_of(key: PrivateKey) -> str:
    """Return the public key of a private key: one line in OpenSSH's format, without a comment."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (slow to import)

    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


def parse_public_key(text: str) -> tuple[str, bytes]:
    """Parse a public key in OpenSSH's format.

    Args:
        text: one line: the type, the key in base64, and optionally a comment.

    Returns:
        The type, such as "ssh-ed25519", and the key blob of the SSH protocol.

    Raises:
        ValueError: the text is not such a line.
    """
    kind, encoded, *_ = [*text.split(maxsplit=2), "", ""]
    if len(text.strip().splitlines()) != 1 or not encoded:
        raise ValueError("it is not one line of a type and a key")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("the key is not in base64") from None
    # The key starts with its type as an SSH string: the length in four bytes, then the text.
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()):
        raise ValueError("the key is not of the type")
    return kind, blob


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key in ssh-keygen's format: "SHA256:..."."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def _why_no_private_key(text: str, path: Path) -> str:
    if re.match(r"\s*(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/]", text):
        return f"{path} is a public key; give the private key that belongs to it"
    if text.startswith("PuTTY-User-Key-File"):
        return f"private key {path} is in PuTTY's format; `puttygen {path} -O private-openssh -o NEW` converts it"
    return f"{path} is not a private key in OpenSSH's or PEM format"
