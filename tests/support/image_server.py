"""An HTTP server of disk images, in the formats of the distributions, which fails as a test wants it to."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.http_endpoint import QuietHandler, serving

MIB = 2**20


@dataclass
class Fault:
    """What goes wrong with the responses for a path.

    Args:
        status: responds with this status instead, and no content; default 0: none.
        location: redirects there.
        cut_after: closes the connection after so many bytes of the content; default -1: never.
        hold_after: stops sending after so many bytes, until the test sets `release`; default -1: never.
        half_ranges: sends only the first half of each range that is asked for, as servers may.
        shifted_ranges: sends another range than was asked for.
        no_ranges: sends the whole file, whatever range is asked for.
        times: how often; default always.
        then: what goes wrong afterwards; default nothing.
    """

    status: int = 0
    location: str = ""
    cut_after: int = -1
    hold_after: int = -1
    half_ranges: bool = False
    shifted_ranges: bool = False
    no_ranges: bool = False
    times: int = 1_000_000
    then: Fault | None = None


@dataclass
class ImageServer:
    """The files of a server, and a log of its requests."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    holds: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def ranges(self, path: str) -> list[str]:
        """The Range headers of the requests for a path, "" for a request without one."""
        return [asked for seen, asked in self.requests if seen == path]

    def respond(self, handler: QuietHandler) -> None:
        """Respond to a GET request."""
        path = handler.path
        self.requests.append((path, handler.headers.get("Range", "")))
        fault = self.faults.get(path, Fault())
        fault.times -= 1
        if fault.times < 0:
            fault = fault.then or Fault()
        if fault.location:
            handler.send_response(302)
            handler.send_header("Location", fault.location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif fault.status:
            handler.respond(fault.status)
        elif path.endswith("/"):
            handler.respond(200, "text/html", self._listing(path))
        elif path in self.files:
            self._send(handler, self.files[path], fault)
        else:
            handler.respond(404)

    def _listing(self, directory: str) -> bytes:
        names = sorted({_first(path.removeprefix(directory)) for path in self.files if path.startswith(directory)})
        rows = (f'<tr><td><a href="{name}">{name}</a></td><td align="right">2026-01-01</td></tr>' for name in names)
        return f'<h1>Index of {directory}</h1><a href="?C=N;O=D">Name</a><a href="../">..</a>{"".join(rows)}'.encode()

    def _send(self, handler: QuietHandler, content: bytes, fault: Fault) -> None:
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start, end = self._range(handler, content, etag, fault)
        part = content[start:end]
        handler.send_response(206 if (start, end) != (0, len(content)) else 200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(part)))
        if (start, end) != (0, len(content)):
            handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        handler.end_headers()
        if fault.hold_after >= 0:
            handler.wfile.write(part[: fault.hold_after])
            handler.wfile.flush()
            self.holds.set()
            self.release.wait(60)
            part = part[fault.hold_after :]
        if fault.cut_after < 0:
            handler.wfile.write(part)
            return
        handler.wfile.write(part[: fault.cut_after])
        handler.wfile.flush()
        handler.close_connection = True

    @staticmethod
    def _range(handler: QuietHandler, content: bytes, etag: str, fault: Fault) -> tuple[int, int]:
        asked = handler.headers.get("Range", "")
        if not asked or fault.no_ranges or handler.headers.get("If-Range", etag) != etag:
            return 0, len(content)
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if fault.shifted_ranges:
            return start + 1, len(content)
        return start, start + (len(content) - start + 1) // 2 if fault.half_ranges else len(content)


def _first(path: str) -> str:
    name, slash, _ = path.partition("/")
    return name + slash


@contextmanager
def image_server() -> Iterator[ImageServer]:
    """Serve nothing at first, on a loopback port."""
    server = ImageServer()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # of a client that was interrupted
                server.respond(self)

    with serving(Handler) as url:
        server.url = url
        yield server


def raw_disk(size: int = 2 * MIB, mark: bytes = b"") -> bytes:
    """A raw disk with the signature of a partition table."""
    return (mark.ljust(510, b"\0") + b"\x55\xaa").ljust(size, b"\0")


def qcow2_disk(directory: Path, content: bytes) -> bytes:
    """A qcow2 disk with this content."""
    raw, packed = directory / "packing.raw", directory / "packing.qcow2"
    raw.write_bytes(content)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed)], check=True)
    return packed.read_bytes()


def tar_xz(name: str, content: bytes, pax_headers: Mapping[str, str] | None = None) -> bytes:
    """A compressed archive of one file, with extended headers."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.pax_headers = dict(pax_headers or {})
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def xz(content: bytes) -> bytes:
    """Compressed content."""
    return lzma.compress(content)


def add_debian(server: ImageServer, serial: str, disk: bytes, **options: Any) -> str:
    """Publish a build of Debian.

    Args:
        server: the server; its base is /debian.
        serial: such as "20241004-1890".
        disk: the raw disk.
        **options: code_name, version, arch, and daily.

    Returns:
        The path of the disk.
    """
    code_name, version = options.get("code_name", "bookworm"), options.get("version", "12")
    daily = options.get("daily", False)
    directory = f"/debian/{code_name}/{'daily/' if daily else ''}{serial}/"
    stem = f"debian-{version}-ec2-{options.get('arch', 'amd64')}{'-daily' if daily else ''}-{serial}"
    packed = tar_xz("disk.raw", disk)
    server.files[f"{directory}{stem}.tar.xz"] = packed
    server.files[f"{directory}{stem}.json"] = b"{}"
    sums = server.files.get(f"{directory}SHA512SUMS", b"").decode()
    sums += f"{hashlib.sha512(packed).hexdigest()}  {stem}.tar.xz\n{hashlib.sha512(b'{}').hexdigest()}  {stem}.json\n"
    server.files[f"{directory}SHA512SUMS"] = sums.encode()
    return f"{directory}{stem}.tar.xz"


def add_ubuntu(server: ImageServer, sign: Callable[[bytes], bytes], serial: str, disk: bytes, **options: Any) -> str:
    """Publish a build of Ubuntu.

    Args:
        server: the server; its base is /ubuntu.
        sign: gives a text with its signature.
        serial: such as "20240423".
        disk: the qcow2 disk.
        **options: code_name, version, arch, kind, and daily.

    Returns:
        The path of the disk.
    """
    code_name, version = options.get("code_name", "noble"), options.get("version", "24.04")
    arch, kind = options.get("arch", "amd64"), options.get("kind", "server")
    daily = options.get("daily", False)
    root = f"/ubuntu{'/minimal' if kind == 'minimal' else ''}/{'daily' if daily else 'releases'}"
    stream = "daily" if daily else "released"
    products_path = f"streams/v1/com.ubuntu.cloud:{stream}:download.sjson"
    index = {
        "index": {
            f"com.ubuntu.cloud:{stream}:aws": {"datatype": "image-ids", "path": "streams/v1/other.sjson"},
            f"com.ubuntu.cloud:{stream}:download": {"datatype": "image-downloads", "path": products_path},
        },
        "format": "index:1.0",
    }
    path = f"server/{root.rsplit('/', 1)[-1]}/{code_name}/{serial}/{code_name}-{kind}-cloudimg-{arch}.img"
    items = {
        "manifest": {"ftype": "manifest", "path": f"{path}.manifest", "sha256": "0" * 64, "size": 1},
        "disk-kvm.img": {"ftype": "disk-kvm.img", "path": f"{path}-kvm", "sha256": "0" * 64, "size": 1},
        "disk1.img": {
            "ftype": "disk1.img",
            "path": path,
            "sha256": hashlib.sha256(disk).hexdigest(),
            "size": len(disk),
        },
    }
    key = f"com.ubuntu.cloud{'.daily' if daily else ''}:{kind}:{version}:{arch}"
    products = server.products.setdefault(root, {})
    product = products.setdefault(key, {"arch": arch, "release": code_name, "version": version, "versions": {}})
    product["versions"][serial] = {"items": items, "label": "release", "pubname": f"ubuntu-{code_name}-{serial}"}
    document = {"content_id": f"com.ubuntu.cloud:{stream}:download", "format": "products:1.0", "products": products}
    server.files[f"{root}/streams/v1/index.sjson"] = sign(json.dumps(index, indent=1).encode())
    server.files[f"{root}/{products_path}"] = sign(json.dumps(document, indent=1).encode())
    server.files[f"{root}/{path}"] = disk
    return f"{root}/{path}"


def add_listed(server: ImageServer, directory: str, file: str, disk: bytes, checksums: Mapping[str, str]) -> None:
    """Publish a disk in a directory.

    Args:
        server: the server.
        directory: its path, with a slash at the end.
        file: the name of the disk.
        disk: the content of the file.
        checksums: templates of the lines of checksum files, with the fields {sha256} and {file}, by file name.
    """
    server.files[f"{directory}{file}"] = disk
    for name, line in checksums.items():
        text = line.format(sha256=hashlib.sha256(disk).hexdigest(), file=file)
        server.files[f"{directory}{name}"] = server.files.get(f"{directory}{name}", b"") + f"{text}\n".encode()
