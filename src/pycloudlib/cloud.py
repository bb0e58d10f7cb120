"""The base class of clouds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING

from pycloudlib.instance import BaseInstance, raise_unless_secondary
from pycloudlib.key import KeyPair, KeyType, LoginKey, generate_key_pair_texts
from pycloudlib.tags import MAX_NAME_LENGTH, timestamped, validate_tag

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from typing_extensions import Self


class ImageType(Enum):
    """The types of images that a distribution publishes."""

    GENERIC = "generic"
    MINIMAL = "minimal"
    PRO = "Pro"
    PRO_FIPS = "Pro FIPS"
    PRO_FIPS_UPDATES = "Pro FIPS Updates"


class BaseCloud(ABC):
    """A cloud that launches instances, and the SSH key for them.

    As a context manager, delete all created resources on exit, and raise if any could not be deleted.

    Args:
        tag: the name prefix of created resources: 1 to 63 lowercase letters, digits, and hyphens; at most 52 with a
            suffix.
        timestamp_suffix: whether to append the time and random digits to the tag; default yes.
        public_key_path: the SSH public key; default id_ed25519.pub or id_rsa.pub in ~/.ssh.
        private_key_path: the SSH private key; default the one beside the public key.
        key_name: the name of an existing key pair in the cloud; default none.

    Raises:
        InvalidTagNameError: the tag cannot be a resource name.
    """

    _type = "base"

    def __init__(
        self,
        tag: str,
        *,
        timestamp_suffix: bool = True,
        public_key_path: Path | None = None,
        private_key_path: Path | None = None,
        key_name: str | None = None,
    ) -> None:
        validate_tag(tag)
        self.tag = timestamped(tag, max_length=MAX_NAME_LENGTH) if timestamp_suffix else tag
        validate_tag(self.tag)
        self._login_key = LoginKey(public_key_path, private_key_path, key_name)

    @property
    def key_pair(self) -> KeyPair:
        """The SSH key pair: the given one, or else the configured one, or else id_ed25519 or id_rsa in ~/.ssh.

        Raises:
            UnsetSSHKeyError: there is none; the message says how to create one.
            KeyPairError: the key pair is invalid.
        """
        return self._login_key.get()

    @key_pair.setter
    def key_pair(self, key_pair: KeyPair) -> None:
        self._login_key.chosen = key_pair

    def use_key(
        self,
        public_key_path: str | PathLike[str],
        private_key_path: str | PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Use this key pair for later launches.

        Args:
            public_key_path: the public key; or one `.pem` file for both keys.
            private_key_path: the private key; default the public key's path without ".pub".
            name: the name of an existing key pair in the cloud; default none, so that the first launch uploads the key.

        Raises:
            KeyPairError: the key pair is invalid.
        """
        self.key_pair = KeyPair.load(public_key_path, private_key_path, name)

    def create_key_pair(self, key_type: KeyType = "ed25519") -> tuple[str, str]:
        """Generate a new key pair without saving or uploading it. `KeyPair.save()` writes it to files.

        Args:
            key_type: "ed25519" (default) or "rsa".

        Returns:
            The public and the private key, as strings in OpenSSH's format.

        Raises:
            InvalidArgumentError: the key type is unknown.
        """
        return generate_key_pair_texts(key_type)

    @abstractmethod
    def get_instance(self, instance_id: str, *, username: str | None = None) -> BaseInstance:
        """Return a handle to an existing instance."""

    @abstractmethod
    def daily_image(self, release: str) -> str:
        """Return the newest daily image of a release."""

    @abstractmethod
    def released_image(self, release: str) -> str:
        """Return the newest released image of a release."""

    @abstractmethod
    def image_serial(self, image_id: str) -> str:
        """Return the build date of an image."""

    @abstractmethod
    def list_keys(self) -> list[str]:
        """Return the names of the cloud's key pairs."""

    @abstractmethod
    def delete_key(self, name: str) -> None:
        """Delete a key pair from the cloud."""

    @abstractmethod
    def clean(self) -> list[Exception]:
        """Delete all resources that were created here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise_unless_secondary(self.clean(), exception)
