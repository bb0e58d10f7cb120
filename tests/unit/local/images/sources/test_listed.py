"""Fedora, CentOS Stream, AlmaLinux, Rocky Linux, and Amazon Linux, whose formats these are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pycloudlib.errors import DownloadError, ImageNotFoundError, InvalidArgumentError, VerificationError
from pycloudlib.local.images.catalog import Catalog, Image
from pycloudlib.local.images.distributions import SELF
from pycloudlib.local.images.public_parameters import public_parameters
from pycloudlib.local.images.sources.published import Wanted
from pycloudlib.local.images.sources.pull import SOURCES, Puller, Reporter, source_of
from pycloudlib.local.images.sources.site import Sites
from support.image_server import ImageServer, add_listed, qcow2_disk, raw_disk, xz
from support.signing import Signer

GNU, BSD = "{sha256}  {file}", "SHA256 ({file}) = {sha256}"
RAW = xz(raw_disk())
PUBLISHERS = ("fedora", "centos-stream", "almalinux", "rocky", "opensuse-leap", "amazon")


@pytest.fixture
def qcow2(tmp_path: Path) -> bytes:
    return qcow2_disk(tmp_path, raw_disk())


@pytest.fixture
def puller(server: ImageServer, catalog: Catalog, listener: Reporter) -> Puller:
    return Puller(catalog, Sites(mirrors=dict.fromkeys(PUBLISHERS, server.url)), listener)


def traits(image: Image) -> tuple[str, ...]:
    return image.name, image.owner_id, image.username, image.architecture, image.boot_mode


@pytest.fixture
def fedora(server: ImageServer, signer: Signer) -> str:
    """The path of Fedora's signed checksums."""
    file = "Fedora-Cloud-Base-AmazonEC2-43-1.6.x86_64.raw.xz"
    directory = "/43/Cloud/x86_64/images/"
    add_listed(server, directory, file, RAW, {})
    add_listed(server, directory, "Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2", b"", {})
    lines = f"# {file}: {len(RAW)} bytes\nSHA256 ({file}) = {hashlib.sha256(RAW).hexdigest()}\n"
    path = f"{directory}Fedora-Cloud-43-1.6-x86_64-CHECKSUM"
    server.files[path] = signer.clearsign(lines.encode())
    return path


def test_fedora(puller: Puller, fedora: str, signer: Signer, said: list[str]) -> None:
    puller.sites = Sites(None, puller.sites.mirrors, {"fedora": signer.keyring})
    (image,) = puller.pull([Wanted("Fedora-43")])
    name = "Fedora-Cloud-Base-AmazonEC2.x86_64-43-1.6"
    assert traits(image) == (name, "125523088429", "fedora", "x86_64", "uefi-preferred")
    assert image.disk.read_bytes() == raw_disk()
    assert said[-1] == f"{name} is ready, checksum and signature verified (by keyring.gpg)"


def test_fedora_with_tampered_checksums(server: ImageServer, puller: Puller, fedora: str, signer: Signer) -> None:
    puller.sites = Sites(None, puller.sites.mirrors, {"fedora": signer.keyring})
    server.files[fedora] = server.files[fedora].replace(b"bytes", b"Bytes")
    with pytest.raises(VerificationError, match=r"Fedora-Cloud-43-1\.6-x86_64-CHECKSUM has no valid signature \(BAD"):
        puller.pull([Wanted("fedora-43")])


def test_missing_keyring_is_reported(puller: Puller, fedora: str, said: list[str]) -> None:
    puller.pull([Wanted("fedora-43")])
    assert said[-1].endswith("its publisher's keyring is not installed: name one with PYCLOUDLIB_IMAGE_KEYRING_FEDORA")
    puller.sites = Sites(None, puller.sites.mirrors, {"fedora": Path("/nowhere/keyring")})
    with pytest.raises(VerificationError, match="there is no keyring /nowhere/keyring"):
        puller.pull([Wanted("fedora-43")])


def test_centos_stream(server: ImageServer, puller: Puller) -> None:
    directory = "/9-stream/aarch64/images/"
    for serial in ("20240904.0", "20240923.0"):
        file = f"CentOS-Stream-ec2-9-{serial}.aarch64.raw.xz"
        add_listed(server, directory, file, RAW, {f"{file}.SHA256SUM": f"# {file}\n{BSD}"})
        add_listed(server, directory, f"CentOS-Stream-GenericCloud-9-{serial}.aarch64.qcow2", b"", {})
    wanted = Wanted("centos-stream-9", architecture="arm64")
    assert puller.serials(wanted) == ["20240923.0", "20240904.0"]
    (image,) = puller.pull([wanted])
    assert traits(image) == ("CentOS Stream 9 aarch64 20240923", "125523088429", "ec2-user", "arm64", "uefi")
    assert image.creation_date.startswith("2024-09-23T")


def test_almalinux(server: ImageServer, puller: Puller, signer: Signer, qcow2: bytes, said: list[str]) -> None:
    puller.sites = Sites(None, puller.sites.mirrors, {"almalinux": signer.keyring})
    directory = "/9/cloud/x86_64/images/"
    for serial in ("9.8-20260526", "9.10-20260601"):
        add_listed(server, directory, f"AlmaLinux-9-GenericCloud-{serial}.x86_64.qcow2", qcow2, {"CHECKSUM": GNU})
    server.files[f"{directory}CHECKSUM.asc"] = signer.detached(server.files[f"{directory}CHECKSUM"])
    (image,) = puller.pull([Wanted("almalinux-9")])
    assert traits(image)[:3] == ("AlmaLinux OS 9.10.20260601 x86_64", "764336703387", "almalinux")
    assert said[-1].endswith("checksum and signature verified (by keyring.gpg)")
    server.files[f"{directory}CHECKSUM"] += b"\n"
    with pytest.raises(VerificationError, match="CHECKSUM has no valid signature"):
        puller.pull([Wanted("almalinux-9", serial="9.8-20260526")])


def test_rocky(server: ImageServer, puller: Puller, qcow2: bytes, said: list[str]) -> None:
    file = "Rocky-9-EC2-Base-9.8-20260525.0.x86_64.qcow2"
    add_listed(server, "/9/images/x86_64/", file, qcow2, {f"{file}.CHECKSUM": BSD})
    add_listed(server, "/9/images/x86_64/", "Rocky-9-EC2-Base.latest.x86_64.qcow2", qcow2, {})
    (image,) = puller.pull([Wanted("rocky-9")])
    assert traits(image)[:3] == ("Rocky-9-EC2-Base-9.8-20260525.0.x86_64", "792107900819", "rocky")
    assert said[-1].endswith("only the checksum was verified: the publisher does not sign the checksums")


@pytest.mark.parametrize(
    ("release", "stem"),
    [
        ("opensuse-leap-15.6", "openSUSE-Leap-15.6-Minimal-VM.x86_64-15.6.0-Cloud-Build19.146"),
        ("opensuse-leap-16.0", "Leap-16.0-Minimal-VM.x86_64-Cloud-Build16.2"),
    ],
)
def test_opensuse_leap(server: ImageServer, puller: Puller, qcow2: bytes, release: str, stem: str) -> None:
    directory = f"/{release.removeprefix('opensuse-leap-')}/appliances/"
    add_listed(server, directory, f"{stem}.qcow2", qcow2, {f"{stem}.qcow2.sha256": GNU})
    add_listed(server, directory, f"{stem.replace('Cloud', 'kvm-and-xen')}.qcow2", b"", {})
    (image,) = puller.pull([Wanted(release)])
    assert traits(image)[:3] == (stem, SELF, "opensuse")


def test_amazon_linux(server: ImageServer, puller: Puller, qcow2: bytes) -> None:
    for serial, disk in (("2023.9.20251105.0", qcow2), ("2023.8.20250101.0", raw_disk(mark=b"old"))):
        file = f"al2023-kvm-{serial}-kernel-6.1-x86_64.xfs.gpt.qcow2"
        add_listed(server, f"/{serial}/kvm/", file, disk, {"SHA256SUMS": GNU})
    server.files["/latest/kvm/SHA256SUMS"] = server.files["/2023.9.20251105.0/kvm/SHA256SUMS"]
    assert puller.serials(Wanted("al2023")) == ["2023.9.20251105.0"]
    new, old = puller.pull([Wanted("al2023"), Wanted("al2023", serial="2023.8.20250101.0")])
    name = "al2023-ami-2023.9.20251105.0-kernel-6.1-x86_64"
    assert traits(new) == (name, "137112412989", "ec2-user", "x86_64", "uefi-preferred")
    assert old.creation_date < new.creation_date
    parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    assert public_parameters(puller.catalog.images())[parameter].image_id == new.image_id
    with pytest.raises(ImageNotFoundError, match=r"with serial 2023\.7\.20240101\.0 to pull: .* 404 Not Found"):
        puller.pull([Wanted("al2023", serial="2023.7.20240101.0")])
    before = len(server.requests)
    with pytest.raises(ImageNotFoundError, match=r"with serial \.\./x to pull: give one such as 2023"):
        puller.pull([Wanted("al2023", serial="../x")])
    assert len(server.requests) == before


@pytest.mark.parametrize(
    "release", ["fedora-43", "centos-stream-9", "almalinux-9", "rocky-9", "opensuse-leap-15.6", "al2023"]
)
def test_there_are_only_released_generic_images(puller: Puller, release: str) -> None:
    for wanted in (Wanted(release, daily=True), Wanted(release, image_type="minimal")):
        with pytest.raises(ImageNotFoundError, match=f"there is no {wanted} to pull, only a released"):
            puller.pull([wanted])


def test_an_empty_checksum_file_is_no_list(server: ImageServer, puller: Puller, qcow2: bytes) -> None:
    file = "Rocky-9-EC2-Base-9.8-20260525.0.x86_64.qcow2"
    add_listed(server, "/9/images/x86_64/", file, qcow2, {f"{file}.CHECKSUM": "<html>"})
    with pytest.raises(DownloadError, match="CHECKSUM is not a list of checksums: use another mirror"):
        puller.pull([Wanted("rocky-9")])


def test_every_listed_release_has_its_publisher() -> None:
    for source in SOURCES:
        assert source.releases()
        for release in source.releases():
            assert source_of(release) is source
    assert source_of("Fedora-99").name == "fedora"
    for unknown, advice in (("fedora", "did you mean 'fedora-4"), ("fedora-43/../x", ""), ("?", "list --available")):
        with pytest.raises(InvalidArgumentError, match="unknown release") as raised:
            source_of(unknown)
        assert advice in str(raised.value)
