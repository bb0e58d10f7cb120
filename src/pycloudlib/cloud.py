"""What any cloud offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING

from pycloudlib.instance import BaseInstance, raise_unless_secondary
from pycloudlib.key import KeyPair, KeyType, find_key_pair, generate_key_pair_texts
from pycloudlib.tags import MAX_NAME_LENGTH, timestamped, validate_tag

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from typing_extensions import Self


class ImageType(Enum):
    """The kinds of images that a distribution publishes."""

    GENERIC = "generic"
    MINIMAL = "minimal"
    PRO = "Pro"
    PRO_FIPS = "Pro FIPS"
    PRO_FIPS_UPDATES = "Pro FIPS Updates"


class BaseCloud(ABC):
    """A cloud: where instances are launched, and the key with which they are reached.

    As a context manager it deletes in the end what it created, and raises what it could not delete.

    Args:
        tag: names what is created: 1 to 63 lower-case letters, digits and hyphens; at most 52 with a suffix.
        timestamp_suffix: whether the time and some random digits are added to the tag; default yes.
        public_key_path: the SSH public key; default the first usual one in ~/.ssh.
        private_key_path: the SSH private key; default the one beside the public key.
        key_name: the name under which the cloud knows the key already; default none.

    Raises:
        InvalidTagNameError: the tag cannot name resources.
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
        self._configured_key = (public_key_path, private_key_path, key_name)
        self._key_pair: KeyPair | None = None

    @property
    def key_pair(self) -> KeyPair:
        """The SSH key in use: the one given, else the configured one, else the first usual one in ~/.ssh.

        Raises:
            UnsetSSHKeyError: there is none; says how to make one.
            KeyPairError: it cannot be used.
        """
        if self._key_pair is None:
            self._key_pair = find_key_pair(*self._configured_key)
        return self._key_pair

    @key_pair.setter
    def key_pair(self, key_pair: KeyPair) -> None:
        self._key_pair = key_pair

    def use_key(
        self,
        public_key_path: str | PathLike[str],
        private_key_path: str | PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Reach the instances launched from now on with this key.

        Args:
            public_key_path: the public key; or one `.pem` file for both keys.
            private_key_path: the private key; default the public key's path without ".pub".
            name: the name under which the cloud knows the key already; default: it does not, and gets it with the
                first launch.

        Raises:
            KeyPairError: the key cannot be used.
        """
        self.key_pair = KeyPair.load(public_key_path, private_key_path, name)

    def create_key_pair(self, key_type: KeyType = "ed25519") -> tuple[str, str]:
        """Make a new key pair; it is neither saved nor uploaded. KeyPair.save() writes it into files.

        Args:
            key_type: "ed25519" (default) or "rsa".

        Returns:
            The public and the private key, as texts in OpenSSH's format.

        Raises:
            InvalidArgumentError: another type.
        """
        return generate_key_pair_texts(key_type)

    @abstractmethod
    def get_instance(self, instance_id: str, *, username: str | None = None) -> BaseInstance:
        """Give an instance that exists already."""

    @abstractmethod
    def daily_image(self, release: str) -> str:
        """Find the newest daily image of a release."""

    @abstractmethod
    def released_image(self, release: str) -> str:
        """Find the newest released image of a release."""

    @abstractmethod
    def image_serial(self, image_id: str) -> str:
        """Tell the day on which an image was built."""

    @abstractmethod
    def list_keys(self) -> list[str]:
        """List the names of the key pairs that the cloud knows."""

    @abstractmethod
    def delete_key(self, name: str) -> None:
        """Let the cloud forget a key pair."""

    @abstractmethod
    def clean(self) -> list[Exception]:
        """Delete everything that was created here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise_unless_secondary(self.clean(), exception)
