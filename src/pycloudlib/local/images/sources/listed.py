"""Images in a directory of an HTTP server, each with its checksum.

The publishers, with the sources of their servers' layouts, are at the end: Fedora, CentOS Stream, AlmaLinux, Rocky
Linux, and openSUSE Leap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError
from pycloudlib.local.images.boot_mode import LEGACY_BIOS, UEFI, UEFI_PREFERRED
from pycloudlib.local.images.distributions import GENERIC, SELF, Offer
from pycloudlib.local.images.sources.checksums import checksum_of, parse_listing
from pycloudlib.local.images.sources.published import (
    PublishedDisk,
    Wanted,
    chosen_serial,
    created_at,
)
from pycloudlib.local.images.sources.signature import (
    UNSIGNED,
    Keys,
    Verification,
    verify_clearsigned,
    verify_detached,
)
from pycloudlib.local.images.sources.site import Site
from pycloudlib.local.images.sources.web import Web

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""The architectures' names in these distributions."""


@dataclass(frozen=True)
class Listed:
    """A publisher whose server lists a directory of images for each release.

    The templates have the fields {version}, {arch}, {file}, {stem}, which is the file without its suffix, {serial},
    {day}, and {dotted}, which is the serial with a dot for a hyphen.

    Args:
        name: the publisher's name.
        base: the URL of its server.
        prefix: the prefix of its release names, before the version number.
        versions: the listed versions, newest last; other versions are also accepted.
        directory: the template of the directory, with a slash at the end.
        file: the template of a regular expression for the disks, with the group `serial`.
        checksums: the template of the file with the checksum.
        ami: the template of the AMI's name.
        owner_id: the account that owns the AMIs.
        username: the login user of the disks.
        root_device_name: the AMIs' root device; default "/dev/sda1".
        boot_mode: the boot mode of x86_64 AMIs; default "legacy-bios".
        keys: the keyring of the signature of the file with the checksum; its paths are templates, too. None if the
            file is not signed (default).
        signature: the template of the file with the signature; empty if the checksum file contains it (default).
    """

    name: str
    base: str
    prefix: str
    versions: tuple[str, ...]
    directory: str
    file: str
    checksums: str
    ami: str
    owner_id: str
    username: str
    root_device_name: str = "/dev/sda1"
    boot_mode: str = LEGACY_BIOS
    keys: Keys | None = None
    signature: str = ""

    def releases(self) -> list[str]:
        """Return the names of the releases, newest last."""
        return [f"{self.prefix}{version}" for version in self.versions]

    def publishes(self, release: str) -> bool:
        """Return whether a name is a release of this publisher."""
        return re.fullmatch(rf"{re.escape(self.prefix)}[\d.]+", release) is not None

    def serials(self, web: Web, site: Site, wanted: Wanted) -> list[str]:
        """Return the serials of all builds, newest first."""
        return sorted(self._files(web, site, wanted), key=_order, reverse=True)

    def disk(self, web: Web, site: Site, wanted: Wanted) -> PublishedDisk:
        """Return the disk of a build."""
        files = self._files(web, site, wanted)
        serial = chosen_serial(sorted(files, key=_order, reverse=True), wanted)
        day = re.search(r"\d{8}", serial)
        fields = {
            **self._fields(wanted),
            "file": files[serial],
            "stem": files[serial].removesuffix(".qcow2"),
            "serial": serial,
            "day": day[0] if day else "",
            "dotted": serial.replace("-", "."),
        }
        directory = self._directory(site, wanted)
        url = f"{directory}{self.checksums.format(**fields)}"
        checksums, verification = self._verified(web, site, url, fields)
        ami = self.ami.format(**fields)
        return PublishedDisk(
            url=f"{directory}{files[serial]}",
            checksum=checksum_of(files[serial], checksums, url),
            verification=verification,
            serial=serial,
            created=created_at(serial[day.start() :]) if day else datetime.now(timezone.utc),
            offer=Offer(ami, self.owner_id, f"{ami}, pulled from {self.name}"),
            release=wanted.release,
            username=self.username,
            root_device_name=self.root_device_name,
            architecture=wanted.architecture,
            boot_mode=UEFI if wanted.architecture == "arm64" else self.boot_mode,
        )

    def _verified(self, web: Web, site: Site, url: str, fields: Mapping[str, str]) -> tuple[bytes, Verification]:
        """Return the content of the checksum file, and its verification."""
        checksums = web.read(url)
        if self.keys is None:
            return checksums, UNSIGNED
        keys = replace(self.keys, paths=[path.format(**fields) for path in self.keys.paths])
        if not self.signature:
            return verify_clearsigned(checksums, url, site, keys)
        signature = web.read(f"{url.rpartition('/')[0]}/{self.signature.format(**fields)}")
        return checksums, verify_detached(checksums, signature, url, site, keys)

    def _files(self, web: Web, site: Site, wanted: Wanted) -> dict[str, str]:
        """Return the file names of all disks, by serial."""
        if wanted.daily or wanted.image_type != GENERIC:
            plain = replace(wanted, daily=False, image_type=GENERIC)
            raise ImageNotFoundError(wanted.release, message=f"there is no {wanted} to pull, only a {plain}")
        pattern = re.compile(self.file.format(**{key: re.escape(value) for key, value in self._fields(wanted).items()}))
        names = parse_listing(web.read(self._directory(site, wanted)))
        return {found["serial"]: name for name in names if (found := pattern.fullmatch(name))}

    def _directory(self, site: Site, wanted: Wanted) -> str:
        return f"{site.base}/{self.directory.format(**self._fields(wanted))}"

    def _fields(self, wanted: Wanted) -> dict[str, str]:
        if wanted.architecture not in ARCHITECTURES:
            raise InvalidArgumentError(f"unknown architecture {wanted.architecture!r}; allowed: x86_64, arm64")
        return {"version": wanted.release.removeprefix(self.prefix), "arch": ARCHITECTURES[wanted.architecture]}


def _order(serial: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", serial)]


FEDORA = Listed(
    name="fedora",
    # The paths: https://fedoraproject.org/cloud/download, https://fedoraproject.org/security
    base="https://dl.fedoraproject.org/pub/fedora/linux/releases",
    prefix="fedora-",
    versions=("41", "42", "43", "44"),
    directory="{version}/Cloud/{arch}/images/",
    # Fedora 40 had the architecture before the version.
    file=r"Fedora-Cloud-Base-AmazonEC2(?:\.{arch})?-{version}-(?P<serial>[\d.]+?)(?:\.{arch})?\.raw\.xz",
    checksums="Fedora-Cloud-{version}-{serial}-{arch}-CHECKSUM",
    # The accounts: https://fedoraproject.org/cloud/download, whose AMIs are called so since Fedora 40
    ami="Fedora-Cloud-Base-AmazonEC2.{arch}-{version}-{serial}",
    owner_id="125523088429",
    username="fedora",
    # https://fedoraproject.org/wiki/Changes/CloudEC2UEFIPreferred
    boot_mode=UEFI_PREFERRED,
    keys=Keys(
        (
            "/usr/share/distribution-gpg-keys/fedora/RPM-GPG-KEY-fedora-{version}-primary",
            "/etc/pki/rpm-gpg/RPM-GPG-KEY-fedora-{version}-primary",
        ),
        "fedora",
    ),
)

CENTOS_STREAM = Listed(
    name="centos-stream",
    # The paths: https://cloud.centos.org/centos/9-stream/x86_64/images/
    base="https://cloud.centos.org/centos",
    prefix="centos-stream-",
    versions=("9", "10"),
    directory="{version}-stream/{arch}/images/",
    file=r"CentOS-Stream-ec2-{version}-(?P<serial>\d{{8}}\.\d+)\.{arch}\.(?:raw\.xz|qcow2)",
    checksums="{file}.SHA256SUM",
    # The account and the names: https://www.centos.org/download/aws-images/
    ami="CentOS Stream {version} {arch} {day}",
    owner_id="125523088429",
    username="ec2-user",
)

ALMALINUX = Listed(
    name="almalinux",
    # The paths and the keys: https://wiki.almalinux.org/cloud/Generic-cloud.html
    base="https://repo.almalinux.org/almalinux",
    prefix="almalinux-",
    versions=("8", "9", "10"),
    directory="{version}/cloud/{arch}/images/",
    file=r"AlmaLinux-{version}-GenericCloud-(?P<serial>\d+\.\d+-\d{{8}}(?:\.\d+)?)\.{arch}\.qcow2",
    checksums="CHECKSUM",
    # The account and the names: https://wiki.almalinux.org/cloud/AWS.html
    ami="AlmaLinux OS {dotted} {arch}",
    owner_id="764336703387",
    # There is no download of the AMI's own disk, whose user is ec2-user.
    username="almalinux",
    keys=Keys(
        (
            "/usr/share/distribution-gpg-keys/alma/RPM-GPG-KEY-AlmaLinux-{version}",
            "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-{version}",
        ),
        "almalinux",
    ),
    signature="CHECKSUM.asc",
)

ROCKY = Listed(
    name="rocky",
    # The paths: https://rockylinux.org/download, https://dl.rockylinux.org/pub/rocky/9/images/x86_64/
    base="https://dl.rockylinux.org/pub/rocky",
    prefix="rocky-",
    versions=("8", "9", "10"),
    directory="{version}/images/{arch}/",
    file=r"Rocky-{version}-EC2-Base-(?P<serial>\d+\.\d+-\d{{8}}\.\d+)\.{arch}\.qcow2",
    checksums="{file}.CHECKSUM",
    # The account and the names: https://rockylinux.org/download, "Cloud images, AWS"
    ami="Rocky-{version}-EC2-Base-{serial}.{arch}",
    owner_id="792107900819",
    username="rocky",
)

OPENSUSE_LEAP = Listed(
    name="opensuse-leap",
    # The paths: https://get.opensuse.org/leap, "Minimal VM, Cloud"; since Leap 16 without "openSUSE-"
    base="https://download.opensuse.org/distribution/leap",
    prefix="opensuse-leap-",
    versions=("15.6", "16.0"),
    directory="{version}/appliances/",
    file=r"(?:openSUSE-)?Leap-{version}-Minimal-VM\.{arch}-(?:[\d.]+-)?Cloud-Build(?P<serial>[\d.]+)\.qcow2",
    checksums="{file}.sha256",
    # The AMIs are built for the Marketplace, and have other serials.
    ami="{stem}",
    owner_id=SELF,
    # https://github.com/osism/openstack-image-manager/blob/main/etc/images/opensuse.yml
    username="opensuse",
)
