"""`pycloudlib local image pull`, `prune`, and `list --available`, against a server of the test's own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.local import paths
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.prerequisites import find
from support.command_line import CommandLine
from support.image_server import Fault, ImageServer, add_debian, image_server, raw_disk
from support.small_disk import small_disk

pytestmark = pytest.mark.skipif(find("qemu-img") is None, reason="needs qemu-img to look at disks")

PULL = ("local", "image", "pull")
NAME = "debian-12-amd64-20241004-1890"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    with image_server() as server:
        monkeypatch.setenv("PYCLOUDLIB_IMAGE_MIRROR_DEBIAN", f"{server.url}/debian")
        yield server


@pytest.fixture
def path(server: ImageServer) -> str:
    return add_debian(server, "20241004-1890", raw_disk())


def test_a_pulled_image_is_listed(cli: CommandLine, path: str) -> None:
    done = cli.run(*PULL, "bookworm")
    image_id, name = done.stdout.split()
    assert name == NAME
    assert done.stderr.splitlines()[0].startswith("downloading http://127.0.0.1:")
    assert done.stderr.splitlines()[-1].startswith(f"{NAME} is ready, only the checksum was verified: ")
    rows = json.loads(cli.run("local", "image", "list", "--json").stdout)
    assert [(row["image_id"], row["name"], row["owner_id"]) for row in rows] == [(image_id, name, "136693071363")]
    assert json.loads(cli.run(*PULL, "12", "--json").stdout) == rows


def test_what_can_be_pulled_is_listed(cli: CommandLine, path: str) -> None:
    names = cli.run("local", "image", "list", "--available").stdout.splitlines()
    assert "debian\tbookworm" in names
    assert cli.run("local", "image", "list", "--available", "12").stdout == "12\t20241004-1890\n"
    daily = cli.run("local", "image", "list", "--available", "12", "--daily", "--json")
    assert json.loads(daily.stdout) == []
    assert cli.run("local", "image", "list", "--json").stdout == "[]\n"
    assert cli.run("local", "image", "list", "12").returncode == 2


def test_several_images_are_pulled_at_once(cli: CommandLine, server: ImageServer, path: str) -> None:
    add_debian(server, "20250101-1", raw_disk(mark=b"trixie"), code_name="trixie", version="13")
    done = cli.run(*PULL, "trixie", "bookworm")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["debian-13-amd64-20250101-1", NAME]


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["bokworm"], 2, "unknown release 'bokworm'; did you mean 'bookworm'?"),
        (["bookworm", "--image-type", "minimal"], 2, "bookworm has no minimal images; allowed: generic"),
        (["bookworm", "--daily"], 3, "there is no daily image of bookworm for x86_64 to pull"),
        (["bookworm", "--mirror", "file:///srv"], 1, "file:///srv/bookworm/ is not the URL of an HTTP server"),
    ],
)
def test_a_wrong_pull_is_refused_in_one_line(
    cli: CommandLine, path: str, arguments: list[str], status: int, complaint: str
) -> None:
    assert cli.complaint(*PULL, *arguments, status=status).startswith(complaint)
    assert not (paths.images_dir() / ".content").exists()


def test_the_settings_name_mirrors(cli: CommandLine, server: ImageServer, path: str) -> None:
    settings = cli.home / "settings.toml"
    settings.write_text('[local.images]\nmirrors = { debian = "http://127.0.0.1:1/" }\n')
    # The environment takes precedence, and the argument over both.
    assert cli.run(*PULL, "bookworm", "--config", str(settings)).returncode == 0
    mirror = ("--mirror", f"{server.url}/nothing")
    assert cli.complaint(*PULL, "bookworm", *mirror, status=3).startswith("there is no released image of bookworm")
    del os.environ["PYCLOUDLIB_IMAGE_MIRROR_DEBIAN"]
    complaint = cli.complaint(*PULL, "bookworm", "--config", str(settings))
    assert complaint.startswith("cannot reach http://127.0.0.1:1/bookworm/: Connection refused (the mirror of debian")
    settings.write_text('[local.images]\nmirror = "x"\n')
    assert cli.complaint(*PULL, "bookworm", "--config", str(settings)) == (
        "[local.images] mirror: unknown key; allowed: proxy, mirrors, keyrings"
    )


def test_full_disk_is_reported_in_one_line(
    cli: CommandLine, server: ImageServer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files[path] = os.urandom(2**20)
    with small_disk(cli.home / "small", "512k") as small:
        monkeypatch.setenv("XDG_DATA_HOME", str(small))
        done = cli.run(*PULL, "bookworm")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"pycloudlib: no space left on the disk: free some in {small}")
        assert [*(paths.images_dir() / ".content").iterdir()] == []


def test_a_disk_without_room_to_unpack_keeps_the_verified_download(
    cli: CommandLine, server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add_debian(server, "20241004-1890", b"\x55\xaa".rjust(512, b"\0") * 4096)
    with small_disk(cli.home / "small", "512k") as small:
        monkeypatch.setenv("XDG_DATA_HOME", str(small))
        done = cli.run(*PULL, "bookworm")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("pycloudlib: no space left on the disk: free some in ")
        (content,) = (paths.images_dir() / ".content").iterdir()
        assert [file.name for file in content.iterdir()] == ["download"]
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        assert cli.run(*PULL, "bookworm").returncode == 0
        assert len(server.ranges(path)) == 1


def test_an_interrupted_pull_ends_at_once_and_continues(process: CommandLine, server: ImageServer) -> None:
    path = add_debian(server, "20241004-1890", raw_disk()[:512] + os.urandom(2**22))
    server.faults[path] = Fault(hold_after=2**21)
    with process.start(*PULL, "bookworm") as pull:
        assert pull.stderr is not None
        assert "downloading" in pull.stderr.readline()
        assert server.holds.wait(60)
        pull.send_signal(signal.SIGINT)
        # The server still holds the rest back.
        _, stderr = pull.communicate(timeout=20)
    server.release.set()
    assert (pull.returncode, stderr.splitlines()[-1]) == (130, "pycloudlib: interrupted")
    server.faults.clear()
    assert process.run(*PULL, "bookworm").returncode == 0
    assert server.ranges(path)[-1].startswith("bytes=")


def test_prune_removes_replaced_images_and_remains(cli: CommandLine, server: ImageServer, path: str) -> None:
    add_debian(server, "20250101-1", raw_disk(mark=b"newer"))
    cli.run(*PULL, "bookworm", "--serial", "20241004-1890")
    cli.run(*PULL, "bookworm")
    assert cli.run("local", "image", "prune", "--keep", "2").stdout.splitlines() == ["Freed 0 MiB."]
    replaced = Catalog(paths.images_dir()).find(NAME)
    entry = os.open(replaced.disk.parent, os.O_RDONLY)
    fcntl.flock(entry, fcntl.LOCK_SH)
    assert cli.run("local", "image", "prune").stderr == f"{NAME} is in use.\n"
    os.close(entry)
    pruned = json.loads(cli.run("local", "image", "prune", "--json").stdout)
    assert (pruned["removed"], pruned["in_use"]) == ([NAME], [])
    assert pruned["freed_bytes"] > 0
    (newest,) = Catalog(paths.images_dir()).images()
    assert newest.name == "debian-12-amd64-20250101-1"
    assert len([*Path(paths.images_dir() / ".content").iterdir()]) == 1


def test_remove_frees_the_room_of_a_disk_that_no_other_image_has(cli: CommandLine, server: ImageServer) -> None:
    for daily in (True, False):
        add_debian(server, "20241004-1890", raw_disk(), daily=daily)
    cli.run(*PULL, "bookworm")
    cli.run(*PULL, "bookworm", "--daily")
    content = paths.images_dir() / ".content"
    assert len([*content.iterdir()]) == 1
    assert cli.run("local", "image", "remove", NAME).returncode == 0
    assert len([*content.iterdir()]) == 1
    assert cli.run("local", "image", "remove", "debian-12-amd64-daily-20241004-1890").returncode == 0
    assert [*content.iterdir()] == []


def test_a_mirror_of_an_unknown_publisher_is_refused(
    cli: CommandLine, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCLOUDLIB_IMAGE_MIRROR_DEBAIN", "http://127.0.0.1:1/")
    complaint = cli.complaint(*PULL, "bookworm", status=2)
    assert complaint.startswith("unknown publisher 'debain' of images; allowed: debian, ubuntu, fedora, ")
