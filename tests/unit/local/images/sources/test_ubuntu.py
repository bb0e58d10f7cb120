from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.errors import DownloadError, ImageNotFoundError, VerificationError
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.distributions import CANONICAL
from pycloudlib.local.images.public_parameters import public_parameters
from pycloudlib.local.images.sources.published import Wanted
from pycloudlib.local.images.sources.pull import Puller, Reporter
from pycloudlib.local.images.sources.site import Sites
from support.image_server import Fault, ImageServer, add_ubuntu, image_server, qcow2_disk, raw_disk
from support.signing import Signer

INDEX = "/ubuntu/releases/streams/v1/index.sjson"
PRODUCTS = "/ubuntu/releases/streams/v1/com.ubuntu.cloud:released:download.sjson"


@pytest.fixture
def disk(tmp_path: Path) -> bytes:
    return qcow2_disk(tmp_path, raw_disk())


@pytest.fixture
def puller(server: ImageServer, catalog: Catalog, listener: Reporter, signer: Signer) -> Puller:
    return Puller(catalog, Sites(None, {"ubuntu": f"{server.url}/ubuntu"}, {"ubuntu": signer.keyring}), listener)


def test_pull_verifies_and_registers_the_newest_release(
    server: ImageServer, puller: Puller, signer: Signer, disk: bytes, said: list[str]
) -> None:
    for serial in ("20240423.9", "20240423.10", "20240423"):
        add_ubuntu(server, signer.clearsign, serial, disk)
    assert puller.serials(Wanted("noble")) == ["20240423.10", "20240423.9", "20240423"]
    (image,) = puller.pull([Wanted("24.04")])
    assert image.name == "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20240423.10"
    assert (image.owner_id, image.username, image.root_device_name) == (CANONICAL, "ubuntu", "/dev/sda1")
    assert (image.boot_mode, image.format, image.disk.read_bytes()) == ("uefi-preferred", "qcow2", disk)
    assert said[-1] == f"{image.name} is ready, checksum and signature verified (by keyring.gpg)"
    parameter = "/aws/service/canonical/ubuntu/server/noble/stable/current/amd64/hvm/ebs-gp3/ami-id"
    assert public_parameters([image])[parameter].image_id == image.image_id


@pytest.mark.parametrize(
    ("options", "wanted", "name"),
    [
        (
            {"daily": True},
            Wanted("noble", daily=True),
            "ubuntu/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-amd64-server-20240501",
        ),
        (
            {"kind": "minimal"},
            Wanted("noble", image_type="minimal"),
            "ubuntu-minimal/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-minimal-20240501",
        ),
        (
            {"code_name": "jammy", "version": "22.04", "kind": "minimal", "daily": True, "arch": "arm64"},
            Wanted("jammy", daily=True, image_type="minimal", architecture="arm64"),
            "ubuntu-minimal/images-testing/hvm-ssd/ubuntu-jammy-daily-arm64-minimal-20240501",
        ),
    ],
    ids=["daily", "minimal", "minimal-daily-arm64"],
)
def test_pull_takes_every_stream(
    *, server: ImageServer, puller: Puller, signer: Signer, disk: bytes, options: dict, wanted: Wanted, name: str
) -> None:
    add_ubuntu(server, signer.clearsign, "20240501", disk, **options)
    (image,) = puller.pull([wanted])
    assert (image.name, image.architecture) == (name, wanted.architecture)


def test_pull_reads_an_index_once_for_several_images(
    server: ImageServer, puller: Puller, signer: Signer, disk: bytes
) -> None:
    for code_name, version in (("noble", "24.04"), ("jammy", "22.04"), ("focal", "20.04")):
        add_ubuntu(server, signer.clearsign, "20240501", disk, code_name=code_name, version=version)
    images = puller.pull([Wanted(name) for name in ("focal", "noble", "jammy")])
    assert [image.release for image in images] == ["focal", "noble", "jammy"]
    assert (len(server.ranges(INDEX)), len(server.ranges(PRODUCTS))) == (1, 1)


def test_pull_refuses_a_tampered_index(server: ImageServer, puller: Puller, signer: Signer, disk: bytes) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    server.files[PRODUCTS] = server.files[PRODUCTS].replace(b"20240423", b"20240424")
    with pytest.raises(VerificationError) as raised:
        puller.pull([Wanted("noble")])
    assert str(raised.value) == (
        f"{server.url}{PRODUCTS} has no valid signature "
        f'(BAD signature from "Images <images@example.com>") by a key of {puller.sites.keyrings["ubuntu"]}'
    )
    assert puller.catalog.images() == []
    assert not puller.catalog.directory.exists()


def test_pull_refuses_an_index_of_another_key(server: ImageServer, puller: Puller, disk: bytes, tmp_path: Path) -> None:
    other = Signer.generate(tmp_path / "other")
    add_ubuntu(server, other.clearsign, "20240423", disk)
    other.stop()
    with pytest.raises(VerificationError, match=f"^{server.url}{INDEX} has no valid signature .*No public key"):
        puller.pull([Wanted("noble")])


def test_pull_refuses_an_unsigned_index(server: ImageServer, puller: Puller, disk: bytes) -> None:
    add_ubuntu(server, lambda text: text, "20240423", disk)
    with pytest.raises(DownloadError, match="is not a signed file: use another mirror"):
        puller.pull([Wanted("noble")])


def test_pull_uses_only_what_is_signed(server: ImageServer, puller: Puller, signer: Signer, disk: bytes) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    server.files[INDEX] = b"{}\n" + server.files[INDEX]
    with pytest.raises(DownloadError, match="is not a signed file"):
        puller.pull([Wanted("noble")])


def test_pull_takes_an_armored_keyring(
    *, server: ImageServer, catalog: Catalog, signer: Signer, disk: bytes, listener: Reporter, said: list[str]
) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    sites = Sites(None, {"ubuntu": f"{server.url}/ubuntu"}, {"ubuntu": signer.armored_keyring})
    Puller(catalog, sites, listener).pull([Wanted("noble")])
    assert said[-1].endswith("signature verified (by keyring.asc)")


def test_pull_reports_an_unverified_signature(
    *,
    server: ImageServer,
    puller: Puller,
    signer: Signer,
    disk: bytes,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    monkeypatch.setattr("pycloudlib.local.images.sources.signature.find", lambda _: None)
    puller.pull([Wanted("noble")])
    assert "only the checksum was verified: gpgv is not installed: " in said[-1]


def test_pull_refuses_a_disk_that_is_not_the_signed_one(
    server: ImageServer, puller: Puller, signer: Signer, disk: bytes
) -> None:
    path = add_ubuntu(server, signer.clearsign, "20240423", disk)
    server.files[path] = disk[:-1] + b"x"
    with pytest.raises(VerificationError, match=r"noble-server-cloudimg-amd64\.img has the wrong checksum: sha256 "):
        puller.pull([Wanted("noble")])


def test_pull_explains_what_there_is_not(server: ImageServer, puller: Puller, signer: Signer, disk: bytes) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    with pytest.raises(ImageNotFoundError, match="there is no released image of jammy for x86_64 to pull"):
        puller.pull([Wanted("jammy")])
    with pytest.raises(ImageNotFoundError, match="Ubuntu Pro images are on EC2 only"):
        puller.pull([Wanted("noble", image_type="pro")])
    server.files[PRODUCTS] = signer.clearsign(b"[]")
    with pytest.raises(DownloadError, match="is not an index of images: use another mirror"):
        puller.pull([Wanted("noble")])
    server.files[INDEX] = signer.clearsign(b"<html>")
    with pytest.raises(DownloadError, match="is not JSON: use another mirror"):
        puller.pull([Wanted("noble")])


@pytest.mark.parametrize(
    "invalid",
    [
        {"sha256": "x/../../../../outside"},
        {"sha256": None},
        {"path": None},
        {"path": "a name\nof two lines"},
        {"size": "many"},
    ],
    ids=["traversal", "no-sha256", "no-path", "lines", "size"],
)
def test_pull_refuses_an_invalid_description_of_a_disk(
    *, server: ImageServer, puller: Puller, signer: Signer, disk: bytes, invalid: dict
) -> None:
    add_ubuntu(server, signer.clearsign, "20240422", disk)
    (versions,) = (one["versions"] for one in server.products["/ubuntu/releases"].values())
    versions["20240424"] = {"items": {"img": {"ftype": "img", "path": "x", "sha256": "0" * 64, "size": 1} | invalid}}
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    with pytest.raises(DownloadError) as raised:
        puller.pull([Wanted("noble")])
    assert str(raised.value).startswith(
        f"the index of {server.url}/ubuntu has an invalid description of the released image of noble for x86_64"
    )
    assert not puller.catalog.directory.exists()


@pytest.mark.parametrize(
    "serial",
    ["20240424/../../x", "newest", "20240424.\u00b2", f"20240424.{'9' * 5000}"],
    ids=["path", "word", "digit", "huge"],
)
def test_pull_leaves_out_invalid_serials(
    *, server: ImageServer, puller: Puller, signer: Signer, disk: bytes, serial: str
) -> None:
    add_ubuntu(server, signer.clearsign, serial, disk)
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    assert puller.serials(Wanted("noble")) == ["20240423"]


def test_pull_explains_a_serial_without_a_date(
    server: ImageServer, puller: Puller, signer: Signer, disk: bytes
) -> None:
    add_ubuntu(server, signer.clearsign, "20249999", disk)
    with pytest.raises(DownloadError, match="the serial '20249999' does not begin with a date: use another mirror"):
        puller.pull([Wanted("noble")])


def test_pull_explains_an_index_that_is_nested_too_deeply(
    server: ImageServer, puller: Puller, signer: Signer, disk: bytes
) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    server.files[INDEX] = signer.clearsign(b"[" * 100_000)
    with pytest.raises(DownloadError, match="is not JSON: use another mirror"):
        puller.pull([Wanted("noble")])


def test_pull_finds_a_build_among_ten_thousand(
    server: ImageServer, puller: Puller, signer: Signer, disk: bytes
) -> None:
    plain: list[bytes] = []
    for number in range(1, 10_001):
        # The builds share one document, which is signed once all are in it.
        if number == 1:
            add_ubuntu(server, plain.append, "20200101.1", disk)  # type: ignore[arg-type]
            (versions,) = (one["versions"] for one in server.products["/ubuntu/releases"].values())
        versions[f"20200101.{number}"] = versions["20200101.1"]
    add_ubuntu(server, signer.clearsign, "20200101.0", disk)
    assert len(puller.serials(Wanted("noble"))) == 10_001
    (image,) = puller.pull([Wanted("noble")])
    assert image.name.endswith("-20200101.10000")
    (old,) = puller.pull([Wanted("noble", serial="20200101.7")])
    assert old.disk.samefile(image.disk)
    assert old.creation_date < image.creation_date


def test_pull_follows_a_redirect_of_the_index(server: ImageServer, puller: Puller, signer: Signer, disk: bytes) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    with image_server() as other:
        other.files = dict(server.files)
        for path in (INDEX, PRODUCTS):
            server.faults[path] = Fault(location=f"{other.url}{path}")
        assert len(puller.pull([Wanted("noble")])) == 1


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (Fault(status=404), f"{INDEX}: 404 Not Found"),
        (Fault(cut_after=20), f"{INDEX} was cut off"),
        (Fault(location="https://127.0.0.1:1/index.sjson"), "Connection refused"),
    ],
    ids=["404", "cut", "redirect"],
)
def test_pull_explains_an_index_that_cannot_be_read(
    *, server: ImageServer, puller: Puller, signer: Signer, disk: bytes, fault: Fault, complaint: str
) -> None:
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    server.faults[INDEX] = fault
    with pytest.raises(DownloadError) as raised:
        puller.pull([Wanted("noble")])
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)
