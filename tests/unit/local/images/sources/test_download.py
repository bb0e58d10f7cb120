from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.errors import DownloadError, LocalEC2Error, VerificationError
from pycloudlib.local.images.sources.download import download
from pycloudlib.local.images.sources.published import Checksum
from pycloudlib.local.images.sources.web import Web
from support.image_server import MIB, Fault, ImageServer, image_server
from support.small_disk import small_disk

CONTENT = random.Random(1).randbytes(3_000_000)
CHECKSUM = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())
PATH = "/disk.img"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "disk.img"


def fetch(server: ImageServer, path: Path, name: str = PATH) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    download(Web(), f"{server.url}{name}", path, CHECKSUM, lambda done, total: seen.append((done, total)))
    return seen


@pytest.fixture
def server(server: ImageServer) -> ImageServer:
    server.files[PATH] = CONTENT
    return server


def gives_up(after: int) -> Fault:
    """The connection is cut, and the next attempt brings nothing."""
    return Fault(cut_after=after, times=1, then=Fault(cut_after=0))


def cut(server: ImageServer, path: Path, after: int) -> None:
    """Leave a part of a file, as a cut does."""
    server.faults[PATH] = gives_up(after)
    with pytest.raises(DownloadError):
        fetch(server, path)
    server.faults.clear()
    server.requests.clear()


def test_download_reports_its_progress(server: ImageServer, path: Path) -> None:
    seen = fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert seen == sorted(seen, key=lambda one: one[0])
    assert [*path.parent.iterdir()] == [path]


def test_download_continues_after_a_cut(server: ImageServer, path: Path) -> None:
    server.faults[PATH] = Fault(cut_after=1_000_000, times=2)
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges(PATH) == ["", "bytes=1000000-", "bytes=2000000-"]


def test_download_continues_after_half_a_range(server: ImageServer, path: Path) -> None:
    cut(server, path, 1_000_000)
    server.faults[PATH] = Fault(half_ranges=True, times=2)
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges(PATH) == ["bytes=1000000-", "bytes=2000000-", "bytes=2500000-"]


def test_download_continues_in_the_next_process(server: ImageServer, path: Path) -> None:
    cut(server, path, 2_000_000)
    assert path.stat().st_size == 2_000_000
    assert fetch(server, path)[0] == (2_000_000, len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_interrupted_download_explains_how_to_continue(server: ImageServer, path: Path) -> None:
    server.faults[PATH] = gives_up(1_000_000)
    with pytest.raises(DownloadError) as raised:
        fetch(server, path)
    assert str(raised.value) == (
        f"{server.url}{PATH} was cut off after 1000000 of 3000000 bytes (the server sent too little): "
        "repeat the command to continue"
    )


@pytest.mark.parametrize("fault", [Fault(no_ranges=True), Fault(shifted_ranges=True)], ids=["no", "shifted"])
def test_download_starts_over_without_the_right_range(server: ImageServer, path: Path, fault: Fault) -> None:
    cut(server, path, 1_000_000)
    server.faults[PATH] = fault
    fetch(server, path)
    assert path.read_bytes() == CONTENT


def test_download_starts_over_if_the_file_was_replaced(server: ImageServer, path: Path) -> None:
    server.files[PATH] = CONTENT[::-1]
    cut(server, path, 1_000_000)
    server.files[PATH] = CONTENT
    # The validator of the first response no longer holds, so the server sends the whole file.
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges(PATH) == ["bytes=1000000-"]


def test_download_starts_over_if_the_part_is_wrong(server: ImageServer, path: Path) -> None:
    path.write_bytes(b"x" * 1000)
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges(PATH) == ["bytes=1000-", ""]


def test_download_starts_over_if_the_part_is_too_long(server: ImageServer, path: Path) -> None:
    path.write_bytes(CONTENT + b"x")
    server.faults[PATH] = Fault(status=416, times=1)
    fetch(server, path)
    assert path.read_bytes() == CONTENT


def test_a_complete_part_is_not_downloaded_again(server: ImageServer, path: Path) -> None:
    path.write_bytes(CONTENT)
    fetch(server, path)
    assert server.requests == []


def test_a_wrong_checksum_removes_the_file(server: ImageServer, path: Path) -> None:
    server.files[PATH] = CONTENT + b"x"
    with pytest.raises(VerificationError, match=f"has the wrong checksum: sha256 .* instead of {CHECKSUM.hexdigest}"):
        fetch(server, path)
    assert [*path.parent.iterdir()] == []


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503])
def test_a_refused_download_leaves_nothing(server: ImageServer, path: Path, status: int) -> None:
    server.faults[PATH] = Fault(status=status)
    with pytest.raises(DownloadError, match=f"^{server.url}{PATH}: {status} ") as raised:
        fetch(server, path)
    assert raised.value.status == status
    assert [*path.parent.iterdir()] == []


def test_an_unreachable_server_is_named(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(DownloadError, match=f"^cannot download {url}/disk.img: Connection refused$"):
        fetch(ImageServer(url), path)
    assert [*path.parent.iterdir()] == []


@pytest.fixture
def other() -> Iterator[ImageServer]:
    with image_server() as other:
        other.files["/elsewhere"] = CONTENT
        yield other


def test_download_follows_a_redirect_also_when_it_continues(
    server: ImageServer, other: ImageServer, path: Path
) -> None:
    server.faults[PATH] = Fault(location=f"{other.url}/elsewhere")
    other.faults["/elsewhere"] = Fault(cut_after=1_000_000, times=1)
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert other.ranges("/elsewhere") == ["", "bytes=1000000-"]


@pytest.mark.parametrize("url", ["http://a name/", "http://two\nlines/", "http://[::1/", f"http://{'a' * 70}./"])
def test_invalid_url_is_reported_in_one_line(url: str) -> None:
    with pytest.raises(DownloadError, match="is not a URL") as raised:
        Web().read(url)
    assert "\n" not in str(raised.value)


def test_a_redirect_to_a_file_is_refused(server: ImageServer, path: Path) -> None:
    server.faults[PATH] = Fault(location="ftp://127.0.0.1/disk.img")
    with pytest.raises(DownloadError, match="redirects to ftp://127"):
        fetch(server, path)


def test_redirect_loop_is_reported_in_one_line(server: ImageServer, path: Path) -> None:
    server.faults[PATH] = Fault(location=f"{server.url}{PATH}")
    with pytest.raises(DownloadError, match=r"^[^\n]*: 302 The HTTP server returned a redirect error[^\n]*$"):
        fetch(server, path)


def test_a_silent_server_cuts_the_download(server: ImageServer, path: Path) -> None:
    server.faults[PATH] = Fault(hold_after=2 * MIB, times=1, then=Fault(cut_after=0))
    try:
        with pytest.raises(DownloadError, match="was cut off after 2097152 of 3000000 bytes"):
            download(Web(timeout=0.5), f"{server.url}{PATH}", path, CHECKSUM, lambda *_: None)
    finally:
        server.release.set()


def test_a_full_disk_leaves_nothing(server: ImageServer, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "1m") as small:
        with pytest.raises(LocalEC2Error) as raised:
            fetch(server, small / "disk.img")
        assert str(raised.value) == f"no space left on the disk: free some in {small}, then try again"
        assert [*small.iterdir()] == []


def test_a_proxy_is_used_for_every_request(other: ImageServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    # A proxy is asked for the whole URL.
    other.files["http://images.example/disk.img"] = CONTENT
    web = Web(proxy=other.url)
    download(web, "http://images.example/disk.img", path, CHECKSUM, lambda *_: None)
    assert path.read_bytes() == CONTENT
    assert [seen for seen, _ in other.requests] == ["http://images.example/disk.img"]
    # A proxy cannot reach this computer's loopback.
    assert web.read(f"{other.url}/elsewhere") == CONTENT
    assert other.requests[-1][0] == "/elsewhere"
