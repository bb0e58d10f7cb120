"""Resumable downloads, verified on the fly."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import IO

from pycloudlib.errors import DownloadError, PycloudlibError, VerificationError
from pycloudlib.local.images.sources.published import Checksum
from pycloudlib.local.images.sources.web import (
    BLOCK,
    Web,
    content_range,
    explained,
    is_connection_loss,
    no_space,
    reason,
    refused,
)

PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416

Watch = Callable[[int, "int | None"], None]
"""Called with the number of received bytes, and the size of the file if known."""


def download(web: Web, url: str, path: Path, checksum: Checksum, watch: Watch) -> None:
    """Download a file, and verify it. Resume an earlier, interrupted download.

    An HTTP validator protects the resumption (If-Range), and the checksum the complete file. If the checksum of a
    resumed file is wrong, download it once more from the start.

    Args:
        web: the HTTP client.
        url: the URL of the file.
        path: the file to write; kept if the connection is lost, and removed if it cannot be resumed.
        checksum: the checksum of the whole file.
        watch: called after each block.

    Raises:
        DownloadError: the server has no such file, or the connection was lost.
        VerificationError: the checksum is wrong.
        LocalEC2Error: the disk is full.
    """
    transfer = _Download(web, url, path, checksum, watch)
    try:
        with explained(url):
            transfer.run()
    except PycloudlibError:
        raise
    except OSError as error:
        transfer.remove()
        raise no_space(error, path.parent) from error


class _Download:
    def __init__(self, web: Web, url: str, path: Path, checksum: Checksum, watch: Watch) -> None:
        self._web = web
        self._url = url
        self._path = path
        self._checksum = checksum
        self._watch = watch
        self._validator_path = path.with_name(f"{path.name}.validator")
        self._validator = ""
        self._received = 0
        self._total: int | None = None
        self._hash = checksum.new_hash()

    def run(self) -> None:
        with self._path.open("ab+") as file:
            resumed = self._resume(file)
            if not self._is_valid():
                self._complete(file)
            if resumed and not self._is_valid():
                self._restart(file)
                self._complete(file)
        if not self._is_valid():
            self.remove()
            raise VerificationError(
                f"{self._url} has the wrong checksum: {self._checksum.algorithm} {self._hash.hexdigest()} instead of "
                f"{self._checksum.hexdigest}; it was removed: try again, or use another mirror"
            )
        self._validator_path.unlink(missing_ok=True)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        self._validator_path.unlink(missing_ok=True)

    def _is_valid(self) -> bool:
        return self._hash.hexdigest() == self._checksum.hexdigest

    def _resume(self, file: IO[bytes]) -> bool:
        """Hash the data of an earlier download; return whether there is any."""
        file.seek(0)
        while block := file.read(BLOCK):
            self._hash.update(block)
            self._received += len(block)
        with suppress(OSError):
            url, _, validator = self._validator_path.read_text().partition("\n")
            self._validator = validator if url == self._url else ""
        return self._received > 0

    def _restart(self, file: IO[bytes]) -> None:
        file.truncate(0)
        self._hash = self._checksum.new_hash()
        self._received, self._total, self._validator = 0, None, ""

    def _complete(self, file: IO[bytes]) -> None:
        """Receive until the file is complete. Retry after a lost connection if the last attempt received data."""
        while True:
            before = self._received
            why = "the server sent too little"
            try:
                self._attempt(file)
            except Exception as error:
                if not is_connection_loss(error):
                    raise
                why = reason(error)
            else:
                if self._total is None or self._received >= self._total:
                    return
            if self._received <= before:
                raise self._interrupted(why)

    def _attempt(self, file: IO[bytes]) -> None:
        with closing(self._open(file)) as response:
            if response.status != PARTIAL_CONTENT:
                self._restart(file)
                length = response.headers.get("Content-Length", "")
                self._total = int(length) if length.isdigit() else None
            self._remember_validator(response)
            self._watch(self._received, self._total)
            for block in self._web.blocks(response):
                file.write(block)
                file.flush()
                self._hash.update(block)
                self._received += len(block)
                self._watch(self._received, self._total)

    def _open(self, file: IO[bytes]) -> HTTPResponse:
        """Request the rest of the file, or the whole file if the server rejects the range."""
        if not self._received:
            return self._request({})
        headers = {"Range": f"bytes={self._received}-"}
        if self._validator:
            headers["If-Range"] = self._validator
        try:
            response = self._request(headers)
        except DownloadError as error:
            if error.status != RANGE_NOT_SATISFIABLE:
                raise
        else:
            received_range = content_range(response.headers.get("Content-Range"))
            if response.status != PARTIAL_CONTENT:
                return response
            if received_range is not None and received_range[0] == self._received:
                self._total = received_range[1]
                return response
            response.close()
        self._restart(file)
        return self._request({})

    def _request(self, headers: dict[str, str]) -> HTTPResponse:
        try:
            return self._web.open(self._url, headers)
        except urllib.error.HTTPError as error:
            if not self._received:
                self.remove()
            raise refused(self._url, error) from error

    def _remember_validator(self, response: HTTPResponse) -> None:
        etag = response.headers.get("ETag", "")
        # A weak validator cannot guard a range (RFC 9110, section 13.1.5).
        self._validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        self._validator_path.write_text(f"{self._url}\n{self._validator}")

    def _interrupted(self, why: str) -> DownloadError:
        if not self._received:
            self.remove()
            return DownloadError(f"cannot download {self._url}: {why}")
        total = f" of {self._total}" if self._total else ""
        return DownloadError(
            f"{self._url} was cut off after {self._received}{total} bytes ({why}): repeat the command to continue"
        )
