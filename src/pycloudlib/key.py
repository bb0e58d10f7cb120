"""SSH key pairs: lookup, loading, and generation.

EC2 supports only ED25519 and RSA keys.
See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pycloudlib.errors import InvalidArgumentError, KeyPairError, UnsetSSHKeyError
from pycloudlib.key_format import (
    decode_key,
    fingerprint,
    has_private_key,
    parse_private_key,
    parse_public_key,
    public_key_of,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from pycloudlib.key_format import PrivateKey

KeyType = Literal["ed25519", "rsa"]

DEFAULT_NAMES = ("id_ed25519", "id_rsa")
"""The default private keys in ~/.ssh, of the types that EC2 supports."""

RSA_BITS = 4096


@dataclass(frozen=True, init=False)
class KeyPair:
    """A key pair, referenced by its files. The files are read on use; `load()` validates them immediately.

    Args:
        public_key_path: the public key file; or the private key file if there is no other.
        private_key_path: the private key file; default the public key's path without ".pub".
        name: the name of the key pair in EC2; default none.

    Raises:
        KeyPairError: a path starts with "~", and the home directory does not exist.
    """

    public_key_path: Path
    private_key_path: Path
    name: str | None = None

    def __init__(
        self,
        public_key_path: str | PathLike[str],
        private_key_path: str | PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        public = _expanded(public_key_path)
        private = _private_path_of(public) if private_key_path is None else _expanded(private_key_path)
        # The class is frozen.
        vars(self).update(public_key_path=public, private_key_path=private, name=name)

    @classmethod
    def load(
        cls,
        public_key_path: str | PathLike[str],
        private_key_path: str | PathLike[str] | None = None,
        name: str | None = None,
    ) -> KeyPair:
        """Return a validated key pair of existing files.

        Args:
            public_key_path: the public key in OpenSSH's format; or a private key for both, such as the `.pem` file of
                EC2's CreateKeyPair.
            private_key_path: the private key; default the public key's path without the suffix ".pub".
            name: the name of the key pair in EC2; default none.

        Raises:
            KeyPairError: a file cannot be read, is not a key, or has a passphrase; or the keys do not match.
        """
        pair = cls(public_key_path, private_key_path, name)
        pair.check()
        return pair

    @classmethod
    def generate(
        cls,
        directory: str | PathLike[str],
        name: str | None = None,
        key_type: KeyType = "ed25519",
    ) -> KeyPair:
        """Generate a key pair and write it to files. Only the owner can read the private key.

        Args:
            directory: the directory, which is created if missing.
            name: the file name of the private key; default "id_ed25519" or "id_rsa". The public key's file name is this
                name with ".pub".
            key_type: "ed25519" (default) or "rsa".

        Raises:
            KeyPairError: a file of this name exists, or cannot be written.
        """
        private_path = _expanded(directory) / (name or f"id_{key_type}")
        public_path = private_path.with_name(f"{private_path.name}.pub")
        public_text, private_text = generate_key_pair_texts(key_type)
        _write_both(private_path, private_text, public_path, public_text)
        return cls(public_path, private_path)

    @classmethod
    def save(cls, private_key_path: str | PathLike[str], private_key: str, name: str | None = None) -> KeyPair:
        """Write a private key to a file that only its owner can read, and its public key to a file beside it.

        Args:
            private_key_path: the private key's file; the public key's file is this path with ".pub".
            private_key: the key in OpenSSH's or PEM format, as `create_key_pair()` and EC2's CreateKeyPair return it.
            name: the name of the key pair in EC2; default none.

        Raises:
            KeyPairError: the text is not a private key, or a file of this name exists or cannot be written.
        """
        private_path = _expanded(private_key_path)
        public_path = private_path.with_name(f"{private_path.name}.pub")
        public_text = public_key_of(_private_key_in(private_key, private_path))
        _write_both(private_path, private_key, public_path, public_text)
        return cls(public_path, private_path, name)

    @property
    def public_key_content(self) -> str:
        """The public key in OpenSSH's format, as for ImportKeyPair.

        Raises:
            KeyPairError: the file cannot be read, or is not a key.
        """
        text = _read(self.public_key_path, "public")
        if has_private_key(text):
            return public_key_of(_private_key_in(text, self.public_key_path))
        _public_blob_in(text, self.public_key_path)
        return text.strip()

    @property
    def public_key_fingerprint(self) -> str:
        """The fingerprint of the public key in OpenSSH's format: "SHA256:..."."""
        return fingerprint(_public_blob_in(self.public_key_content, self.public_key_path))

    def check(self) -> None:
        """Validate both keys, and check that they match.

        Raises:
            KeyPairError: a key is invalid; the message names the file and the reason.
        """
        public_blob = _public_blob_in(self.public_key_content, self.public_key_path)
        private_key = _private_key_in(_read(self.private_key_path, "private"), self.private_key_path)
        if _public_blob_in(public_key_of(private_key), self.private_key_path) != public_blob:
            raise KeyPairError(
                f"{self.public_key_path} is not the public key of {self.private_key_path}; "
                f"`ssh-keygen -y -f {self.private_key_path}` prints the right one"
            )


def find_key_pair(
    public_key_path: Path | None = None,
    private_key_path: Path | None = None,
    name: str | None = None,
) -> KeyPair:
    """Load the configured key pair, or else the first default one in ~/.ssh: id_ed25519 or id_rsa.

    Args:
        public_key_path: the configured public key; default none.
        private_key_path: the configured private key; default the one beside the public key.
        name: the name of the key pair in EC2; default none.

    Raises:
        UnsetSSHKeyError: none is configured and ~/.ssh has none; the message says how to create one.
        KeyPairError: the key pair is invalid.
    """
    if public_key_path is not None:
        return KeyPair.load(public_key_path, private_key_path, name)
    if private_key_path is not None:
        beside = private_key_path.with_name(f"{private_key_path.name}.pub")
        return KeyPair.load(beside if _is_file(beside) else private_key_path, private_key_path, name)
    naming = "set public_key_path in [ec2] of pycloudlib.toml, or PYCLOUDLIB_PUBLIC_KEY_PATH"
    try:
        directory = Path("~/.ssh").expanduser()
    except RuntimeError:
        raise UnsetSSHKeyError(f"no SSH key: this user has no home directory; {naming}") from None
    for file_name in DEFAULT_NAMES:
        private = directory / file_name
        public = private.with_name(f"{file_name}.pub")
        if _is_file(private) and _is_file(public):
            return KeyPair.load(public, private, name)
    raise UnsetSSHKeyError(
        f"no SSH key: create one with `ssh-keygen -t ed25519 -N '' -f ~/.ssh/id_ed25519`, or {naming}"
    )


class LoginKey:
    """The SSH key pair of a cloud: the chosen one, or else the configured one, or else a default one in ~/.ssh.

    Args:
        public_key_path: the configured public key; default none.
        private_key_path: the configured private key; default the one beside the public key.
        name: the name of an existing key pair in the cloud; default none.
    """

    def __init__(
        self, public_key_path: Path | None = None, private_key_path: Path | None = None, name: str | None = None
    ) -> None:
        self.chosen: KeyPair | None = None
        self._configured = (public_key_path, private_key_path, name)

    def get(self) -> KeyPair:
        """Return the key pair, which is loaded on first use.

        Raises:
            UnsetSSHKeyError: there is none; the message says how to create one.
            KeyPairError: the key pair is invalid.
        """
        if self.chosen is None:
            self.chosen = find_key_pair(*self._configured)
        return self.chosen

    def get_if_set(self) -> KeyPair | None:
        """Return the key pair, or None if there is none.

        Raises:
            KeyPairError: the key pair is invalid.
        """
        try:
            return self.get()
        except UnsetSSHKeyError:
            return None


def generate_key_pair_texts(key_type: KeyType = "ed25519") -> tuple[str, str]:
    """Generate a key pair.

    Args:
        key_type: "ed25519" (default) or "rsa" (4096 bits).

    Returns:
        The public and the private key, as strings in OpenSSH's format.

    Raises:
        InvalidArgumentError: the key type is unknown.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (slow to import)

    key = _new_private_key(key_type)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return public_key_of(key), private.decode()


def _new_private_key(key_type: str) -> Ed25519PrivateKey | RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa  # noqa: PLC0415  (slow to import)

    if key_type == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if key_type == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    raise InvalidArgumentError(f"key type {key_type!r} is unknown; allowed: 'ed25519', 'rsa'")


def _expanded(path: str | PathLike[str]) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise KeyPairError(f"{os.fspath(path)}: there is no such home directory") from error


def _private_path_of(public_key_path: Path) -> Path:
    if public_key_path.suffix != ".pub":
        return public_key_path
    return public_key_path.with_suffix("")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path, half: str) -> str:
    try:
        return decode_key(path.read_bytes())
    except FileNotFoundError as error:
        raise KeyPairError(f"{half} key {path} does not exist") from error
    except OSError as error:
        raise KeyPairError(f"{half} key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Do not chain: the original error quotes the file.
        raise KeyPairError(f"{half} key {path} is not a key in OpenSSH's or PEM format") from None


def _write_both(private_path: Path, private_text: str, public_path: Path, public_text: str) -> None:
    _create_file(private_path, f"{private_text.rstrip()}\n", mode=0o600)
    try:
        _create_file(public_path, f"{public_text}\n", mode=0o644)
    except KeyPairError:
        private_path.unlink()
        raise


def _create_file(path: Path, text: str, mode: int) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Create the file with its mode: a later chmod would leave it readable in between.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyPairError(f"{path} exists already; a key is never overwritten") from error
    except OSError as error:
        raise KeyPairError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyPairError(f"{path} cannot be written: {error.strerror}") from error


def _private_key_in(text: str, path: Path) -> PrivateKey:
    try:
        return parse_private_key(text, path)
    except ValueError as error:
        raise KeyPairError(str(error)) from None


def _public_blob_in(text: str, path: Path) -> bytes:
    try:
        return parse_public_key(text)[1]
    except ValueError:
        raise KeyPairError(_why_no_public_key(text, path)) from None


def _why_no_public_key(text: str, path: Path) -> str:
    if "BEGIN SSH2 PUBLIC KEY" in text:
        return f"public key {path} is not in OpenSSH's format; `ssh-keygen -i -f {path}` converts it"
    return f"{path} is not a public key: one line in OpenSSH's format, such as 'ssh-ed25519 AAAA... comment'"
