"""The checksum files of publishers, and the directory listings of their servers."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import unquote

from pycloudlib.errors import DownloadError
from pycloudlib.local.images.sources.published import Checksum

LONGEST_NAME = 255
"""The bytes of the longest file name on Linux. Without a limit, a hostile line keeps the patterns busy for hours."""

_GNU = re.compile(r"^(?P<digest>[0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?: [ *]| ?\t)(?P<name>.{1,255})$", re.MULTILINE)
_BSD = re.compile(
    r"^(?P<algorithm>SHA256|SHA512) \((?P<name>[^)\n]{1,255})\) = (?P<digest>[0-9a-fA-F]{64,128})[ \r]?$", re.MULTILINE
)
_HREF = re.compile(r"""href=["']?([^"'>\s]+)""", re.IGNORECASE)
_ALGORITHMS = {64: "sha256", 128: "sha512"}
"""The algorithms by the number of hexadecimal digits."""


def parse_checksums(text: bytes) -> dict[str, Checksum]:
    """Return the checksums of a file in the format of sha256sum(1) or of BSD, by file name.

    Of several checksums of a file, the last one counts.
    """
    content = text.decode("utf-8", errors="replace")
    found = (*_GNU.finditer(content), *_BSD.finditer(content))
    return {
        match["name"].strip().removeprefix("./"): Checksum(_ALGORITHMS[len(match["digest"])], match["digest"].lower())
        for match in found
        if len(match["digest"]) in _ALGORITHMS
    }


def checksum_of(name: str, text: bytes, url: str) -> Checksum:
    """Return the checksum of a file.

    Args:
        name: the file name.
        text: the content of the checksum file.
        url: the URL of the checksum file.

    Raises:
        DownloadError: the checksum file does not list the file.
    """
    known = parse_checksums(text)
    if name in known:
        return known[name]
    if not known:
        raise DownloadError(f"{url} is not a list of checksums: use another mirror")
    raise DownloadError(
        f"{url} does not list {name}: it may still be uploading; try again later, or use another mirror"
    )


def parse_listing(text: bytes) -> list[str]:
    """Return the names in the directory listing of an HTTP server, directories without the slash, in its order."""
    hrefs = _HREF.findall(text.decode("utf-8", errors="replace"))
    names = (unquote(unescape(href)).removeprefix("./").rstrip("/") for href in hrefs)
    names = (name for name in names if name and "/" not in name and name[0] not in "?#.")
    return list(dict.fromkeys(name for name in names if len(name) <= LONGEST_NAME))
