"""`--pull` of `launch`, `validate`, and `local start`: images are pulled when they are needed. Nothing boots here."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pycloudlib.key import KeyPair
from pycloudlib.local import paths
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.prerequisites import find
from support.command_line import PROGRESS, CommandLine
from support.image_server import ImageServer, add_debian, add_listed, image_server, raw_disk

pytestmark = pytest.mark.skipif(
    find("qemu-system-x86_64") is None or find("qemu-img") is None, reason="needs QEMU for a local EC2"
)

# EC2 refuses the launch, once the image is there.
REFUSED = ("--type", "t9.micro")


@pytest.fixture(autouse=True)
def _server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    with image_server() as server:
        monkeypatch.setenv("PYCLOUDLIB_IMAGE_MIRROR_DEBIAN", f"{server.url}/debian")
        monkeypatch.setenv("PYCLOUDLIB_IMAGE_MIRROR_ROCKY", f"{server.url}/rocky")
        add_listed(server, "/rocky/9/images/x86_64/", ROCKY, raw_disk(), {f"{ROCKY}.CHECKSUM": "{sha256}  {file}"})
        for daily in (True, False):
            add_debian(server, "20241004-1890", raw_disk(), daily=daily)
        yield server


ROCKY = "Rocky-9-EC2-Base-9.8-20260525.0.x86_64.qcow2"


def names() -> list[str]:
    return [image.name for image in Catalog(paths.images_dir()).images()]


def last_line(stderr: str) -> str:
    return [line for line in stderr.splitlines() if not PROGRESS.search(line)][-1]


def test_launch_pulls_a_missing_image_only_if_it_may(cli: CommandLine) -> None:
    assert cli.run("local", "start").returncode == 0
    complaint = cli.complaint("launch", "bookworm", "--local", *REFUSED, status=3)
    assert complaint.startswith("no image in us-east-1 matches: ")
    assert complaint.endswith("; add --pull, or run `pycloudlib local image pull bookworm`")
    daily = cli.complaint("launch", "bookworm", "--local", "--daily", "--arch", "arm64", status=3)
    assert daily.endswith("`pycloudlib local image pull bookworm --daily --arch arm64`")
    assert names() == []
    key = KeyPair.generate(cli.home / "key").public_key_path
    done = cli.run("launch", "12", "--local", "--pull", "--key", str(key), *REFUSED)
    assert "t9.micro" in last_line(done.stderr)
    assert names() == ["debian-12-amd64-20241004-1890"]
    # Now it is found without its publisher.
    assert "downloading" not in cli.run("launch", "12", "--local", "--pull", "--key", str(key), *REFUSED).stderr


def test_launch_pulls_images_that_have_no_release_on_ec2(cli: CommandLine) -> None:
    assert cli.run("local", "start").returncode == 0
    complaint = cli.complaint("launch", "rocky-9", "--local", *REFUSED, status=3)
    command = "`pycloudlib local image pull rocky-9`"
    assert complaint == f"the local EC2 has no image of rocky-9; add --pull, or run {command}"
    key = KeyPair.generate(cli.home / "key").public_key_path
    launch = ("launch", "rocky-9", "--local", "--pull", "--key", str(key), *REFUSED)
    assert "t9.micro" in last_line(cli.run(*launch).stderr)
    assert "downloading" not in cli.run(*launch).stderr
    (image,) = json.loads(cli.run("images", "--local", "--owner", "792107900819", "--json").stdout)
    assert (image["name"], image["tags"]) == (ROCKY.removesuffix(".qcow2"), {"pycloudlib:username": "rocky"})


def test_validate_pulls_the_daily_build(cli: CommandLine) -> None:
    done = cli.run("validate", "bookworm", "--local", "--pull", *REFUSED)
    assert "t9.micro" in last_line(done.stderr)
    assert names() == ["debian-12-amd64-daily-20241004-1890"]


def test_start_pulls_before_it_starts(cli: CommandLine) -> None:
    complaint = cli.complaint("local", "start", "--pull", "bokworm", status=2)
    assert complaint == "unknown release 'bokworm'; did you mean 'bookworm'?"
    assert cli.run("local", "status").returncode == 1
    done = cli.run("local", "start", "--pull", "bookworm", "--json")
    assert done.returncode == 0, done.stderr
    assert names() == ["debian-12-amd64-20241004-1890"]


def test_pull_is_for_the_local_ec2(cli: CommandLine) -> None:
    for command in ("launch", "validate", "timeline"):
        done = cli.run(command, "noble", "--pull")
        assert done.returncode == 2
        assert "--pull requires --local" in done.stderr
