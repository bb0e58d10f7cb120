"""The owners, names, and login users of public AMIs, by which lookups find them.

Owners and names: https://wiki.debian.org/Cloud/AmazonEC2Image and
https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.releases import DEBIAN, UBUNTU, Release, find_release

SELF = "123456789012"
"""The account that owns images without a publisher."""

DEBIAN_RELEASES = "136693071363"
DEBIAN_DAILIES = "903794441882"
CANONICAL = "099720109477"
MARKETPLACE = "679593333241"
OWNER_ALIASES = {MARKETPLACE: "aws-marketplace"}
"""The aliases of owners, by account id."""

FIRST_ON_GP3 = "24.04"
"""The first Ubuntu release whose names contain hvm-ssd-gp3 instead of hvm-ssd."""
GENERIC = "generic"
MINIMAL = "minimal"
_PRO = {
    "pro": ("pro-server", CANONICAL),
    "pro-fips": ("pro-fips-server", MARKETPLACE),
    "pro-fips-updates": ("pro-fips-updates-server", MARKETPLACE),
}
IMAGE_TYPES = (GENERIC, MINIMAL, *_PRO)
"""The image types that Ubuntu publishes; Pro types exist for LTS releases only."""

NAMED = {"x86_64": "amd64", "arm64": "arm64"}
"""The architectures' names in Debian and Ubuntu."""


@dataclass(frozen=True)
class Offer:
    """An AMI that offers an image.

    Args:
        name: the AMI's name.
        owner_id: the account that publishes the AMI.
        description: the AMI's description.
    """

    name: str
    owner_id: str
    description: str


@dataclass(frozen=True)
class Distribution:
    """The publication of a release on EC2.

    Args:
        release: the code name, or the name that the user chose.
        username: the login user of the images; empty if unknown.
        root_device_name: the AMI's root device.
        known: the release of Debian or Ubuntu; None for a user's own image (default).
    """

    release: str
    username: str
    root_device_name: str
    known: Release | None = None

    @property
    def version(self) -> str:
        """The version number, such as "12" or "24.04"; empty if unknown."""
        return self.known.version if self.known else ""

    def offers(
        self, created: datetime, *, image_type: str = GENERIC, repeat: int = 0, architecture: str = "x86_64"
    ) -> tuple[Offer, ...]:
        """Return the AMIs that offer one disk, so that lookups of dailies and of releases both find it.

        Args:
            created: the creation time of the image in UTC.
            image_type: one of `IMAGE_TYPES`; default "generic".
            repeat: the number of earlier images of the same minute (Ubuntu: day); default 0.
            architecture: "x86_64" (default) or "arm64".

        Returns:
            The daily, then the release. Types without dailies, such as Ubuntu Pro, have the release only. A release
            without a publisher has one AMI of the user's own account.

        Raises:
            InvalidArgumentError: the distribution has no images of the type.
        """
        again = f".{repeat}" if repeat else ""
        if self.known is None:
            self.require_type(image_type)
            return (Offer(f"{self.release}{again}", SELF, f"{self.release}, added to the local EC2"),)
        serial = f"{created:%Y%m%d-%H%M}" if self.known.distribution == DEBIAN else f"{created:%Y%m%d}"
        return self.offers_of(f"{serial}{again}", image_type=image_type, architecture=architecture)

    def offers_of(self, serial: str, *, image_type: str = GENERIC, architecture: str = "x86_64") -> tuple[Offer, ...]:
        """Return the AMIs of a build of Debian or Ubuntu: the daily, if the type has dailies, then the release.

        Args:
            serial: the serial of the build, such as "20240423".
            image_type: one of `IMAGE_TYPES`; default "generic".
            architecture: "x86_64" (default) or "arm64".

        Raises:
            InvalidArgumentError: the distribution has no images of the type.
        """
        self.require_type(image_type)
        if self.known is not None and self.known.distribution == DEBIAN:
            return self._debian(serial, NAMED[architecture])
        if image_type in _PRO:
            return (self._pro(*_PRO[image_type], serial, NAMED[architecture]),)
        return self._ubuntu("minimal" if image_type == MINIMAL else "server", serial, NAMED[architecture])

    def further_offers(self, created: datetime, *, architecture: str = "x86_64") -> tuple[Offer, ...]:
        """Return the AMIs of all types but generic: Ubuntu's minimal images, and Pro images of LTS releases.

        Args:
            created: the creation time of the images in UTC.
            architecture: "x86_64" (default) or "arm64".
        """
        return tuple(
            offer
            for image_type in self.image_types
            if image_type != GENERIC
            for offer in self.offers(created, image_type=image_type, architecture=architecture)
        )

    @property
    def image_types(self) -> tuple[str, ...]:
        """The image types that the distribution publishes for the release."""
        if self.known is None or self.known.distribution != UBUNTU:
            return (GENERIC,)
        return IMAGE_TYPES if self.known.is_lts else (GENERIC, MINIMAL)

    def require_type(self, image_type: str) -> None:
        """Require an image type that the distribution publishes for the release.

        Raises:
            InvalidArgumentError: the release has no images of the type.
        """
        if image_type not in self.image_types:
            raise InvalidArgumentError(
                f"{self.release} has no {image_type} images; allowed: {', '.join(self.image_types)}"
            )

    @property
    def _disk(self) -> str:
        return "hvm-ssd-gp3" if self.version >= FIRST_ON_GP3 else "hvm-ssd"

    def _debian(self, serial: str, arch: str) -> tuple[Offer, ...]:
        return (
            Offer(
                f"debian-{self.version}-{arch}-daily-{serial}",
                DEBIAN_DAILIES,
                f"Debian {self.version} (daily build {serial})",
            ),
            Offer(f"debian-{self.version}-{arch}-{serial}", DEBIAN_RELEASES, f"Debian {self.version} ({serial})"),
        )

    def _pro(self, kind: str, owner_id: str, serial: str, arch: str) -> Offer:
        return Offer(
            f"ubuntu-{kind}/images/{self._disk}/ubuntu-{self.release}-{self.version}-{arch}-{kind}-{serial}",
            owner_id,
            f"Canonical, Ubuntu Pro, {self.version}, {arch} {self.release} image ({kind})",
        )

    def _ubuntu(self, kind: str, serial: str, arch: str) -> tuple[Offer, ...]:
        folder = "ubuntu-minimal" if kind == "minimal" else "ubuntu"
        text = (
            f"Canonical, Ubuntu{', Minimal' if kind == 'minimal' else ''}, {self.version}, {arch} {self.release} image"
        )
        return (
            Offer(
                f"{folder}/images-testing/{self._disk}/ubuntu-{self.release}-daily-{arch}-{kind}-{serial}",
                CANONICAL,
                f"{text} (daily build {serial})",
            ),
            Offer(
                f"{folder}/images/{self._disk}/ubuntu-{self.release}-{self.version}-{arch}-{kind}-{serial}",
                CANONICAL,
                text,
            ),
        )


def distribution(release: str) -> Distribution:
    """Return the distribution of a release.

    Args:
        release: a code name or version number of Debian or Ubuntu, such as "bookworm" or "24.04"; anything else
            names a user's own image.
    """
    try:
        known = find_release(release)
    except InvalidArgumentError:
        return Distribution(release.strip(), username="", root_device_name="/dev/sda1")
    if known.distribution == DEBIAN:
        return Distribution(known.code_name, username="admin", root_device_name="/dev/xvda", known=known)
    return Distribution(known.code_name, username="ubuntu", root_device_name="/dev/sda1", known=known)
