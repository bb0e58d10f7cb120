from __future__ import annotations

import pytest

from pycloudlib.errors import DownloadError, ImageNotFoundError, InvalidArgumentError, VerificationError
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.distributions import DEBIAN_DAILIES, DEBIAN_RELEASES
from pycloudlib.local.images.public_parameters import public_parameters
from pycloudlib.local.images.sources.published import Wanted
from pycloudlib.local.images.sources.pull import Puller, Reporter
from pycloudlib.local.images.sources.site import Sites
from support.image_server import ImageServer, add_debian, raw_disk

OLD, NEW = raw_disk(mark=b"old"), raw_disk(mark=b"new")


@pytest.fixture
def puller(server: ImageServer, catalog: Catalog, listener: Reporter) -> Puller:
    return Puller(catalog, Sites(mirrors={"debian": f"{server.url}/debian/"}), listener)


def test_pull_registers_the_newest_release(server: ImageServer, puller: Puller, said: list[str]) -> None:
    # Sorted as text, the older build would be the newer one.
    add_debian(server, "20241004-890", OLD)
    add_debian(server, "20241004-1890", NEW)
    (image,) = puller.pull([Wanted("bookworm")])
    assert (image.name, image.owner_id) == ("debian-12-amd64-20241004-1890", DEBIAN_RELEASES)
    assert (image.username, image.root_device_name, image.architecture) == ("admin", "/dev/xvda", "x86_64")
    assert (image.boot_mode, image.source, image.release) == ("uefi-preferred", "pulled", "bookworm")
    assert image.creation_date.startswith("2024-10-04T")
    assert image.disk.read_bytes() == NEW
    assert (
        said[-1] == f"{image.name} is ready, only the checksum was verified: the publisher does not sign the checksums"
    )


def test_pull_takes_an_older_serial(server: ImageServer, puller: Puller) -> None:
    add_debian(server, "20241004-890", OLD)
    add_debian(server, "20241004-1890", NEW)
    old, new = puller.pull([Wanted("12", serial="20241004-890"), Wanted("12")])
    assert old.disk.read_bytes() == OLD
    assert puller.catalog.images()[0].disk == new.disk
    parameter = public_parameters(puller.catalog.images())["/aws/service/debian/release/12/latest/amd64"]
    assert parameter.image_id == new.image_id


def test_pull_takes_dailies_and_arm64(server: ImageServer, puller: Puller) -> None:
    add_debian(server, "20250101-1", OLD, code_name="trixie", version="13", daily=True, arch="arm64")
    (image,) = puller.pull([Wanted("trixie", daily=True, architecture="arm64")])
    assert (image.name, image.owner_id) == ("debian-13-arm64-daily-20250101-1", DEBIAN_DAILIES)
    assert (image.architecture, image.boot_mode) == ("arm64", "uefi")
    assert puller.serials(Wanted("trixie", daily=True)) == ["20250101-1"]


def test_pull_is_a_no_op_for_a_registered_image(server: ImageServer, puller: Puller, said: list[str]) -> None:
    path = add_debian(server, "20241004-1890", NEW)
    first = puller.pull([Wanted("bookworm")])
    assert puller.pull([Wanted("12")]) == first
    assert len(server.ranges(path)) == 1
    assert said[-1] == "debian-12-amd64-20241004-1890 exists already"


def test_pull_downloads_a_shared_content_once(server: ImageServer, puller: Puller) -> None:
    paths = [add_debian(server, "20241004-1890", NEW, daily=daily) for daily in (True, False)]
    daily, released = puller.pull([Wanted("bookworm", daily=True), Wanted("bookworm")])
    assert daily.disk.samefile(released.disk)
    assert sum(len(server.ranges(path)) for path in paths) == 1


def test_pull_explains_a_missing_build(server: ImageServer, puller: Puller) -> None:
    add_debian(server, "20241004-1890", NEW)
    with pytest.raises(ImageNotFoundError) as raised:
        puller.pull([Wanted("bookworm", serial="20200101-1")])
    assert str(raised.value) == (
        "there is no released image of bookworm for x86_64 with serial 20200101-1 to pull; "
        "the newest serials are 20241004-1890"
    )
    with pytest.raises(DownloadError, match="SHA512SUMS does not list debian-12-ec2-arm64-20241004-1890"):
        puller.pull([Wanted("bookworm", architecture="arm64")])
    with pytest.raises(InvalidArgumentError, match="bookworm has no minimal images"):
        puller.pull([Wanted("bookworm", image_type="minimal")])
    assert puller.catalog.images() == []


def test_pull_of_a_wrong_checksum_leaves_nothing(server: ImageServer, puller: Puller) -> None:
    path = add_debian(server, "20241004-1890", NEW)
    server.files[path] += b"x"
    with pytest.raises(VerificationError, match="has the wrong checksum: sha512 "):
        puller.pull([Wanted("bookworm")])
    assert [*puller.catalog.directory.rglob("*")] == [puller.catalog.directory / ".content"]


def test_pull_names_the_setting_of_an_incomplete_mirror(server: ImageServer, puller: Puller) -> None:
    with pytest.raises(ImageNotFoundError, match="there is no released image of bookworm for x86_64 to pull"):
        puller.pull([Wanted("bookworm")])
    path = add_debian(server, "20241004-1890", NEW)
    del server.files[path]
    with pytest.raises(DownloadError) as raised:
        puller.pull([Wanted("bookworm")])
    assert str(raised.value) == (
        f"{server.url}{path}: 404 Not Found (the mirror of debian: see PYCLOUDLIB_IMAGE_MIRROR_DEBIAN)"
    )
    assert raised.value.status == 404


def test_pull_replaces_a_damaged_disk_of_the_store(server: ImageServer, puller: Puller) -> None:
    add_debian(server, "20241004-1890", NEW)
    (image,) = puller.pull([Wanted("bookworm")])
    image.disk.write_bytes(b"")
    (image.disk.parent / "image.json").unlink()
    (again,) = puller.pull([Wanted("bookworm")])
    assert again.disk.read_bytes() == NEW


def test_pull_ignores_names_that_no_file_can_have(server: ImageServer, puller: Puller) -> None:
    path = add_debian(server, "20241004-1890", NEW)
    server.files[f"/debian/bookworm/20241004-{'9' * 5000}/x"] = b""
    checksums = f"{path.rpartition('/')[0]}/SHA512SUMS"
    # A pattern without a limit takes minutes for the blanks.
    server.files[checksums] = b"0" * 64 + b"  x" + b" " * 1_000_000 + b"y\n" + server.files[checksums]
    (image,) = puller.pull([Wanted("bookworm")])
    assert image.name == "debian-12-amd64-20241004-1890"
