"""The valid values of each setting."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

HostKeysMode = Literal["console", "pinned", "insecure"]
CloudInitFailure = Literal["raise", "warn"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOST_KEYS_MODES: tuple[HostKeysMode, ...] = ("console", "pinned", "insecure")
CLOUD_INIT_FAILURES: tuple[CloudInitFailure, ...] = ("raise", "warn")

MAX_SECONDS = 10 * 365 * 86400
"""Longer than any useful timeout, and short enough for every clock and date."""


MAX_SHOWN = 80
"""Characters of an invalid value that a message shows."""


class RefusedError(Exception):
    """A value is invalid; the message has the allowed values."""


def described(value: object) -> str:
    """Return a description of a value for a message."""
    if not isinstance(value, (str, int, float)):
        return type_name(value)
    shown = repr(value)
    return f"{shown if len(shown) <= MAX_SHOWN else f'{shown[:MAX_SHOWN]}...'} ({type_name(value)})"


def type_name(value: object) -> str:
    """Return TOML's name for the type of a value."""
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a float", list: "an array", dict: "a table"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise RefusedError("must be a string")
    return value


def _matching(pattern: str, allowed: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not re.fullmatch(pattern, _text(value)):
            raise RefusedError(allowed)
        return str(value)

    return check


def _url(value: object) -> str:
    try:
        parts = urlsplit(_text(value))
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise RefusedError("must be a URL such as 'http://127.0.0.1:4566'")
    return str(value)


def is_loopback(url: str | None) -> bool:
    """Return whether the host of a URL is this computer: localhost, 127.0.0.0/8, or ::1.

    Args:
        url: the URL; None or an invalid URL is not.
    """
    try:
        host = (urlsplit(url or "").hostname or "").rstrip(".")
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or address.is_unspecified or bool(mapped and mapped.is_loopback)


def _existing_file(value: object) -> Path:
    if not isinstance(value, (str, PathLike)):
        raise RefusedError("must be a path")
    try:
        path = Path(value).expanduser()
        exists = path.is_file()
    except RuntimeError:
        raise RefusedError("there is no such home directory") from None
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise RefusedError("must be a file that exists" if path == Path(value) else f"there is no file {path}")
    return path


def _port(value: object) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:  # noqa: PLR2004
        raise RefusedError("must be an integer from 1 to 65535")
    return number


def _network(value: object) -> Network:
    try:
        return ipaddress.ip_network(_text(value))
    except ValueError:
        raise RefusedError(_allowed_network(str(value))) from None


def _allowed_network(text: str) -> str:
    try:
        return f"the network of this address is '{ipaddress.ip_network(text, strict=False)}'"
    except ValueError:
        return "must be a network such as '203.0.113.0/24' or '2001:db8::/32'"


def _host_keys(value: object) -> HostKeysMode:
    for mode in HOST_KEYS_MODES:
        if value == mode:
            return mode
    raise RefusedError(f"must be one of {', '.join(map(repr, HOST_KEYS_MODES))}")


def _cloud_init_failure(value: object) -> CloudInitFailure:
    for allowed in CLOUD_INIT_FAILURES:
        if value == allowed:
            return allowed
    raise RefusedError(f"must be {' or '.join(map(repr, CLOUD_INIT_FAILURES))}")


def _boolean(value: object) -> bool:
    # An environment variable is always a string.
    named = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(named, bool):
        raise RefusedError("must be true or false")
    return named


_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS))


def _seconds(value: object) -> float:
    seconds = _duration(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= MAX_SECONDS:
        raise RefusedError("must be seconds, or a string such as '90m' or '1h30m': more than 0, at most ten years")
    return seconds


def _whole_seconds(value: object) -> int:
    return math.ceil(_seconds(value))


def _duration(text: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        return None
    return sum(int(count) * _UNITS[unit] for unit, count in match.groupdict().items() if count)


CHECKS: Mapping[str, Callable[[object], Any]] = {
    "region": _matching(r"[A-Za-z0-9-]{1,63}", "must be a region's name such as 'eu-central-1'"),
    "profile": _text,
    "access_key_id": _matching(r"\S+", "must be a string without spaces"),
    "secret_access_key": _matching(r"\S+", "must be a string without spaces"),
    "session_token": _matching(r"\S+", "must be a string without spaces"),
    "endpoint_url": _url,
    "public_key_path": _existing_file,
    "private_key_path": _existing_file,
    "key_name": _matching(r"[ -~]{1,255}", "must be 1 to 255 ASCII characters"),
    "username": _matching(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*", "must be a login name"),
    "ssh_port": _port,
    "ssh_cidr": _network,
    "host_keys": _host_keys,
    "ttl": _whole_seconds,
    "boot_timeout": _seconds,
    "wait_on_launch": _boolean,
    "cloud_init_failure": _cloud_init_failure,
}
"""The validator of each key, which returns the validated value."""
