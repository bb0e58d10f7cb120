"""Queries for the newest AMI of a release: its owner, name, and other filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pycloudlib.cloud import ImageType
from pycloudlib.ec2.images.publishers import (
    AMAZON_OWNER,
    DEBIAN_DAILY_OWNER,
    DEBIAN_OWNER,
    MARKETPLACE_OWNER,
    UBUNTU_OWNER,
    owners_in,
)
from pycloudlib.errors import InvalidArgumentError
from pycloudlib.releases import DEBIAN, UBUNTU, Release, find_release

TRUSTED_OWNERS = ("self", UBUNTU_OWNER, DEBIAN_OWNER, DEBIAN_DAILY_OWNER, AMAZON_OWNER, MARKETPLACE_OWNER)
"""The owners that a lookup by name trusts: anybody can publish an image under any name."""

FIRST_RELEASE_ON_GP3 = (24, 4)
"""As of Ubuntu 24.04, image names contain hvm-ssd-gp3 instead of hvm-ssd."""

# EC2's name of an architecture, by every name; and Debian's and Ubuntu's name, by EC2's.
_EC2_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}

_PRO_NAMES = {
    ImageType.PRO: "ubuntu-pro-server",
    ImageType.PRO_FIPS: "ubuntu-pro-fips-server",
    ImageType.PRO_FIPS_UPDATES: "ubuntu-pro-fips-updates-server",
}

_NAME_PREFIXES = {
    ImageType.GENERIC: ("ubuntu/", "debian-"),
    ImageType.MINIMAL: ("ubuntu-minimal/",),
    **{image_type: (f"{name}/",) for image_type, name in _PRO_NAMES.items()},
}

_UBUNTU_PRODUCTS = {
    ImageType.GENERIC: "server",
    ImageType.MINIMAL: "server-minimal",
    ImageType.PRO: "pro-server",
}
"""The products in SSM's public parameters; the other types have none."""


@dataclass(frozen=True)
class ImageQuery:
    """The parameters of a DescribeImages call.

    Args:
        owners: account ids or aliases; empty for all owners.
        filters: the values, by filter name.
        include_deprecated: whether to include deprecated images; default no.
        parameters: the names of SSM's public parameters for the newest image; default none.
    """

    owners: Sequence[str]
    filters: Mapping[str, str]
    include_deprecated: bool = False
    parameters: Sequence[str] = ()

    def in_partition(self, partition: str, *, at_aws: bool) -> ImageQuery:
        """Return this query for another partition. Its owners may be empty if they are unknown there.

        Args:
            partition: the partition, as boto3's `client.meta.partition` names it.
            at_aws: whether the endpoint is AWS's own.
        """
        return replace(self, owners=owners_in(partition, self.owners, at_aws=at_aws))

    def __str__(self) -> str:
        filters = ", ".join(f"{name}={value}" for name, value in self.filters.items())
        return f"owners {' or '.join(self.owners)}; filters {filters}"


def is_of_type(name: str, image_type: ImageType) -> bool:
    """Return whether the name of an AMI matches Ubuntu's or Debian's names for an image type.

    Args:
        name: the name of the AMI.
        image_type: the image type.

    Raises:
        InvalidArgumentError: the image type is unknown.
    """
    _check_image_type(image_type)
    return name.startswith(_NAME_PREFIXES[image_type])


def _check_image_type(image_type: object) -> None:
    if not isinstance(image_type, ImageType):
        raise InvalidArgumentError(f"image_type is {image_type!r}; it must be one of {', '.join(map(str, ImageType))}")


def release_query(
    release_name: str,
    *,
    daily: bool,
    arch: str = "x86_64",
    image_type: ImageType = ImageType.GENERIC,
    include_deprecated: bool = False,
) -> ImageQuery:
    """Return the query for the images of a release.

    Args:
        release_name: the code name or version number, such as "noble", "24.04", "bookworm", or "12".
        daily: whether to query daily builds instead of releases. Pro images have no daily builds.
        arch: "x86_64" (default) or "arm64", also as "amd64" or "aarch64".
        image_type: the image type; default GENERIC, the only one that Debian has.
        include_deprecated: whether to include deprecated images; default no.

    Raises:
        InvalidArgumentError: the release, the architecture, or the image type is unknown.
    """
    release = find_release(release_name)
    _check_image_type(image_type)
    if not isinstance(arch, str) or arch not in _EC2_ARCHITECTURES:
        raise InvalidArgumentError(f"unknown architecture {arch!r}; allowed: {', '.join(_EC2_ARCHITECTURES)}")
    architecture = _EC2_ARCHITECTURES[arch]
    if release.distribution == DEBIAN:
        owner, name = _debian(release, architecture, daily=daily, image_type=image_type)
        parameters = _debian_parameters(release, architecture, daily=daily)
    else:
        owner, name = _ubuntu(release, daily=daily, image_type=image_type)
        parameters = [] if daily else _ubuntu_parameters(release, architecture, image_type)
    filters = {
        "name": name,
        "architecture": architecture,
        "root-device-type": "ebs",
        "virtualization-type": "hvm",
        "state": "available",
    }
    return ImageQuery((owner,), filters, include_deprecated, parameters)


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


def _debian_parameters(release: Release, architecture: str, *, daily: bool) -> list[str]:
    folder = f"/aws/service/debian/{'daily' if daily else 'release'}"
    # Debian uses both names: the code name, and for releases also the version number.
    return [
        f"{folder}/{name}/latest/{_DEBIAN_ARCHITECTURES[architecture]}" for name in (release.code_name, release.version)
    ]


def _ubuntu_parameters(release: Release, architecture: str, image_type: ImageType) -> list[str]:
    if image_type not in _UBUNTU_PRODUCTS:
        return []
    volume = "ebs-gp3" if _version(release) >= FIRST_RELEASE_ON_GP3 else "ebs-gp2"
    folder = f"/aws/service/canonical/ubuntu/{_UBUNTU_PRODUCTS[image_type]}/{release.version}/stable/current"
    return [f"{folder}/{_DEBIAN_ARCHITECTURES[architecture]}/hvm/{volume}/ami-id"]


def _version(release: Release) -> tuple[int, ...]:
    return tuple(map(int, release.version.split(".")))
