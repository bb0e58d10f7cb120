"""Ubuntu's images: simplestreams, signed indexes of all releases.

The layout: https://cloud-images.ubuntu.com, whose streams lie below releases, daily, minimal/releases, and
minimal/daily. The format: https://git.launchpad.net/simplestreams/tree/doc/README. The products of the index
`com.ubuntu.cloud:released:download` and of its daily twin have the same serials as the AMIs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import DownloadError, ImageNotFoundError
from pycloudlib.local.images.boot_mode import LEGACY_BIOS, UEFI, UEFI_PREFERRED
from pycloudlib.local.images.distributions import MINIMAL, NAMED, Distribution, distribution
from pycloudlib.local.images.sources.published import (
    Checksum,
    PublishedDisk,
    Wanted,
    chosen_serial,
    created_at,
)
from pycloudlib.local.images.sources.signature import Keys, Verification, verify_clearsigned
from pycloudlib.local.images.sources.site import Site
from pycloudlib.local.images.sources.web import Web
from pycloudlib.releases import UBUNTU, UBUNTU_RELEASE_VERSION_MAP

INDEX = "streams/v1/index.sjson"
KEYS = Keys(("/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg",), "ubuntu", "ubuntu-cloudimage-keyring")

DISKS = ("disk1.img", "uefi1.img", "img")
"""The file types of disks with Ubuntu's generic kernel, the preferred one first."""

PULLABLE = ("generic", MINIMAL)
SERIAL = re.compile(r"\d{8}(?:\.\d{1,9})?", re.ASCII)
FIRST_UEFI_PREFERRED = "23.04"
"""The first release whose x86_64 AMIs boot by UEFI where the instance type has it."""


class Ubuntu:
    """Ubuntu's cloud images."""

    name = "ubuntu"
    base = "https://cloud-images.ubuntu.com"

    def releases(self) -> list[str]:
        """Return the code names, newest last."""
        return [*UBUNTU_RELEASE_VERSION_MAP]

    def publishes(self, release: str) -> bool:
        """Return whether a name is a code name or a version number."""
        known = distribution(release).known
        return known is not None and known.distribution == UBUNTU

    def serials(self, web: Web, site: Site, wanted: Wanted) -> list[str]:
        """Return the serials of all builds, newest first."""
        return _serials(self._builds(web, site, wanted)[0])

    def disk(self, web: Web, site: Site, wanted: Wanted) -> PublishedDisk:
        """Return the disk of a build."""
        published = distribution(wanted.release)
        builds, verification = self._builds(web, site, wanted)
        serial = chosen_serial(_serials(builds), wanted)
        try:
            item = _disk_item(builds[serial])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DownloadError(
                f"the index of {site.base} has an invalid description of the {wanted}: use another mirror"
            ) from error
        offers = published.offers_of(serial, image_type=wanted.image_type, architecture=wanted.architecture)
        return PublishedDisk(
            url=f"{_root(site, wanted)}/{item.path}",
            checksum=item.checksum,
            verification=verification,
            serial=serial,
            created=created_at(serial),
            offer=offers[0] if wanted.daily else offers[-1],
            release=published.release,
            username=published.username,
            root_device_name=published.root_device_name,
            architecture=wanted.architecture,
            boot_mode=_boot_mode(published, wanted.architecture),
            size=item.size,
        )

    @staticmethod
    def _builds(web: Web, site: Site, wanted: Wanted) -> tuple[dict[str, Any], Verification]:
        """Return the builds with a disk, by serial, and the verification of their index."""
        published = distribution(wanted.release)
        published.require_type(wanted.image_type)
        if wanted.image_type not in PULLABLE:
            raise ImageNotFoundError(
                wanted.release, message=f"there is no {wanted} to pull: Ubuntu Pro images are on EC2 only"
            )
        root = _root(site, wanted)
        index, _ = _read(web, f"{root}/{INDEX}", site)
        content_id = f"com.ubuntu.cloud:{'daily' if wanted.daily else 'released'}:download"
        try:
            path = _checked_path(index["index"][content_id]["path"])
        except (KeyError, TypeError, ValueError) as error:
            raise DownloadError(f"{root}/{INDEX} does not list {content_id}: use another mirror") from error
        products, verification = _read(web, f"{root}/{path}", site)
        try:
            product = _product(products["products"], published, wanted)
            versions = product.get("versions", {})
            builds = {serial: build for serial, build in versions.items() if SERIAL.fullmatch(serial)}
            return {serial: build for serial, build in builds.items() if _has_disk(build)}, verification
        except (KeyError, TypeError, AttributeError) as error:
            raise DownloadError(f"{root}/{path} is not an index of images: use another mirror") from error


def _root(site: Site, wanted: Wanted) -> str:
    minimal = "/minimal" if wanted.image_type == MINIMAL else ""
    return f"{site.base}{minimal}/{'daily' if wanted.daily else 'releases'}"


def _read(web: Web, url: str, site: Site) -> tuple[Any, Verification]:
    text, verification = verify_clearsigned(web.read(url), url, site, KEYS)
    try:
        return json.loads(text), verification
    except (ValueError, RecursionError) as error:
        raise DownloadError(f"{url} is not JSON: use another mirror") from error


def _product(products: dict[str, Any], published: Distribution, wanted: Wanted) -> dict[str, Any]:
    """Return the product of the image, such as com.ubuntu.cloud:server:24.04:amd64; empty if there is none."""
    kind = "minimal" if wanted.image_type == MINIMAL else "server"
    key = f":{kind}:{published.version}:{NAMED[wanted.architecture]}"
    found: dict[str, Any] = next((product for name, product in products.items() if name.endswith(key)), {})
    return found


def _has_disk(build: dict[str, Any]) -> bool:
    return any(item.get("ftype") in DISKS for item in build["items"].values())


@dataclass(frozen=True)
class _Disk:
    path: str
    checksum: Checksum
    size: int | None


def _disk_item(build: dict[str, Any]) -> _Disk:
    by_type = {item.get("ftype"): item for item in build["items"].values()}
    item: dict[str, Any] = next(by_type[ftype] for ftype in DISKS if ftype in by_type)
    size = item.get("size")
    return _Disk(
        path=_checked_path(item["path"]),
        checksum=Checksum("sha256", item["sha256"].lower()),
        size=None if size is None else int(size),
    )


def _checked_path(path: str) -> str:
    if not re.fullmatch(r"[!-~]+", path):
        raise ValueError(f"{path!r} is not the path of a file")
    return path


def _serials(builds: dict[str, Any]) -> list[str]:
    return sorted(builds, key=lambda serial: [int(part) for part in serial.split(".")], reverse=True)


def _boot_mode(published: Distribution, architecture: str) -> str:
    if architecture == "arm64":
        return UEFI
    return UEFI_PREFERRED if published.version >= FIRST_UEFI_PREFERRED else LEGACY_BIOS
