"""Login attempts to a booting host: when to retry, and when to give up."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from pycloudlib.deadline import SYSTEM_CLOCK, Clock
from pycloudlib.errors import (
    HostKeyError,
    LoginShellError,
    SSHAuthenticationError,
    SSHConnectionError,
    SSHError,
    SSHNegotiationError,
)

_ADVICE = " instead (username=...)"

JITTER = 0.25
"""The maximum fraction by which to shorten a pause at random, so that concurrent waits do not connect in lockstep."""

HOPELESS_PATIENCE = 10.0
"""Seconds for which a host must give the same permanent error: user data may still change an account or sshd."""

FEW_HOSTS = 100
"""The number of awaited instances up to which pauses are shortest; with more, pauses grow in proportion."""

# The messages of pam_nologin(8) and sshd before systemd-user-sessions.service has run, and during shutdown.
_PASSING = re.compile(r"System is (?:booting up|going down)|pam_nologin", re.IGNORECASE)

# The messages of pam_unix(8), as sshd relays them.
_EXPIRED = re.compile(r"account has expired|account is locked", re.IGNORECASE)


@dataclass(frozen=True)
class Pace:
    """The growth of the pauses after one kind of failure.

    Args:
        first: seconds before the second attempt.
        factor: the growth factor of each pause.
        longest: the longest pause, in seconds.
    """

    first: float
    factor: float
    longest: float

    def pause(self, failures: int) -> float:
        """Return the seconds to pause after this number of consecutive failures of the kind."""
        return min(self.first * self.factor ** min(failures - 1, 64), self.longest)


UNREACHABLE = Pace(0.1, 1.0, 0.1)
"""No sshd responds yet. An attempt costs the guest almost nothing, and this process 0.4 ms."""

UNRESPONSIVE = Pace(0.25, 2.0, 8.0)
"""The host accepted the connection but did not respond. Each attempt counts toward sshd's MaxStartups."""

UNVERIFIED = Pace(1.0, 1.5, 2.5)
"""The host key was rejected, no algorithm is common, or commands do not run. Each attempt costs the guest a key
exchange, and since OpenSSH 9.8 the client a penalty of 1 s."""

REFUSED = Pace(1.0, 4.0, 7.0)
"""sshd rejected the key, or the account has expired. Since OpenSSH 9.8, this costs the client a penalty of 5 s; above
15 s sshd refuses its connections (PerSourcePenalties in sshd_config(5))."""


class LoginAttempts:
    """The failed login attempts to one host in one boot.

    Args:
        username: the login user.
        auth_patience: seconds for which the host may reject the key.
        count_hosts: returns the number of hosts that this process awaits.
        clock: the clock; default the real time.
    """

    def __init__(
        self, username: str, *, auth_patience: float, count_hosts: Callable[[], int], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._username = username
        self._auth_patience = auth_patience
        self._count_hosts = count_hosts
        self._clock = clock
        self._pace = UNREACHABLE
        self._failures = 0
        self._refused_since: float | None = None
        self._permanent_error = ""
        self._permanent_since = 0.0

    def fail(self, error: SSHError | None = None) -> None:
        """Record a failed attempt.

        Args:
            error: the error that ended the attempt; default none: the attempt succeeded, but the boot is not over.
        """
        pace = _pace(error)
        self._failures = self._failures + 1 if pace is self._pace else 1
        self._pace = pace
        now = self._clock.now()
        if isinstance(error, SSHAuthenticationError) and self._refused_since is None:
            self._refused_since = now
        permanent_error = self._why_permanent(error)
        if permanent_error != self._permanent_error:
            self._permanent_error, self._permanent_since = permanent_error, now

    def retry_at_once(self) -> None:
        """Shorten the next pause: the cause of the last failure is gone."""
        self._pace, self._failures = UNREACHABLE, 0

    def log_in(self) -> None:
        """Record that sshd accepted the key."""
        self._refused_since = None

    def succeed(self) -> None:
        """Record that commands run."""
        self._permanent_error = ""
        self.retry_at_once()

    def pause(self) -> float:
        """Return the seconds to pause before the next attempt."""
        pause = self._pace.pause(max(1, self._failures)) * max(1.0, self._count_hosts() / FEW_HOSTS)
        return pause * (1 - JITTER * random.random())  # noqa: S311  (spreads load, hides nothing)

    def why_over(self) -> str:
        """Return why no attempt can succeed; empty if one still may."""
        now = self._clock.now()
        if self._permanent_error and (now - self._permanent_since >= HOPELESS_PATIENCE or self._is_redirected):
            return self._permanent_error
        if self._refused_since is not None and now - self._refused_since > self._auth_patience:
            return f"it rejected the key of the user {self._username!r} for {self._auth_patience:g} s"
        return ""

    @property
    def _is_redirected(self) -> bool:
        return self._permanent_error.endswith(_ADVICE)

    def _why_permanent(self, error: SSHError | None) -> str:
        """Return why this failure is permanent; empty if it may pass."""
        text = str(error or "")
        if _PASSING.search(text):
            return ""
        if isinstance(error, LoginShellError) and error.advised_user:
            return f"logins as {self._username!r} are disabled; log in as {error.advised_user!r}{_ADVICE}"
        if isinstance(error, LoginShellError):
            return f"the user {self._username!r} cannot run commands: {text}"
        if isinstance(error, SSHNegotiationError):
            return f"the user {self._username!r} cannot log in: {text}"
        if _EXPIRED.search(text):
            return f"the account of the user {self._username!r} is expired or locked: {text}"
        return ""


def _pace(error: SSHError | None) -> Pace:
    if isinstance(error, SSHAuthenticationError) or _EXPIRED.search(str(error or "")):
        return REFUSED
    if isinstance(error, (HostKeyError, LoginShellError, SSHNegotiationError)):
        return UNVERIFIED
    if isinstance(error, SSHConnectionError) and error.unresponsive:
        return UNRESPONSIVE
    return UNREACHABLE
