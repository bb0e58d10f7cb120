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

    def offers(self, created: datetime, *, repeat: int = 0) -> tuple[Offer, ...]:
        """The AMIs under which one disk is offered, so that look-ups of dailies and of releases both find it.

        Args:
            created: when the image was made, UTC.
            repeat: how many of the same minute (Ubuntu: day) are there already.

        Returns:
            The daily first, then the release; one under the user's own account when nobody publishes it.
        """
        again = f".{repeat}" if repeat else ""
        if self.release in DEBIAN:
            serial = f"{created:%Y%m%d-%H%M}{again}"
            return (
                Offer(
                    f"debian-{self.version}-amd64-daily-{serial}",
                    DEBIAN_DAILIES,
                    f"Debian {self.version} (daily build {serial})",
                ),
                Offer(f"debian-{self.version}-amd64-{serial}", DEBIAN_RELEASES, f"Debian {self.version} ({serial})"),
            )
        if self.release in UBUNTU:
            disk = "hvm-ssd-gp3" if self.version >= FIRST_ON_GP3 else "hvm-ssd"
            serial = f"{created:%Y%m%d}{again}"
            return (
                Offer(
                    f"ubuntu/images-testing/{disk}/ubuntu-{self.release}-daily-amd64-server-{serial}",
                    CANONICAL,
                    f"Canonical, Ubuntu, {self.version}, amd64 {self.release} image (daily build {serial})",
                ),
                Offer(
                    f"ubuntu/images/{disk}/ubuntu-{self.release}-{self.version}-amd64-server-{serial}",
                    CANONICAL,
                    f"Canonical, Ubuntu, {self.version}, amd64 {self.release} image",
                ),
            )
        return (Offer(f"{self.release}{again}", SELF, f"{self.release}, added to the local EC2"),)


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
