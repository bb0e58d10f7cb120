"""The HTTP client of pulls: small files in memory, large ones in blocks."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pycloudlib.errors import DownloadError, LocalEC2Error
from pycloudlib.setting_values import is_loopback

MIB = 2**20
BLOCK = MIB
LARGEST_INDEX = 64 * MIB
TIMEOUT = 30.0
"""The seconds that a server may be silent."""

SCHEMES = ("http://", "https://")
_CONNECTION_ERRORS = (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class Stopped(Exception):  # noqa: N818  (not an error)
    """The download was stopped by another thread."""


class Web:
    """An HTTP client with the proxies of the environment, or one of its own, for a single pull.

    Args:
        proxy: the URL of a proxy for all servers except those in `no_proxy`; default those of `http_proxy` and
            `https_proxy` in the environment.
        timeout: the seconds that a server may be silent; default 30.
    """

    def __init__(self, *, proxy: str | None = None, timeout: float = TIMEOUT) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        handlers = (
            _Proxies({"http": proxy, "https": proxy} if proxy else None),
            _http_handler(self._sockets),
            _https_handler(self._sockets),
        )
        self._trusting = urllib.request.build_opener(*handlers, _Redirects(may_leave_tls=True))
        self._strict = urllib.request.build_opener(*handlers, _Redirects(may_leave_tls=False))
        self._timeout = timeout
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._reads: dict[str, tuple[threading.Lock, list[bytes]]] = {}

    def stop(self) -> None:
        """Abort all requests, including those of other threads, which raise Stopped."""
        self._stopped.set()
        for connection in [*self._sockets]:
            with suppress(OSError):  # the server has closed it
                connection.shutdown(socket.SHUT_RDWR)

    def read(self, url: str) -> bytes:
        """Return a small file, such as an index, from a cache shared by all threads.

        Refuse redirects from HTTPS to HTTP, since the file is not verified.

        Raises:
            DownloadError: the file is missing, larger than 64 MiB, or the connection failed.
        """
        with self._lock:
            lock, known = self._reads.setdefault(url, (threading.Lock(), []))
        with lock:
            if not known:
                known.append(self._read(url))
            return known[0]

    def _read(self, url: str) -> bytes:
        with explained(url), closing(self._open(self._strict, url)) as response:
            content = bytes(response.read(LARGEST_INDEX + 1))
            if len(content) > LARGEST_INDEX:
                raise DownloadError(f"{url} is larger than {LARGEST_INDEX // MIB} MiB: it is not an index of images")
            promised = response.headers.get("Content-Length")
            if promised and promised.isdigit() and len(content) < int(promised):
                raise DownloadError(f"{url} was cut off after {len(content)} of {promised} bytes: try again")
            return content

    def open(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Open a file whose checksum is known.

        Args:
            url: the URL of the file.
            headers: the headers of the request, such as Range.
        """
        return self._open(self._trusting, url, headers)

    def blocks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """Yield the content of a response.

        Raises:
            Stopped: another thread stopped the download.
        """
        while block := response.read(BLOCK):
            yield block
            self.check_stopped()
        self.check_stopped()

    def check_stopped(self) -> None:
        """Raise Stopped if `stop()` was called."""
        if self._stopped.is_set():
            raise Stopped

    def _open(
        self, opener: urllib.request.OpenerDirector, url: str, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        if not url.startswith(SCHEMES):
            raise DownloadError(f"{url} is not the URL of an HTTP server")
        self.check_stopped()
        request = urllib.request.Request(url, headers={"User-Agent": "pycloudlib", **(headers or {})})  # noqa: S310
        response: http.client.HTTPResponse = opener.open(request, timeout=self._timeout)
        return response


def _http_handler(sockets: weakref.WeakSet[socket.socket]) -> urllib.request.HTTPHandler:
    """Return a handler that records the sockets of its connections."""

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class Handler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    return Handler()


def _https_handler(sockets: weakref.WeakSet[socket.socket]) -> urllib.request.HTTPSHandler:
    """Return a handler that records the sockets of its connections."""

    class Connection(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class Handler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req, context=ssl.create_default_context())

    return Handler()


class _Proxies(urllib.request.ProxyHandler):
    """Uses a proxy for all servers but those on the loopback interface, which a proxy cannot reach."""

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:  # noqa: A002  (urllib's name)
        return None if is_loopback(req.full_url) else super().proxy_open(req, proxy, type)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, *, may_leave_tls: bool) -> None:
        self._may_leave_tls = may_leave_tls

    # Python 3.10 does not handle this status.
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302

    def redirect_request(  # noqa: PLR0917  (the signature is urllib's)
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(SCHEMES):
            raise DownloadError(f"{req.full_url} redirects to {newurl}, which is not the URL of an HTTP server")
        if newurl.startswith("http://") and req.full_url.startswith("https://") and not self._may_leave_tls:
            raise DownloadError(f"{req.full_url} redirects to {newurl}, which is not encrypted: name another mirror")
        # Before Python 3.11, the base class rejects this status.
        return super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)  # noqa: PLR2004


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Translate errors of a request to a DownloadError with a one-line message."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise refused(url, error) from error
    except urllib.error.URLError as error:
        raise DownloadError(f"cannot reach {url}: {reason(error)}") from error
    except (http.client.InvalidURL, UnicodeError) as error:
        raise DownloadError(f"{url!r} is not a URL") from error
    except _CONNECTION_ERRORS as error:
        raise DownloadError(f"{url} was cut off: {reason(error)}") from error
    except ValueError as error:
        raise DownloadError(f"{url} is not a URL: {error}") from error


def refused(url: str, error: urllib.error.HTTPError) -> DownloadError:
    """Return the error for an HTTP error status."""
    error.close()
    # The reason for a redirect loop has several lines.
    first = str(error.reason).partition("\n")[0]
    return DownloadError(f"{url}: {error.code} {first}", status=error.code)


def reason(error: BaseException) -> str:
    """Return a short reason for a connection error."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return reason(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def is_connection_loss(error: BaseException) -> bool:
    """Return whether an error is a lost connection, so that a retry may succeed."""
    if isinstance(error, urllib.error.HTTPError):
        return False
    if isinstance(error, urllib.error.URLError):
        return True
    return isinstance(error, _CONNECTION_ERRORS)


def no_space(error: OSError, directory: Path) -> LocalEC2Error:
    """Return the error for a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LocalEC2Error(f"no space left on the disk: free some in {directory}, then try again")
    return LocalEC2Error(f"cannot write to {directory}: {error.strerror}")


def content_range(value: str | None) -> tuple[int, int | None] | None:
    """Return the start and the total of a Content-Range header; None if it is missing or malformed."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", value or "")
    if found is None:
        return None
    return int(found[1]), None if found[2] == "*" else int(found[2])
