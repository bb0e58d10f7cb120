"""A switch inside the guest that powers it off when its time is over, even if nobody is left who would delete it.

It travels as one more part of the user data: a boothook, which cloud-init runs early in every boot, so the switch is
set again after a restart. It leaves nothing on the disk that another machine made of it would run.

https://docs.cloud-init.io/en/latest/explanation/format.html
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from base64 import encodebytes
from datetime import datetime, timezone

from pycloudlib.errors import InvalidArgumentError

FILE_NAME = "pycloudlib-expiry"
"""Of the part of the user data."""

PLAIN_SIZE = 16 * 1024
"""Bytes of user data that EC2 takes: what would be longer is compressed, which cloud-init undoes."""

_MIME_MARK = b"mime-version:"
_MIME_MARK_WITHIN = 4096
_GZIP_MARK = b"\x1f\x8b"

# Nothing is waited for, because the boot, of which this is a part, has to go on: all of it is done in the background,
# and the timer depends on nothing that comes later. It counts towards both, the moment and the seconds until then, as
# the clock may be set meanwhile. Where systemd sets no timer, a process sleeps.
_SCRIPT = """#cloud-boothook
#!/bin/sh
# Powers this machine off at {moment}, as whoever launched it asked.
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
    """Add the switch to user data, and leave the meaning of what is there as it is.

    The given user data stays one part, or all of its parts, in their order and with their headers, and comes first, so
    that cloud-init gives scripts the names that they would have alone. Compressed user data is unpacked, as cloud-init
    would do, and the whole compressed again.

    Args:
        user_data: whatever cloud-init takes; None for none.
        expires: when the guest is powered off, with its time zone.

    Returns:
        User data for the launch. It may be longer than EC2 takes, if what was given is nearly that long already.

    Raises:
        InvalidArgumentError: the time has no time zone.
    """
    if expires.utcoffset() is None:
        raise InvalidArgumentError(f"the time of expiry {expires.isoformat()} has no time zone")
    given = (user_data or b"") if not isinstance(user_data, str) else user_data.encode()
    if not given:
        return _script(expires)
    content = _unpacked(given)
    merged = _joined(_as_part(content), _script_part(expires))
    if content is given and len(merged) <= PLAIN_SIZE:
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
    """What cloud-init sees: it unpacks what it can, and takes everything else as it is."""
    if not data.startswith(_GZIP_MARK):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data


def _as_part(data: bytes) -> bytes:
    if _MIME_MARK in data[:_MIME_MARK_WITHIN].lower():
        # A message already: as it is, byte by byte. cloud-init looks through nested ones as if they were flat.
        return data
    # The type that cloud-init itself gives to what is no message, before it looks at its beginning.
    headers = b"Content-Type: text/x-not-multipart\nContent-Transfer-Encoding: base64\n\n"
    return headers + encodebytes(data)


def _joined(*parts: bytes) -> bytes:
    # Made of the content: so it stands nowhere in it, and the same user data gives the same result.
    boundary = f"=={hashlib.sha256(b''.join(parts)).hexdigest()[:32]}==".encode()
    begin = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="' + boundary + b'"\n\n'
    return begin + b"".join(b"--" + boundary + b"\n" + part + b"\n" for part in parts) + b"--" + boundary + b"--\n"
