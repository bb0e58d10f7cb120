"""A switch inside the guest that powers it off when it expires, even if nothing else deletes it.

The switch is an additional part of the user data: a boothook, which cloud-init runs early in every boot, so a restart
sets it again. It leaves nothing on the disk that another instance of an image would run.

See https://docs.cloud-init.io/en/latest/explanation/format.html
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from base64 import encodebytes
from datetime import datetime, timezone

from pycloudlib.errors import InvalidArgumentError

FILE_NAME = "pycloudlib-expiry"
"""The file name of the user data part."""

PLAIN_SIZE = 16 * 1024
"""EC2's limit for user data in bytes; longer user data is compressed, which cloud-init reverses."""

_MIME_MARK = b"mime-version:"
_MIME_MARK_WITHIN = 4096
_GZIP_MARK = b"\x1f\x8b"

# Do not block, because the boot must continue: run in the background, with a timer without later dependencies. Set both
# a calendar time and a delay, because the clock may change meanwhile. Without a systemd timer, a process sleeps.
_SCRIPT = """#cloud-boothook
#!/bin/sh
# Powers this instance off at {moment}, the expiry time of its launch.
left=$(({seconds} - $(date +%s)))
[ "$left" -gt 0 ] || left=0
off="systemctl --no-block --job-mode=replace-irreversibly start poweroff.target"
set_timer() {{
    [ "$left" -gt 0 ] && [ -d /run/systemd/system ] || return 1
    [ ! -e /run/systemd/transient/pycloudlib-expiry.timer ] || return 0
    systemd-run --unit=pycloudlib-expiry --on-active="$left" --on-calendar="{moment}" \\
        --timer-property=AccuracySec=1s --timer-property=DefaultDependencies=no \\
        --property=DefaultDependencies=no $off
}}
switch() {{
    set_timer && return
    sleep "$left"
    $off || poweroff
}}
(switch) </dev/null >/dev/null 2>&1 &
exit 0
"""


def with_expiry(user_data: str | bytes | None, expires: datetime) -> bytes:
    """Add the switch to user data without changing its meaning.

    The given user data remains one part, or all of its parts in their order and with their headers. It comes first, so
    that cloud-init gives scripts the same names as without the switch. Compressed user data is decompressed, as
    cloud-init would do, and the result is compressed again.

    Args:
        user_data: the user data in any form that cloud-init accepts; None for no user data.
        expires: when to power the guest off, timezone-aware.

    Returns:
        The user data for the launch. It may exceed EC2's limit if the given user data is close to it.

    Raises:
        InvalidArgumentError: the time has no time zone.
    """
    if expires.utcoffset() is None:
        raise InvalidArgumentError(f"the time of expiry {expires.isoformat()} has no time zone")
    content = (user_data or b"") if not isinstance(user_data, str) else user_data.encode()
    if not content:
        return _script(expires)
    unpacked = _unpacked(content)
    merged = _joined(_as_part(unpacked), _script_part(expires))
    if unpacked is content and len(merged) <= PLAIN_SIZE:
        return merged
    return gzip.compress(merged, mtime=0)


def _script(expires: datetime) -> bytes:
    moment = expires.astimezone(timezone.utc)
    return _SCRIPT.format(seconds=int(moment.timestamp()), moment=f"{moment:%Y-%m-%d %H:%M:%S} UTC").encode()


def _script_part(expires: datetime) -> bytes:
    headers = (
        'Content-Type: text/cloud-boothook; charset="us-ascii"\n'
        f'Content-Disposition: attachment; filename="{FILE_NAME}"\n\n'
    )
    return headers.encode() + _script(expires)


def _unpacked(data: bytes) -> bytes:
    """Decompress user data like cloud-init, which keeps everything else as it is."""
    if not data.startswith(_GZIP_MARK):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data


def _as_part(data: bytes) -> bytes:
    if _MIME_MARK in data[:_MIME_MARK_WITHIN].lower():
        # Keep a message byte by byte. cloud-init flattens nested messages.
        return data
    # The content type that cloud-init itself assigns to other data before it inspects the first line.
    headers = b"Content-Type: text/x-not-multipart\nContent-Transfer-Encoding: base64\n\n"
    return headers + encodebytes(data)


def _joined(*parts: bytes) -> bytes:
    # Derive the boundary from the content: it cannot occur there, and the same user data gives the same result.
    boundary = f"=={hashlib.sha256(b''.join(parts)).hexdigest()[:32]}==".encode()
    begin = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="' + boundary + b'"\n\n'
    return begin + b"".join(b"--" + boundary + b"\n" + part + b"\n" for part in parts) + b"--" + boundary + b"--\n"
