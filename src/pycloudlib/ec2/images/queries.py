"""Which AMI is the newest of a release: who owns it, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pycloudlib.cloud import ImageType
from pycloudlib.errors import InvalidArgumentError
from pycloudlib.releases import DEBIAN, UBUNTU, Release, find_release

UBUNTU_OWNER = "099720109477"
"""Canonical: https://documentation.ubuntu.com/aws/en/latest/aws-how-to/instances/find-ubuntu-images/"""

DEBIAN_OWNER = "136693071363"
"""Debian's releases: https://wiki.debian.org/Cloud/AmazonEC2Image"""

DEBIAN_DAILY_OWNER = "903794441882"
"""Debian's daily builds: https://wiki.debian.org/Cloud/AmazonEC2Image"""

MARKETPLACE_OWNER = "aws-marketplace"
AMAZON_OWNER = "amazon"

TRUSTED_OWNERS = ("self", UBUNTU_OWNER, DEBIAN_OWNER, DEBIAN_DAILY_OWNER, AMAZON_OWNER, MARKETPLACE_OWNER)
"""Whose images are found by name: anybody may publish an image under any name."""

FIRST_RELEASE_ON_GP3 = (24, 4)
"""From Ubuntu 24.04 on, the image names say hvm-ssd-gp3 instead of hvm-ssd."""

# What EC2 calls an architecture, and what Debian and Ubuntu call it, by either name.
_EC2_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}

_PRO_NAMES = {
    ImageType.PRO: "ubuntu-pro-server",
    ImageType.PRO_FIPS: "ubuntu-pro-fips-server",
    ImageType.PRO_FIPS_UPDATES: "ubuntu-pro-fips-updates-server",
}


@dataclass(frozen=True)
class ImageQuery:
    """What DescribeImages is asked.

    Args:
        owners: account ids or aliases; empty for everybody.
        filters: values by filter name.
        include_deprecated: whether images past their date of deprecation are found.
    """

    owners: Sequence[str]
    filters: Mapping[str, str]
    include_deprecated: bool = False

    def __str__(self) -> str:
        filters = ", ".join(f"{name}={value}" for name, value in self.filters.items())
        return f"owners {' or '.join(self.owners)}; filters {filters}"


def release_query(
    release_name: str,
    *,
    daily: bool,
    arch: str = "x86_64",
    image_type: ImageType = ImageType.GENERIC,
    include_deprecated: bool = False,
) -> ImageQuery:
    """Say how the images of a release are found.

    Args:
        release_name: code name or version number, such as "noble", "24.04", "bookworm" or "12".
        daily: whether the daily builds are meant; else the released ones. The Pro images have no daily builds.
        arch: "x86_64" or "arm64"; "amd64" and "aarch64" are the same.
        image_type: Debian has only GENERIC ones.
        include_deprecated: whether images past their date of deprecation are found; default no.

    Raises:
        InvalidArgumentError: no such release, architecture, or type of image.
    """
    release = find_release(release_name)
    if not isinstance(image_type, ImageType):
        raise InvalidArgumentError(f"image_type is {image_type!r}; it must be one of {', '.join(map(str, ImageType))}")
    if not isinstance(arch, str) or arch not in _EC2_ARCHITECTURES:
        raise InvalidArgumentError(f"unknown architecture {arch!r}; allowed: {', '.join(_EC2_ARCHITECTURES)}")
    architecture = _EC2_ARCHITECTURES[arch]
    if release.distribution == DEBIAN:
        owner, name = _debian(release, architecture, daily=daily, image_type=image_type)
    else:
        owner, name = _ubuntu(release, daily=daily, image_type=image_type)
    filters = {
        "name": name,
        "architecture": architecture,
        "root-device-type": "ebs",
        "virtualization-type": "hvm",
        "state": "available",
    }
    return ImageQuery((owner,), filters, include_deprecated)


def _debian(release: Release, architecture: str, *, daily: bool, image_type: ImageType) -> tuple[str, str]:
    if image_type is not ImageType.GENERIC:
        raise InvalidArgumentError(f"Debian has no {image_type.value} images on EC2; leave image_type out")
    beginning = f"debian-{release.version}-{_DEBIAN_ARCHITECTURES[architecture]}"
    if daily:
        return DEBIAN_DAILY_OWNER, f"{beginning}-daily-*"
    return DEBIAN_OWNER, f"{beginning}-*"


def _ubuntu(release: Release, *, daily: bool, image_type: ImageType) -> tuple[str, str]:
    disk = "hvm-ssd-gp3" if _version(release) >= FIRST_RELEASE_ON_GP3 else "hvm-ssd"
    if image_type in _PRO_NAMES:
        owner = UBUNTU_OWNER if image_type is ImageType.PRO else MARKETPLACE_OWNER
        return owner, f"{_PRO_NAMES[image_type]}/images/{disk}/ubuntu-{release.code_name}-*"
    minimal = image_type is ImageType.MINIMAL
    folder = f"{'ubuntu-minimal' if minimal else UBUNTU}/{'images-testing' if daily else 'images'}/{disk}"
    code_name = f"{release.code_name}-daily" if daily else release.code_name
    return UBUNTU_OWNER, f"{folder}/ubuntu-{code_name}-*-{'minimal' if minimal else 'server'}-*"


def _version(release: Release) -> tuple[int, ...]:
    return tuple(map(int, release.version.split(".")))
