"""Pulled images at the EC2 API: the lookups of EC2 find them under the names and numbers of their AMIs."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from pycloudlib import EC2
from pycloudlib.cloud import ImageType
from pycloudlib.local import LocalEC2, paths
from pycloudlib.local.images.builder import VARIANTS
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.prerequisites import find
from pycloudlib.releases import find_release
from support.image_server import ImageServer, add_debian, add_ubuntu, qcow2_disk, raw_disk
from support.signing import Signer

pytestmark = pytest.mark.skipif(find("qemu-system-x86_64") is None, reason="needs QEMU for a local EC2")


@pytest.fixture
def local(server: ImageServer, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEC2]:
    for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("PYCLOUDLIB_IMAGE_MIRROR_DEBIAN", f"{server.url}/debian")
    monkeypatch.setenv("PYCLOUDLIB_IMAGE_MIRROR_UBUNTU", f"{server.url}/ubuntu")
    monkeypatch.setenv("PYCLOUDLIB_IMAGE_KEYRING_UBUNTU", str(signer.keyring))
    with LocalEC2() as local:
        yield local


def test_lookups_find_pulled_images(
    local: LocalEC2, server: ImageServer, signer: Signer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = qcow2_disk(tmp_path, raw_disk())
    for daily in (True, False):
        add_debian(server, "20241004-1890", raw_disk(), daily=daily, arch="arm64")
    add_ubuntu(server, signer.clearsign, "20240423.1", disk)
    add_ubuntu(server, signer.clearsign, "20240423", disk)
    add_ubuntu(server, signer.clearsign, "20240501", disk, daily=True, kind="minimal")
    caplog.set_level(logging.INFO, "pycloudlib.progress")
    newest = local.pull_image("noble")
    lines = [record.getMessage() for record in caplog.records if record.name == "pycloudlib.progress"]
    assert lines[0].startswith("downloading http://127.0.0.1:")
    assert lines[1] == "noble: 100 % of 0 MiB"
    assert lines[2].endswith("-20240423.1 is ready, checksum and signature verified (by keyring.gpg)")
    older = local.pull_image("24.04", serial="20240423")
    minimal = local.pull_image("noble", daily=True, image_type="minimal")
    debian = {daily: local.pull_image("bookworm", daily=daily, arch="arm64") for daily in (True, False)}

    with EC2("lookups", config_file=io.StringIO(local.info.settings_toml())) as ec2:
        assert ec2.released_image("noble") == newest
        assert ec2.daily_image("noble", image_type=ImageType.MINIMAL) == minimal
        assert ec2.daily_image("bookworm", arch="arm64") == debian[True]
        assert ec2.released_image("bookworm", arch="arm64") == debian[False]
        assert [ec2.image_serial(one) for one in (newest, older, debian[False])] == [
            "20240423.1",
            "20240423",
            "20241004-1890",
        ]
        found = ec2.images(owner="099720109477", name="ubuntu/images/*-server-*")
        assert [image.id for image in found] == [older, newest]
        (record,) = ec2.client.describe_images(ImageIds=[newest])["Images"]
        assert (record["BootMode"], record["Architecture"], record["Public"]) == ("uefi-preferred", "x86_64", True)
    ssm = boto3.client(
        "ssm",
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
    )
    parameter = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
    assert ssm.get_parameter(Name=parameter)["Parameter"]["Value"] == newest
    older_name = parameter.replace("current", "20240423")
    assert ssm.get_parameter(Name=older_name)["Parameter"]["Value"] == older
    latest = "/aws/service/debian/release/12/latest/arm64"
    assert ssm.get_parameter(Name=latest)["Parameter"]["Value"] == debian[False]


def test_named_images_have_the_login_user_of_their_release(local: LocalEC2, tmp_path: Path) -> None:
    catalog = Catalog(paths.images_dir())
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"\xeb" + raw_disk()[1:])
    named = catalog.add(disk, release="bookworm", name="my-debian")
    of_its_own = catalog.add(disk, release="alpine")
    with EC2("named", config_file=io.StringIO(local.info.settings_toml())) as ec2:
        assert ec2.image(named.image_id).tags == {"pycloudlib:username": "admin"}
        assert ec2.image(of_its_own.image_id).tags == {}


def test_buildable_releases_are_those_of_the_builder() -> None:
    assert LocalEC2.buildable_releases() == tuple(VARIANTS)
    assert all(find_release(release).code_name == release for release in LocalEC2.buildable_releases())
