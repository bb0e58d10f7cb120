from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pycloudlib.cloud import ImageType
from pycloudlib.ec2.images.queries import release_query
from pycloudlib.errors import ImageError, InvalidArgumentError, LocalEC2Error
from pycloudlib.local.images.catalog import Catalog, Image, timestamp
from pycloudlib.local.images.distributions import CANONICAL, DEBIAN_DAILIES, DEBIAN_RELEASES, SELF, distribution
from pycloudlib.local.prerequisites import find

pytestmark = pytest.mark.skipif(find("qemu-img") is None, reason="needs qemu-img to look at disks")

MIB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "my.img"
    path.write_bytes(b"\xeb" * 440 + b"\0" * 70 + b"\x55\xaa")
    os.truncate(path, MIB)
    return path


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "images")


def by_owner(catalogue: Catalog) -> dict[str, Image]:
    return {image.owner_id: image for image in catalogue.images()}


def leftovers(catalogue: Catalog) -> list[str]:
    return [path.name for path in catalogue.directory.glob(".partial-*")]


def test_a_catalogue_without_a_directory_is_empty(catalogue: Catalog) -> None:
    assert catalogue.images() == []


def test_an_added_disk_is_copied_and_described(catalogue: Catalog, disk: Path) -> None:
    image = catalogue.add(disk, release="my-image")
    assert image.disk.read_bytes() == disk.read_bytes()
    assert image.disk != disk
    assert (image.format, image.virtual_size, image.source, image.architecture) == ("raw", MIB, "added", "x86_64")
    assert (image.kernel, image.initrd, image.kernel_arguments) == (None, None, "")
    assert datetime.fromisoformat(image.creation_date.replace("Z", "+00:00")).tzinfo == timezone.utc
    assert leftovers(catalogue) == []


def efi_disk(path: Path) -> Path:
    """A disk whose only loader is in an EFI system partition."""
    entry = bytes(4) + b"\xef" + bytes(11)
    path.write_bytes(bytes(446) + entry + bytes(48) + b"\x55\xaa")
    os.truncate(path, MIB)
    return path


def test_a_disk_for_arm64_boots_by_uefi_under_the_names_of_arm64(
    catalogue: Catalog, disk: Path, tmp_path: Path
) -> None:
    image = catalogue.add(efi_disk(tmp_path / "efi.img"), release="bookworm", architecture="arm64")
    assert (image.architecture, image.boot_mode) == ("arm64", "uefi")
    assert image.name.startswith("debian-12-arm64-daily-20")
    with_kernel = catalogue.add(disk, release="bookworm", architecture="arm64", kernel=disk)
    assert (with_kernel.architecture, with_kernel.boot_mode) == ("arm64", "uefi")
    with pytest.raises(ImageError, match=r"my\.img has no EFI system partition, by which arm64 boots"):
        catalogue.add(disk, release="bookworm", architecture="arm64")


def test_an_unknown_architecture_is_refused_with_the_known(catalogue: Catalog, disk: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="unknown architecture 'riscv64'; allowed: x86_64, arm64"):
        catalogue.add(disk, release="bookworm", architecture="riscv64")


def test_images_of_one_second_are_ordered_by_milliseconds(catalogue: Catalog, disk: Path) -> None:
    names = [catalogue.add(disk, release="my-image", name=name).name for name in ("b", "c", "a")]
    assert [image.name for image in catalogue.images()] == names[::-1]


@pytest.mark.parametrize("release", ["my-noble", "fedora", "x", "debian-sid"])
def test_release_of_ones_own_needs_no_name(catalogue: Catalog, disk: Path, release: str) -> None:
    assert catalogue.add(disk, release=release).name == release


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone.utc), "2026-02-03T04:05:06.000Z"),
        (datetime(2026, 2, 3, 4, 5, 6, 7_999, tzinfo=timezone.utc), "2026-02-03T04:05:06.007Z"),
    ],
)
def test_timestamp_has_milliseconds(moment: datetime, text: str) -> None:
    assert timestamp(moment) == text


@pytest.mark.parametrize("release", ["bookworm", "12", "Bookworm"])
def test_one_debian_disk_is_offered_as_a_daily_and_as_a_release(catalogue: Catalog, disk: Path, release: str) -> None:
    catalogue.add(disk, release=release)
    images = by_owner(catalogue)
    daily, released = images[DEBIAN_DAILIES], images[DEBIAN_RELEASES]
    assert daily.name.startswith("debian-12-amd64-daily-20")
    assert released.name.startswith("debian-12-amd64-20")
    assert daily.disk == released.disk
    assert daily.image_id != released.image_id
    assert (daily.username, daily.root_device_name, daily.release) == ("admin", "/dev/xvda", "bookworm")


@pytest.mark.parametrize(
    ("release", "daily", "released"),
    [
        (
            "noble",
            "ubuntu/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-amd64-server-20",
            "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20",
        ),
        (
            "22.04",
            "ubuntu/images-testing/hvm-ssd/ubuntu-jammy-daily-amd64-server-20",
            "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20",
        ),
    ],
)
def test_an_ubuntu_disk_is_offered_under_canonicals_names(
    catalogue: Catalog, disk: Path, release: str, daily: str, released: str
) -> None:
    image = catalogue.add(disk, release=release)
    names = sorted((image.name for image in catalogue.images()), reverse=True)
    assert names[0].startswith(released)
    assert names[1].startswith(daily)
    assert {image.owner_id for image in catalogue.images()} == {CANONICAL}
    assert (image.username, image.root_device_name) == ("ubuntu", "/dev/sda1")


@pytest.mark.parametrize(
    ("image_type", "names"),
    [
        (
            ImageType.MINIMAL,
            [
                "ubuntu-minimal/images-testing/hvm-ssd/ubuntu-focal-daily-",
                "ubuntu-minimal/images/hvm-ssd/ubuntu-focal-",
            ],
        ),
        (ImageType.PRO, ["ubuntu-pro-server/images/hvm-ssd/ubuntu-focal-20.04-"]),
        (ImageType.PRO_FIPS, ["ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-20.04-"]),
        (ImageType.PRO_FIPS_UPDATES, ["ubuntu-pro-fips-updates-server/images/hvm-ssd/ubuntu-focal-20.04-"]),
    ],
)
def test_add_offers_a_disk_as_the_given_image_type(
    catalogue: Catalog, disk: Path, image_type: ImageType, names: list[str]
) -> None:
    name = image_type.value.lower().replace(" ", "-")
    assert catalogue.add(disk, release="focal", image_type=name) in catalogue.images()
    offered = sorted(image.name for image in catalogue.images())
    assert [name[: len(beginning)] for name, beginning in zip(offered, names, strict=True)] == names
    for query in [release_query("focal", daily=daily, image_type=image_type) for daily in (True, False)]:
        assert any(fnmatch(name, query.filters["name"]) for name in offered)


@pytest.mark.parametrize(("release", "image_type"), [("bookworm", "minimal"), ("plucky", "pro"), ("focal", "tiny")])
def test_add_refuses_an_image_type_that_is_not_published(
    catalogue: Catalog, disk: Path, release: str, image_type: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{release} has no {image_type} images; allowed: generic"):
        catalogue.add(disk, release=release, image_type=image_type)
    assert leftovers(catalogue) == []


def test_add_refuses_a_name_beside_an_image_type(catalogue: Catalog, disk: Path) -> None:
    with pytest.raises(ImageError, match="omit the type"):
        catalogue.add(disk, release="noble", name="candidate", image_type="pro")


def test_a_disk_of_the_users_own_is_offered_under_its_name(catalogue: Catalog, disk: Path) -> None:
    image = catalogue.add(disk, release="alpine-3.20", username="alpine")
    assert (image.name, image.owner_id, image.username) == ("alpine-3.20", SELF, "alpine")
    assert [image] == catalogue.images()


def test_a_name_replaces_those_of_the_distribution(catalogue: Catalog, disk: Path) -> None:
    image = catalogue.add(disk, release="noble", name="candidate 1")
    assert (image.name, image.owner_id, image.release) == ("candidate 1", SELF, "noble")
    assert len(catalogue.images()) == 1


def test_a_name_that_is_taken_is_refused_and_leaves_nothing(catalogue: Catalog, disk: Path) -> None:
    catalogue.add(disk, release="noble", name="candidate")
    with pytest.raises(ImageError, match="'candidate' already"):
        catalogue.add(disk, release="noble", name="candidate")
    assert len(catalogue.images()) == 1
    assert leftovers(catalogue) == []


def test_two_disks_of_one_day_have_names_of_their_own(catalogue: Catalog, disk: Path) -> None:
    for _ in range(3):
        catalogue.add(disk, release="noble")
    assert len({image.name for image in catalogue.images()}) == 6
    assert len({image.image_id for image in catalogue.images()}) == 6


def test_image_ids_look_like_ec2s_and_stay_the_same(catalogue: Catalog, disk: Path) -> None:
    image = catalogue.add(disk, release="bookworm")
    prefix, digits = image.image_id.split("-")
    assert prefix == "ami"
    assert len(digits) == 17
    assert int(digits, 16) >= 0
    assert Catalog(catalogue.directory).find(image.name).image_id == image.image_id


def test_a_kernel_is_kept_beside_the_disk(catalogue: Catalog, disk: Path, tmp_path: Path) -> None:
    for name in ("kernel", "ramdisk"):
        (tmp_path / name).write_text(name)
    image = catalogue.add(
        disk, release="x", kernel=tmp_path / "kernel", initrd=tmp_path / "ramdisk", kernel_arguments="root=/dev/vda"
    )
    assert image.kernel is not None
    assert image.initrd is not None
    assert image.kernel.read_text() == "kernel"
    assert image.initrd.read_text() == "ramdisk"
    assert image.kernel_arguments == "root=/dev/vda"


def test_a_missing_kernel_is_named_and_leaves_nothing(catalogue: Catalog, disk: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"kernel: No such file"):
        catalogue.add(disk, release="x", kernel=tmp_path / "kernel")
    assert catalogue.images() == []
    assert leftovers(catalogue) == []


def test_an_overlay_is_added_with_all_that_is_below_it(catalogue: Catalog, disk: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    subprocess.run(
        [str(find("qemu-img")), "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(disk), str(overlay)], check=True
    )
    image = catalogue.add(overlay, release="x")
    disk.unlink()
    assert image.format == "qcow2"
    subprocess.run([str(find("qemu-img")), "check", "-q", str(image.disk)], check=True)


def test_what_is_no_disk_is_refused_before_anything_is_made(catalogue: Catalog, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ImageError, match=r"is not a (usable )?disk image"):
        catalogue.add(tmp_path / "text", release="x")
    assert not catalogue.directory.exists()


@pytest.mark.parametrize("attribute", ["image_id", "name"])
def test_removing_takes_every_ami_of_the_disk(catalogue: Catalog, disk: Path, attribute: str) -> None:
    kept = catalogue.add(disk, release="kept")
    removed = catalogue.add(disk, release="bookworm")
    catalogue.remove(getattr(removed, attribute))
    assert catalogue.images() == [kept]
    assert not removed.disk.exists()
    assert leftovers(catalogue) == []


def test_an_unknown_image_is_not_found_and_not_removed(catalogue: Catalog, disk: Path) -> None:
    catalogue.add(disk, release="x")
    with pytest.raises(ImageError, match="no image 'ami-0'"):
        catalogue.find("ami-0")
    with pytest.raises(ImageError, match="no image 'ami-0'"):
        catalogue.remove("ami-0")
    assert len(catalogue.images()) == 1


def test_the_newest_is_listed_first(catalogue: Catalog, disk: Path) -> None:
    old, new = (catalogue.add(disk, release=release) for release in ("bookworm", "trixie"))
    description = old.disk.parent / "image.json"
    described = json.loads(description.read_text())
    description.write_text(json.dumps(described | {"created": "2020-01-01T00:00:00.000Z"}))
    assert [image.release for image in catalogue.images()] == ["trixie", "trixie", "bookworm", "bookworm"]
    assert catalogue.images()[0] == new


def test_an_entry_may_be_a_link_and_has_one_path_then(catalogue: Catalog, disk: Path, tmp_path: Path) -> None:
    image = catalogue.add(disk, release="x")
    some = tmp_path / "some"
    some.mkdir()
    (some / image.disk.parent.name).symlink_to(image.disk.parent)
    assert Catalog(some).images() == [image]


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}", '{"offers": [{"name": "x"}]}', '{"offers": [], "new": 1}'])
def test_a_broken_entry_is_logged_and_left_out(
    catalogue: Catalog, disk: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = catalogue.add(disk, release="good")
    bad = catalogue.add(disk, release="bad")
    (bad.disk.parent / "image.json").write_text(broken)
    with caplog.at_level(logging.WARNING):
        assert catalogue.images() == [good]
    assert str(bad.disk.parent) in caplog.text


@pytest.mark.parametrize("wrong", [{"disk": None}, {"created": 5}, {"kernel": ["x"]}, {"virtual_size": "1"}])
def test_an_entry_with_a_wrong_type_is_left_out(
    catalogue: Catalog, disk: Path, wrong: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    good = catalogue.add(disk, release="good")
    description = catalogue.add(disk, release="bad").disk.parent / "image.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | wrong))
    assert catalogue.images() == [good]
    assert f"{next(iter(wrong))} is not " in caplog.text


def test_an_entry_without_its_disk_is_left_out(
    catalogue: Catalog, disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue.add(disk, release="x").disk.unlink()
    assert catalogue.images() == []
    assert "disk.raw is missing" in caplog.text


def test_threads_that_add_at_once_all_succeed(catalogue: Catalog, disk: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: catalogue.add(disk, release="bookworm"), range(8)))
    assert len({image.name for image in added}) == 8
    assert len(catalogue.images()) == 16
    assert leftovers(catalogue) == []


def test_full_disk_is_reported_in_one_line(catalogue: Catalog) -> None:
    with pytest.raises(LocalEC2Error, match="No space left on device"), catalogue.new_entry():
        Path("/dev/full").write_text("x")
    assert leftovers(catalogue) == []


def test_uncreatable_directory_is_reported(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalEC2Error, match="cannot write to"):
        Catalog(tmp_path / "file" / "images").add(disk, release="x")


HALF_AN_ENTRY = """
import sys
from pathlib import Path
from pycloudlib.local.images.catalog import Catalog
with Catalog(Path(sys.argv[1])).new_entry() as partial:
    (partial / "disk.raw").write_text("half")
    print(partial.name, flush=True)
    sys.stdin.read()
"""


def start_half_an_entry(catalogue: Catalog) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HALF_AN_ENTRY, str(catalogue.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminated_process_leaves_no_files(catalogue: Catalog, number: signal.Signals) -> None:
    process, partial = start_half_an_entry(catalogue)
    with process:
        assert leftovers(catalogue) == [partial]
        process.send_signal(number)
        assert process.wait(60) != 0
    assert leftovers(catalogue) == []


def test_what_a_killed_process_left_is_removed_by_the_next(catalogue: Catalog, disk: Path) -> None:
    process, partial = start_half_an_entry(catalogue)
    with process:
        process.kill()
    assert leftovers(catalogue) == [partial]
    catalogue.add(disk, release="x")
    assert leftovers(catalogue) == []


def test_what_a_running_process_is_making_is_left_alone(catalogue: Catalog, disk: Path) -> None:
    process, partial = start_half_an_entry(catalogue)
    with process:
        catalogue.add(disk, release="x")
        assert leftovers(catalogue) == [partial]


def test_a_sigterm_handler_is_put_back(catalogue: Catalog, disk: Path) -> None:
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    catalogue.add(disk, release="x")
    assert signal.getsignal(signal.SIGTERM) == before


def test_offers_of_another_time_have_other_serials() -> None:
    bookworm = distribution("bookworm")
    first = bookworm.offers(datetime(2025, 1, 2, 3, 4, tzinfo=timezone.utc))
    assert [offer.name for offer in first] == ["debian-12-amd64-daily-20250102-0304", "debian-12-amd64-20250102-0304"]
    again = bookworm.offers(datetime(2025, 1, 2, 3, 4, tzinfo=timezone.utc), repeat=1)
    assert again[0].name == "debian-12-amd64-daily-20250102-0304.1"
