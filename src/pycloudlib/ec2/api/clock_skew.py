"""Signed requests that are refused because of this computer's clock.

A signature holds the time, and AWS takes one that is at most some minutes old. The clock of a virtual machine that was
suspended, or of a board without a battery, is wrong by more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from pycloudlib.tags import iso_time, utc_now

CLOCK_CODES = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})
"""What AWS says of a request whose time is not its own."""

_CLOCK_REASONS = ("signature expired", "signature not yet current", "request has expired")
"""What AWS says of it under a code that has other causes too, such as SignatureDoesNotMatch."""

TOLERANCE = 240.0
"""Seconds. AWS takes a difference of five minutes at least, and both times are told to the second."""

CHECK_KEYS = "check access_key_id, secret_access_key and session_token, or the profile that they come from"


def remedy_of_refused_credentials(
    code: str, reason: str, headers: Mapping[str, str], now: Callable[[], datetime] = utc_now
) -> str:
    """Say what to do about credentials that AWS refused.

    Args:
        code: the AWS error code.
        reason: AWS's message.
        headers: of its answer; "date" tells its time.
        now: what tells this computer's time; default the real one.
    """
    here, there = now(), _date(headers.get("date", ""))
    times = f"it says {iso_time(here)}" + (f", and EC2's says {iso_time(there)}" if there else "")
    if code in CLOCK_CODES or reason.lower().startswith(_CLOCK_REASONS):
        return f"set this computer's clock: {times}"
    if there is None:
        # EC2 says AuthFailure of wrong keys and of a wrong clock alike.
        return f"{CHECK_KEYS}; and this computer's clock: {times}" if code == "AuthFailure" else CHECK_KEYS
    if abs((here - there).total_seconds()) > TOLERANCE:
        return f"set this computer's clock: {times}"
    return CHECK_KEYS


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
