"""What the publishers of public AMIs call them: the owners, names and login users that look-ups go by.

Owners and names: https://wiki.debian.org/Cloud/AmazonEC2Image and
https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SELF = "123456789012"
"""The account that owns what no publisher does."""

DEBIAN_RELEASES = "136693071363"
DEBIAN_DAILIES = "903794441882"
CANONICAL = "099720109477"
MARKETPLACE = "679593333241"
OWNER_ALIASES = {MARKETPLACE: "aws-marketplace"}
"""What owners are called beside their account ids."""

DEBIAN = {"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14"}
UBUNTU = {
    "trusty": "14.04",
    "xenial": "16.04",
    "bionic": "18.04",
    "focal": "20.04",
    "jammy": "22.04",
    "noble": "24.04",
    "oracular": "24.10",
    "plucky": "25.04",
    "questing": "25.10",
    "resolute": "26.04",
}
FIRST_ON_GP3 = "24.04"
"""From this Ubuntu release on, the names say hvm-ssd-gp3 where they said hvm-ssd before."""
LONG_TERM = ("xenial", "bionic", "focal", "jammy", "noble", "resolute")
"""The Ubuntu releases that have Pro images."""
_PRO = {"pro-server": CANONICAL, "pro-fips-server": MARKETPLACE, "pro-fips-updates-server": MARKETPLACE}
_NAMED = {"x86_64": "amd64", "arm64": "arm64"}
"""What Debian and Ubuntu call the architectures."""


@dataclass(frozen=True)
class Offer:
    """One AMI under which an image is offered.

    Args:
        name: the AMI's name.
        owner_id: the account that publishes it.
        description: the AMI's description.
    """

    name: str
    owner_id: str
    description: str


@dataclass(frozen=True)
class Distribution:
    """How a release is published on EC2.

    Args:
        release: the code name, or whatever the user calls it.
        version: "12", "24.04"; empty when unknown.
        username: the login user that its images make; empty when unknown.
        root_device_name: the AMI's root device.
    """

    release: str
    version: str
    username: str
    root_device_name: str

    def offers(self, created: datetime, *, repeat: int = 0, architecture: str = "x86_64") -> tuple[Offer, ...]:
        """The AMIs under which one disk is offered, so that look-ups of dailies and of releases both find it.

        Args:
            created: when the image was made, UTC.
            repeat: how many of the same minute (Ubuntu: day) are there already.
            architecture: "x86_64", the default, or "arm64".

        Returns:
            The daily first, then the release; one under the user's own account when nobody publishes it.
        """
        again = f".{repeat}" if repeat else ""
        if self.release in DEBIAN:
            return self._debian(f"{created:%Y%m%d-%H%M}{again}", _NAMED[architecture])
        if self.release in UBUNTU:
            return self._ubuntu("server", f"{created:%Y%m%d}{again}", _NAMED[architecture])
        return (Offer(f"{self.release}{again}", SELF, f"{self.release}, added to the local EC2"),)

    def further_offers(self, created: datetime, *, architecture: str = "x86_64") -> tuple[Offer, ...]:
        """The AMIs that are published beside the generic ones: Ubuntu's minimal ones, and Pro for long-term releases.

        Args:
            created: when the images were made, UTC.
            architecture: "x86_64", the default, or "arm64".
        """
        if self.release not in UBUNTU:
            return ()
        arch, serial = _NAMED[architecture], f"{created:%Y%m%d}"
        minimal = self._ubuntu("minimal", serial, arch)
        if self.release not in LONG_TERM:
            return minimal
        name = f"ubuntu-{self.release}-{self.version}-{arch}"
        pro = (
            Offer(
                f"ubuntu-{kind}/images/{self._disk}/{name}-{kind}-{serial}",
                owner_id,
                f"Canonical, Ubuntu Pro, {self.version}, {arch} {self.release} image ({kind})",
            )
            for kind, owner_id in _PRO.items()
        )
        return (*minimal, *pro)

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
    """What is known of a release.

    Args:
        release: a code name or a version number of Debian or Ubuntu, such as "bookworm" or "24.04"; anything else
            names an image of the user's own.
    """
    wanted = release.strip().lower()
    for codename, version in DEBIAN.items():
        if wanted in (codename, version):
            return Distribution(codename, version, username="admin", root_device_name="/dev/xvda")
    for codename, version in UBUNTU.items():
        if wanted in (codename, version):
            return Distribution(codename, version, username="ubuntu", root_device_name="/dev/sda1")
    return Distribution(release.strip(), "", username="", root_device_name="/dev/sda1")
