"""Clock skew: signed requests that AWS rejects because this computer's clock is wrong.

A signature contains the time, and AWS accepts a skew of a few minutes. The clock of a resumed virtual machine, or of a
board without a battery, is off by more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from pycloudlib.tags import iso_time, utc_now

CLOCK_CODES = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})
"""The error codes for a request with a wrong time."""

_CLOCK_REASONS = ("signature expired", "signature not yet current", "request has expired")
"""The error messages for a wrong time whose codes, such as SignatureDoesNotMatch, also have other causes."""

TOLERANCE = 240.0
"""Seconds. AWS accepts a skew of at least five minutes, and both times have a resolution of one second."""

CHECK_KEYS = "check access_key_id, secret_access_key and session_token, or the profile that they come from"


def remedy_of_refused_credentials(
    code: str, reason: str, headers: Mapping[str, str], now: Callable[[], datetime] = utc_now
) -> str:
    """Return advice for credentials that AWS rejected.

    Args:
        code: the AWS error code.
        reason: AWS's message.
        headers: the response headers; "date" is AWS's time.
        now: the clock; default this computer's.
    """
    local_time, server_time = now(), _date(headers.get("date", ""))
    times = f"it says {iso_time(local_time)}" + (f", and EC2's says {iso_time(server_time)}" if server_time else "")
    if code in CLOCK_CODES or reason.lower().startswith(_CLOCK_REASONS):
        return f"set this computer's clock: {times}"
    if server_time is None:
        # EC2 returns AuthFailure for wrong keys and for a wrong clock.
        return f"{CHECK_KEYS}; and this computer's clock: {times}" if code == "AuthFailure" else CHECK_KEYS
    if abs((local_time - server_time).total_seconds()) > TOLERANCE:
        return f"set this computer's clock: {times}"
    return CHECK_KEYS


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
