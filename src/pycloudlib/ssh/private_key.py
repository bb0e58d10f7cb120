"""The private key of a connection."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pycloudlib.key_format import PassphraseNeeded, decode_key, parse_private_key
from pycloudlib.ssh.errors import PassphraseError, PrivateKeyError

SupportedKey = RSAPrivateKey | Ed25519PrivateKey | EllipticCurvePrivateKey

FileVersion = tuple[int, int, int]

_LOADING = threading.Lock()
_loaded: dict[Path, tuple[FileVersion, paramiko.PKey]] = {}
"""The loaded keys, each with the version of its file. Loading an RSA key takes 0.3 s, because its primes are checked; a
fleet has one key for all of its connections."""


def load_private_key(path: Path) -> paramiko.PKey:
    """Load a private key (RSA, Ed25519, or ECDSA) in OpenSSH's or PEM format, such as from EC2's CreateKeyPair.

    A certificate beside it (`-cert.pub`) is ignored: an instance knows only the key. A changed file is read again.

    Args:
        path: the private key's file.

    Returns:
        The key as a paramiko object.

    Raises:
        KeyPairError: the file cannot be read, is not a private key, or is protected by a passphrase.
    """
    with _LOADING:
        version = _version(path)
        known_version, key = _loaded.get(path, (None, None))
        if key is None or known_version != version:
            key = _load(path)
            _loaded[path] = version, key
        return key


def _version(path: Path) -> FileVersion:
    """Return a value that changes whenever the file does."""
    try:
        status = path.stat()
    except OSError as error:
        raise PrivateKeyError(f"private key {path} cannot be read: {error.strerror}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _load(path: Path) -> paramiko.PKey:
    key = _parse(path)
    if isinstance(key, RSAPrivateKey):
        # paramiko would check a key in text form once more.
        return paramiko.RSAKey(key=key)
    # paramiko reads neither PKCS#8 nor a file without its certificate, so convert the key to one format in memory.
    text = io.StringIO(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    if isinstance(key, Ed25519PrivateKey):
        return paramiko.Ed25519Key.from_private_key(text)
    return paramiko.ECDSAKey.from_private_key(text)


def _parse(path: Path) -> SupportedKey:
    try:
        key = parse_private_key(decode_key(path.read_bytes()), path)
    except OSError as error:
        raise PrivateKeyError(f"private key {path} cannot be read: {error.strerror}") from error
    except PassphraseNeeded as error:
        raise PassphraseError(str(error)) from None
    except UnicodeDecodeError:
        # Do not chain: the original error quotes the file.
        raise PrivateKeyError(f"private key {path} is not a key in OpenSSH's or PEM format") from None
    except ValueError as error:
        raise PrivateKeyError(str(error)) from None
    if not isinstance(key, SupportedKey):
        raise PrivateKeyError(f"private key {path} is of an obsolete type; create an Ed25519 key")
    return key
