"""The one private key that a connection offers."""

from __future__ import annotations

import io
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from pycloudlib.errors import KeyPairError

SupportedKey = RSAPrivateKey | Ed25519PrivateKey | EllipticCurvePrivateKey


def load_private_key(path: Path) -> paramiko.PKey:
    """Load a private key: RSA, Ed25519 or ECDSA, in OpenSSH's format or as PEM, as EC2's CreateKeyPair writes it.

    A certificate beside it (`-cert.pub`) is left alone: an instance knows the plain key.

    Args:
        path: the private key's file.

    Returns:
        The key, as paramiko wants it.

    Raises:
        KeyPairError: it cannot be read, is no private key, or is protected by a passphrase.
    """
    key = _parse(_read(path), path)
    # paramiko cannot read PKCS#8, nor a file without the certificate beside it: so it gets one format, in memory.
    text = io.StringIO(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    if isinstance(key, RSAPrivateKey):
        return paramiko.RSAKey.from_private_key(text)
    if isinstance(key, Ed25519PrivateKey):
        return paramiko.Ed25519Key.from_private_key(text)
    return paramiko.ECDSAKey.from_private_key(text)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyPairError(f"the private key {path} cannot be read: {error.strerror}") from error


def _parse(data: bytes, path: Path) -> SupportedKey:
    if data.startswith((b"ssh-", b"ecdsa-")):
        raise KeyPairError(f"{path} is a public key; the private one of the pair is needed")
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        raise KeyPairError(
            f"the private key {path} is protected by a passphrase; use one without, or remove it with: "
            f"ssh-keygen -p -N '' -f {path}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # The parser's own message may quote the file, so it is not passed on.
        raise KeyPairError(f"{path} is not a private key that can be used (RSA, Ed25519 or ECDSA)") from None
    if not isinstance(key, SupportedKey):
        raise KeyPairError(f"the private key {path} is of a kind that SSH does not use any more; make an Ed25519 one")
    return key
