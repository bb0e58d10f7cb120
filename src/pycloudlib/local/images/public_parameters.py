"""SSM's public parameters, in which publishers announce their newest images.

https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/,
https://wiki.debian.org/Cloud/AmazonEC2Image, and
https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pycloudlib.local.images.catalog import Image, timestamp
from pycloudlib.local.images.distributions import CANONICAL, DEBIAN_DAILIES, DEBIAN_RELEASES, distribution

PUBLIC = "/aws/service/"
"""The name prefix of all public parameters. Only AWS can create such a parameter."""

_UBUNTU = re.compile(
    r"ubuntu[a-z-]*/images/hvm-ssd(?P<gp3>-gp3)?/ubuntu-(?P<release>[a-z]+)-(?P<version>[\d.]+)-(?P<arch>[a-z0-9]+)"
    r"-(?P<product>server|minimal|pro-server)-(?P<serial>[\d.]+)"
)
_UBUNTU_PRODUCTS = {"server": "server", "minimal": "server-minimal", "pro-server": "pro-server"}
_DEBIAN = re.compile(r"debian-(?P<version>\d+)-(?P<arch>[a-z0-9]+)-(?:daily-)?[\d.-]+")
_AMAZON = {
    "al2023": ("al2023-ami-kernel-default-{arch}",),
    "amzn2": ("amzn2-ami-hvm-{arch}-gp2", "amzn2-ami-kernel-5.10-hvm-{arch}-gp2"),
}
"""Parameter names of Amazon Linux images, by the release under which the catalog has them."""


@dataclass(frozen=True)
class PublicParameter:
    """A public parameter.

    Args:
        name: the full name, with the prefix PUBLIC.
        image_id: the value, an AMI id.
        data_type: "aws:ec2:image", or "text" for Amazon Linux.
        version: the number of images announced under the name so far.
        modified: the creation time of the image in ISO 8601.
    """

    name: str
    image_id: str
    data_type: str
    version: int
    modified: str


def public_parameters(images: Iterable[Image]) -> dict[str, PublicParameter]:
    """Return the public parameters that announce images, by name.

    A name for the newest image resolves to an image that is not deprecated, if there is one.

    Args:
        images: all available images; images without a publisher are ignored.
    """
    announced: defaultdict[str, list[Image]] = defaultdict(list)
    for image in images:
        for name in _names(image):
            announced[name].append(image)
    return {name: _parameter(name, candidates) for name, candidates in sorted(announced.items())}


def _parameter(name: str, candidates: list[Image]) -> PublicParameter:
    now = timestamp()
    newest = max(candidates, key=lambda image: (not _is_deprecated(image, now), image.creation_date))
    data_type = "text" if name.startswith(f"{PUBLIC}ami-amazon-linux-latest/") else "aws:ec2:image"
    return PublicParameter(name, newest.image_id, data_type, len(candidates), newest.creation_date)


def _is_deprecated(image: Image, now: str) -> bool:
    return bool(image.deprecation_time) and image.deprecation_time <= now


def _names(image: Image) -> Iterator[str]:
    if image.owner_id == CANONICAL:
        yield from _ubuntu_names(image.name)
    elif image.owner_id in (DEBIAN_RELEASES, DEBIAN_DAILIES):
        yield from _debian_names(image)
    for name in _AMAZON.get(image.release, ()):
        yield f"{PUBLIC}ami-amazon-linux-latest/{name.format(arch=image.architecture)}"


def _ubuntu_names(name: str) -> Iterator[str]:
    """Yield Ubuntu's names: by code name and version, for "current" and for the serial. Dailies have none."""
    found = _UBUNTU.fullmatch(name)
    if found is None:
        return
    storage = "ebs-gp3" if found["gp3"] else "ebs-gp2"
    for release in (found["release"], found["version"]):
        for serial in ("current", found["serial"]):
            yield (
                f"{PUBLIC}canonical/ubuntu/{_UBUNTU_PRODUCTS[found['product']]}/{release}/stable/{serial}"
                f"/{found['arch']}/hvm/{storage}/ami-id"
            )


def _debian_names(image: Image) -> Iterator[str]:
    """Yield Debian's names: by code name, and for releases also by version."""
    found = _DEBIAN.fullmatch(image.name)
    if found is None:
        return
    code_name = distribution(found["version"]).release
    if image.owner_id == DEBIAN_DAILIES:
        yield f"{PUBLIC}debian/daily/{code_name}/latest/{found['arch']}"
        return
    for release in (code_name, found["version"]):
        yield f"{PUBLIC}debian/release/{release}/latest/{found['arch']}"
