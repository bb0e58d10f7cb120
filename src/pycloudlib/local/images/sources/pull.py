"""Pull images: find the build, download and verify its disk, and register it under its AMI's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from pycloudlib.errors import DownloadError, InvalidArgumentError
from pycloudlib.local import qemu_img
from pycloudlib.local.images.catalog import PULLED, Catalog, Entry, Image, timestamp
from pycloudlib.local.images.sources.amazon import AmazonLinux
from pycloudlib.local.images.sources.content import Content, ContentStore, share
from pycloudlib.local.images.sources.debian import Debian
from pycloudlib.local.images.sources.download import Watch, download
from pycloudlib.local.images.sources.listed import ALMALINUX, CENTOS_STREAM, FEDORA, OPENSUSE_LEAP, ROCKY
from pycloudlib.local.images.sources.published import PublishedDisk, Source, Wanted
from pycloudlib.local.images.sources.site import Sites, sites_of_environment, variable_of
from pycloudlib.local.images.sources.ubuntu import Ubuntu
from pycloudlib.local.images.sources.unpack import make_disk
from pycloudlib.local.images.sources.web import Web
from pycloudlib.releases import UBUNTU_RELEASE_VERSION_MAP

AT_ONCE = 4
"""The number of concurrent downloads."""

TENTHS = 10
MIB = 2**20

SOURCES: tuple[Source, ...] = (
    Debian(),
    Ubuntu(),
    FEDORA,
    CENTOS_STREAM,
    ALMALINUX,
    ROCKY,
    OPENSUSE_LEAP,
    AmazonLinux(),
)


class Reporter:
    """Receives the progress of pulls, from several threads. The base class ignores it."""

    def say(self, line: str) -> None:
        """Report a step in one line."""

    def watch(self, wanted: Wanted, done: int, total: int | None) -> None:
        """Report the progress of a download.

        Args:
            wanted: the image.
            done: the number of received bytes.
            total: the size of the download in bytes; None if unknown.
        """


class LineReporter(Reporter):
    """Writes a line for each step, and for each tenth of a download.

    Args:
        write: writes a line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._reported_tenths: dict[Wanted, int] = {}

    def say(self, line: str) -> None:
        """Write a line for a step."""
        self._write(line)

    def watch(self, wanted: Wanted, done: int, total: int | None) -> None:
        """Write a line if the download has reached another tenth."""
        if not total:
            return
        tenths = done * TENTHS // total
        if tenths > self._reported_tenths.setdefault(wanted, tenths):
            self._reported_tenths[wanted] = tenths
            self._write(f"{wanted.release}: {tenths * 100 // TENTHS} % of {total / MIB:.0f} MiB")


@dataclass
class Puller:
    """Pulls images into a catalog.

    Args:
        catalog: the catalog.
        sites: the mirrors, keyrings, and proxy; default those of the environment.
        reporter: receives the progress; default none.
    """

    catalog: Catalog
    sites: Sites = field(default_factory=sites_of_environment)
    reporter: Reporter = field(default_factory=Reporter)

    def __post_init__(self) -> None:
        known = [source.name for source in SOURCES]
        for name in (*self.sites.mirrors, *self.sites.keyrings):
            if name not in known:
                raise InvalidArgumentError(f"unknown publisher {name!r} of images; allowed: {', '.join(known)}")
        self._store = ContentStore(self.catalog.directory)

    def pull(self, wanted: Sequence[Wanted]) -> list[Image]:
        """Pull images concurrently. No-op for images in the catalog.

        Args:
            wanted: the images.

        Returns:
            The images, in the order of `wanted`.

        Raises:
            ImageNotFoundError: there is no such image.
            DownloadError: an index or a disk cannot be downloaded.
            VerificationError: a signature or a checksum is wrong.
            LocalEC2Error: the disk is full.
        """
        for image in wanted:
            source_of(image.release)
        wanted = [_normalized(image) for image in wanted]
        web = Web(proxy=self.sites.proxy)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull") as threads:
            pulls = [threads.submit(self._pull, web, image) for image in wanted]
            try:
                for future in as_completed(pulls):
                    future.result()
            except BaseException:
                web.stop()
                threads.shutdown(wait=True, cancel_futures=True)
                raise
        return [future.result() for future in pulls]

    def serials(self, wanted: Wanted) -> list[str]:
        """Return the serials of an image's builds, newest first."""
        wanted = _normalized(wanted)
        source = source_of(wanted.release)
        return source.serials(Web(proxy=self.sites.proxy), self.sites.of(source.name, source.base), wanted)

    def _pull(self, web: Web, wanted: Wanted) -> Image:
        source = source_of(wanted.release)
        try:
            disk = source.disk(web, self.sites.of(source.name, source.base), wanted)
            return self._registered(disk) or self._pulled(web, wanted, disk)
        except DownloadError as error:
            if source.name in self.sites.mirrors:
                raise DownloadError(
                    f"{error} (the mirror of {source.name}: see {variable_of(source.name)})", status=error.status
                ) from error
            raise

    def _registered(self, disk: PublishedDisk) -> Image | None:
        for image in self.catalog.images():
            if (image.name, image.owner_id) == (disk.offer.name, disk.offer.owner_id):
                self.reporter.say(f"{image.name} exists already")
                return image
        return None

    def _pulled(self, web: Web, wanted: Wanted, disk: PublishedDisk) -> Image:
        def on_wait() -> None:
            self.reporter.say(f"waiting for another pull of {disk.offer.name}")

        with self._store.locked(disk.checksum, on_wait, web.check_stopped) as content:
            content.remove_damaged_disk()
            if content.disk is None:
                self._fetch(web, wanted, disk, content)
            return self._registered(disk) or self._register(disk, content)

    def _fetch(self, web: Web, wanted: Wanted, disk: PublishedDisk, content: Content) -> None:
        if not content.download.exists():
            if disk.size is not None:
                qemu_img.ensure_space(content.directory, disk.size)
            self.reporter.say(f"downloading {disk.url}")
            watch: Watch = lambda done, total: self.reporter.watch(wanted, done, total)  # noqa: E731
            download(web, disk.url, content.partial, disk.checksum, watch)
            content.partial.rename(content.download)
        make_disk(content, _file_name(disk.url), web.check_stopped)

    def _register(self, disk: PublishedDisk, content: Content) -> Image:
        stored = content.disk
        assert stored is not None  # noqa: S101  (the caller has fetched it)
        info = qemu_img.inspect(stored)
        with self.catalog.new_entry() as partial:
            share(stored, partial / stored.name)
            entry = Entry(
                release=disk.release,
                created=timestamp(disk.created),
                disk=stored.name,
                format=info.format,
                virtual_size=info.virtual_size,
                kernel="",
                initrd="",
                kernel_arguments="",
                root_device_name=disk.root_device_name,
                username=disk.username,
                source=PULLED,
                architecture=disk.architecture,
                boot_mode=disk.boot_mode,
                origin=disk.url,
                offers=(disk.offer,),
            )
            image = self.catalog.commit(partial, entry)
        self.reporter.say(f"{image.name} is ready, {_verification(disk)}")
        return image


def source_of(release: str) -> Source:
    """Return the publisher of a release.

    Raises:
        InvalidArgumentError: the release is unknown.
    """
    for source in SOURCES:
        if source.publishes(release.strip().lower()):
            return source
    names = [name for source in SOURCES for name in source.releases()]
    nearest = get_close_matches(release.strip().lower(), [*names, *UBUNTU_RELEASE_VERSION_MAP.values()], n=1)
    advice = f"did you mean {nearest[0]!r}?" if nearest else "`pycloudlib local image list --available` shows all"
    raise InvalidArgumentError(f"unknown release {release!r}; {advice}")


def _normalized(wanted: Wanted) -> Wanted:
    return replace(wanted, release=wanted.release.strip().lower())


def _file_name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _verification(disk: PublishedDisk) -> str:
    if disk.verification.signed_by:
        return f"checksum and signature verified (by {disk.verification.signed_by})"
    return f"only the checksum was verified: {disk.verification.reason}"
