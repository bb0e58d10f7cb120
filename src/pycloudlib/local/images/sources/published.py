"""The interface of publishers: the builds of a release, and the disk of a build."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Protocol

from pycloudlib.errors import DownloadError, ImageNotFoundError
from pycloudlib.local.images.distributions import GENERIC, Offer
from pycloudlib.local.images.sources.signature import Verification
from pycloudlib.local.images.sources.site import Site
from pycloudlib.local.images.sources.web import Web


@dataclass(frozen=True)
class Wanted:
    """A requested image.

    Args:
        release: a code name, a version number, or another name that a source supports, such as "fedora-42".
        daily: whether to pull the daily build; default the released image.
        architecture: "x86_64" (default) or "arm64".
        image_type: one of `distributions.IMAGE_TYPES`; default "generic".
        serial: the serial of the build; default the newest one.
    """

    release: str
    daily: bool = False
    architecture: str = "x86_64"
    image_type: str = GENERIC
    serial: str | None = None

    def __str__(self) -> str:
        words = (
            "daily" if self.daily else "released",
            self.image_type if self.image_type != GENERIC else "",
            f"image of {self.release}",
            f"for {self.architecture}",
            f"with serial {self.serial}" if self.serial else "",
        )
        return " ".join(word for word in words if word)

    @property
    def options(self) -> list[str]:
        """The arguments of `pycloudlib local image pull` for this image."""
        return [
            self.release,
            *(["--daily"] if self.daily else []),
            *(["--arch", self.architecture] if self.architecture != "x86_64" else []),
            *(["--image-type", self.image_type] if self.image_type != GENERIC else []),
            *(["--serial", self.serial] if self.serial else []),
        ]


@dataclass(frozen=True)
class Checksum:
    """The checksum of a file.

    Args:
        algorithm: "sha256" or "sha512".
        hexdigest: the checksum in lower-case hexadecimal digits.

    Raises:
        ValueError: the checksum contains other characters, which must not become part of a path.
    """

    algorithm: str
    hexdigest: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]+", self.hexdigest):
            raise ValueError(f"{self.hexdigest!r} is not a checksum")

    def __str__(self) -> str:
        return f"{self.algorithm}-{self.hexdigest}"

    def new_hash(self) -> hashlib._Hash:
        """Return a hash object of the algorithm."""
        return hashlib.new(self.algorithm)


@dataclass(frozen=True)
class PublishedDisk:
    """The disk of a build, and the corresponding AMI on EC2.

    Args:
        url: the URL of the file; its suffix names the format.
        checksum: the checksum of the file.
        verification: the verification of the checksum's signature.
        serial: the serial of the build.
        created: the creation time of the AMI.
        offer: the AMI's name, owner, and description.
        release: the code name, or the source's own name.
        username: the login user.
        root_device_name: the AMI's root device.
        architecture: "x86_64" or "arm64".
        boot_mode: the AMI's boot mode: "legacy-bios", "uefi", or "uefi-preferred".
        size: the size of the file in bytes; None (default) if the index does not contain it.
    """

    url: str
    checksum: Checksum
    verification: Verification
    serial: str
    created: datetime
    offer: Offer
    release: str
    username: str
    root_device_name: str
    architecture: str
    boot_mode: str
    size: int | None = None


class Source(Protocol):
    """A publisher of disk images."""

    @property
    def name(self) -> str:
        """The publisher's name in settings, such as "debian"."""

    @property
    def base(self) -> str:
        """The URL of the publisher's own server."""

    def releases(self) -> list[str]:
        """Return the known releases, newest last."""

    def publishes(self, release: str) -> bool:
        """Return whether a lowercase name is a release of this publisher, even if `releases` does not list it."""

    def serials(self, web: Web, site: Site, wanted: Wanted) -> list[str]:
        """Return the serials of all builds, newest first.

        Args:
            web: the HTTP client.
            site: the publisher's server, or a mirror.
            wanted: the image; its serial is ignored.
        """

    def disk(self, web: Web, site: Site, wanted: Wanted) -> PublishedDisk:
        """Return the disk of a build: the requested serial, or the newest.

        Args:
            web: the HTTP client.
            site: the publisher's server, or a mirror.
            wanted: the image.

        Raises:
            ImageNotFoundError: there is no such build.
            DownloadError: the index cannot be downloaded or parsed.
            VerificationError: the signature of the index is invalid.
        """


def chosen_serial(serials: list[str], wanted: Wanted) -> str:
    """Return the requested serial, or the newest.

    Args:
        serials: all serials, newest first.
        wanted: the image.

    Raises:
        ImageNotFoundError: the serial does not exist, or there are no builds.
    """
    if wanted.serial is None and serials:
        return serials[0]
    if wanted.serial in serials:
        return wanted.serial
    newest = f"; the newest serials are {', '.join(serials[:3])}" if serials else ""
    raise ImageNotFoundError(wanted.release, message=f"there is no {wanted} to pull{newest}")


def created_at(serial: str) -> datetime:
    """Return the creation time of a serial, such as "20240423.1" or "20241004-1890".

    A serial has a day and a number, but no time. Count the number as seconds, so that the builds of a day keep their
    order.

    Raises:
        DownloadError: the serial does not begin with a date.
    """
    try:
        day = datetime.strptime(serial[:8], "%Y%m%d").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise DownloadError(f"the serial {serial[:80]!r} does not begin with a date: use another mirror") from error
    number = "".join(character for character in serial[8:] if character.isdigit())
    return day + timedelta(seconds=int(number or "0") % 86400)
