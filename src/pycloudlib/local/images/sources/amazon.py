"""Amazon Linux 2023's image for KVM: a directory per build, of which only the newest is announced.

The paths: https://docs.aws.amazon.com/linux/al2023/ug/outside-ec2-download.html. The names of its AMIs:
https://docs.aws.amazon.com/linux/al2023/ug/naming-and-versioning.html
"""

from __future__ import annotations

import re
from dataclasses import replace

from pycloudlib.errors import DownloadError, ImageNotFoundError
from pycloudlib.local.images.boot_mode import UEFI, UEFI_PREFERRED
from pycloudlib.local.images.distributions import GENERIC, Offer
from pycloudlib.local.images.sources.checksums import checksum_of, parse_checksums
from pycloudlib.local.images.sources.published import PublishedDisk, Wanted, created_at
from pycloudlib.local.images.sources.signature import UNSIGNED
from pycloudlib.local.images.sources.site import Site
from pycloudlib.local.images.sources.web import Web

RELEASE = "al2023"
OWNER = "137112412989"
LATEST = "latest"
EXAMPLE = "2023.9.20251014.0"
CHECKSUMS = "SHA256SUMS"
DIRECTORIES = {"x86_64": "kvm", "arm64": "kvm-arm64"}
SERIAL = re.compile(r"2023\.\d+\.\d{8}\.\d+")
DISK = re.compile(
    r"al2023-kvm-(?P<serial>2023\.\d+\.(?P<day>\d{8}\.\d+))-(?P<kernel>kernel-[\d.]+)-(?P<arch>x86_64|arm64)\S*\.qcow2"
)
NOT_FOUND = (403, 404)
"""The statuses for a missing file; object stores respond with the first."""


class AmazonLinux:
    """Amazon Linux 2023."""

    name = "amazon"
    base = "https://cdn.amazonlinux.com/al2023/os-images"

    def releases(self) -> list[str]:
        """Return the only release."""
        return [RELEASE]

    def publishes(self, release: str) -> bool:
        """Return whether a name is the only release."""
        return release == RELEASE

    def serials(self, web: Web, site: Site, wanted: Wanted) -> list[str]:
        """Return the serial of the newest build: the server does not list others."""
        return [self._found(web, site, replace(wanted, serial=None))[1]["serial"]]

    def disk(self, web: Web, site: Site, wanted: Wanted) -> PublishedDisk:
        """Return the disk of a build."""
        checksums, found, url = self._found(web, site, wanted)
        # The directory "latest" may change during the download.
        directory = f"{site.base}/{found['serial']}/{DIRECTORIES[wanted.architecture]}"
        ami = f"al2023-ami-{found['serial']}-{found['kernel']}-{found['arch']}"
        return PublishedDisk(
            url=f"{directory}/{found[0]}",
            checksum=checksum_of(found[0], checksums, url),
            verification=UNSIGNED,
            serial=found["serial"],
            created=created_at(found["day"]),
            offer=Offer(ami, OWNER, f"Amazon Linux 2023 AMI {found['serial']} {found['arch']} HVM {found['kernel']}"),
            release=RELEASE,
            username="ec2-user",
            root_device_name="/dev/xvda",
            architecture=wanted.architecture,
            boot_mode=UEFI if wanted.architecture == "arm64" else UEFI_PREFERRED,
        )

    @staticmethod
    def _found(web: Web, site: Site, wanted: Wanted) -> tuple[bytes, re.Match[str], str]:
        """Return the checksum file of a build, the name of the disk in it, and the checksum file's URL."""
        if wanted.daily or wanted.image_type != GENERIC:
            raise ImageNotFoundError(wanted.release, message=f"there is no {wanted} to pull, only a released one")
        if wanted.serial is not None and not SERIAL.fullmatch(wanted.serial):
            raise ImageNotFoundError(
                wanted.release, message=f"there is no {wanted} to pull: give one such as {EXAMPLE}"
            )
        url = f"{site.base}/{wanted.serial or LATEST}/{DIRECTORIES[wanted.architecture]}/{CHECKSUMS}"
        try:
            checksums = web.read(url)
        except DownloadError as error:
            if error.status in NOT_FOUND and wanted.serial:
                raise ImageNotFoundError(wanted.release, message=f"there is no {wanted} to pull: {error}") from error
            raise
        found = next((match for name in parse_checksums(checksums) if (match := DISK.fullmatch(name))), None)
        if found is None:
            raise DownloadError(f"{url} does not list a disk: use another mirror")
        return checksums, found, url
