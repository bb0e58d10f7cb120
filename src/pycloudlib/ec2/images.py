"""AMIs: which one is the newest of a release, and what a launch has to know of one."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pycloudlib.cloud import ImageType
from pycloudlib.ec2.faults import translated
from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError
from pycloudlib.releases import DEBIAN, UBUNTU, Release, find_release

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

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

_SERIAL = re.compile(r"-(\d{8}(?:\.\d+)?(?:-\d+$)?)(?:-|$)")
"""The day of the build in an image's name: "20240423", "20240423.1" or Debian's "20240423-1726"."""

DEFAULT_USERNAME = "ubuntu"

_USERNAMES_BY_OWNER = {
    UBUNTU_OWNER: "ubuntu",
    DEBIAN_OWNER: "admin",
    DEBIAN_DAILY_OWNER: "admin",
}

_USERNAMES_BY_NAME = {
    "ubuntu": "ubuntu",
    "debian-": "admin",
    "al20": "ec2-user",
    "amzn": "ec2-user",
    "RHEL-": "ec2-user",
    "suse-": "ec2-user",
}


@dataclass(frozen=True)
class Image:
    """What EC2 says about an AMI.

    Args:
        image_id: such as "ami-0123456789abcdef0".
        name: its name; empty for one without.
        owner_id: the account that owns it.
        state: "available" when it can be launched.
        creation_date: ISO 8601, UTC.
        root_device_name: such as "/dev/xvda"; empty when EC2 does not say.
        root_size_gb: GiB of its root volume, the least that a launch can ask for; 0 when EC2 does not say.
    """

    image_id: str
    name: str = ""
    owner_id: str = ""
    state: str = "available"
    creation_date: str = ""
    root_device_name: str = ""
    root_size_gb: int = 0

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Image:
        """Read one image of an answer of DescribeImages."""
        root = record.get("RootDeviceName") or ""
        sizes = {
            mapping.get("DeviceName"): mapping.get("Ebs", {}).get("VolumeSize", 0)
            for mapping in record.get("BlockDeviceMappings", [])
        }
        return cls(
            image_id=record["ImageId"],
            name=record.get("Name") or "",
            owner_id=record.get("OwnerId") or "",
            state=record.get("State") or "",
            creation_date=record.get("CreationDate") or "",
            root_device_name=root,
            root_size_gb=sizes.get(root) or 0,
        )

    @property
    def username(self) -> str | None:
        """The user that cloud-init sets up, as the image's owner or name tells; None when neither does."""
        if self.owner_id in _USERNAMES_BY_OWNER:
            return _USERNAMES_BY_OWNER[self.owner_id]
        users = (user for beginning, user in _USERNAMES_BY_NAME.items() if self.name.startswith(beginning))
        return next(users, None)

    @property
    def serial(self) -> str | None:
        """The day of its build, as its name tells; None when it does not."""
        found = _SERIAL.search(self.name)
        return found[1] if found else None


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
    if arch not in _EC2_ARCHITECTURES:
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


class Images:
    """The AMIs of one endpoint (DescribeImages). What is known of one is asked once.

    Args:
        client: the boto3 EC2 client.
    """

    def __init__(self, client: EC2Client) -> None:
        self._client = client
        self._known: dict[str, Image] = {}
        self._lock = threading.Lock()

    def get(self, image_id: str) -> Image:
        """Tell what EC2 says about an AMI.

        Raises:
            ImageNotFoundError: there is none of that id.
        """
        # Asked under the lock, so that a hundred threads that launch the same image ask once.
        with self._lock:
            if image_id not in self._known:
                self._known[image_id] = self._describe(image_id)
            return self._known[image_id]

    def newest(self, query: ImageQuery) -> Image:
        """Find the newest image, by creation date.

        Raises:
            ImageNotFoundError: there is none; names the owners and filters that were asked for.
        """
        with translated():
            answer = self._client.describe_images(
                Owners=list(query.owners),
                Filters=[{"Name": name, "Values": [value]} for name, value in query.filters.items()],
                IncludeDeprecated=query.include_deprecated,
            )
        found = [Image.of(record) for record in answer["Images"]]
        if not found:
            region = self._client.meta.region_name
            raise ImageNotFoundError(f"no image in {region} matches: {query}", operation="DescribeImages")
        return max(found, key=lambda image: (image.creation_date, image.name))

    def named(self, name: str) -> Image:
        """Find the newest image of a name, among one's own and those of Canonical, Debian and Amazon.

        Args:
            name: the name; `*` and `?` stand for any characters and any one character.

        Raises:
            ImageNotFoundError: there is none.
        """
        return self.newest(ImageQuery(TRUSTED_OWNERS, {"name": name, "state": "available"}, include_deprecated=True))

    def _describe(self, image_id: str) -> Image:
        with translated():
            answer = self._client.describe_images(ImageIds=[image_id], IncludeDeprecated=True)
        if not answer["Images"]:
            raise ImageNotFoundError(
                f"no image {image_id!r} in {self._client.meta.region_name}",
                resource_id=image_id,
                operation="DescribeImages",
            )
        return Image.of(answer["Images"][0])
