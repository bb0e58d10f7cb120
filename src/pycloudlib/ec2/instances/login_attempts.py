"""Attempts to log in to a host that boots: when to try again, and when no attempt can succeed any more."""

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
"""The fraction by which a pause may be shorter, at random, so that many waits do not connect at the same time."""

HOPELESS_PATIENCE = 10.0
"""Seconds for which a host must give the same hopeless answer: user data may still change an account or sshd."""

FEW_HOSTS = 100
"""Instances that one process awaits with the shortest pauses; more of them pause in proportion."""

# pam_nologin(8) and sshd, as long as systemd-user-sessions.service has not run, and while the machine goes down.
_PASSING = re.compile(r"System is (?:booting up|going down)|pam_nologin", re.IGNORECASE)

# pam_unix(8), as sshd passes it on.
_EXPIRED = re.compile(r"account has expired|account is locked", re.IGNORECASE)


@dataclass(frozen=True)
class Pace:
    """How the pauses after one kind of failure grow.

    Args:
        first: seconds before the second attempt.
        factor: by which each pause is longer than the one before.
        longest: seconds up to which the pauses grow.
    """

    first: float
    factor: float
    longest: float

    def pause(self, failures: int) -> float:
        """Return the seconds to pause after that many failures of the kind in a row."""
        return min(self.first * self.factor ** min(failures - 1, 64), self.longest)


UNREACHABLE = Pace(0.1, 1.0, 0.1)
"""No sshd answers yet. An attempt costs the guest next to nothing, and this process 0.4 ms."""

UNRESPONSIVE = Pace(0.25, 2.0, 8.0)
"""The host accepted the connection and then did not answer. Each attempt holds one of sshd's MaxStartups."""

UNVERIFIED = Pace(1.0, 1.5, 2.5)
"""The host key was refused, no algorithm is common, or commands do not run. Each attempt costs the guest a key
exchange, and from OpenSSH 9.8 on the client 1 s of penalty."""

REFUSED = Pace(1.0, 4.0, 7.0)
"""sshd refused the key. From OpenSSH 9.8 on, that costs the client 5 s of penalty, and from 15 s on it is locked out
(PerSourcePenalties in sshd_config(5))."""


class LoginAttempts:
    """The failed attempts to log in to one host in one boot.

    Args:
        username: the login user.
        auth_patience: seconds for which the host may refuse the key.
        count_hosts: returns how many hosts this process awaits.
        clock: default the real time.
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
        self._hopeless = ""
        self._hopeless_since = 0.0

    def fail(self, error: SSHError | None = None) -> None:
        """Record a failed attempt.

        Args:
            error: what ended it; default: nothing is wrong, but the boot is not over.
        """
        pace = _pace(error)
        self._failures = self._failures + 1 if pace is self._pace else 1
        self._pace = pace
        now = self._clock.now()
        if isinstance(error, SSHAuthenticationError) and self._refused_since is None:
            self._refused_since = now
        hopeless = self._why_hopeless(error)
        if hopeless != self._hopeless:
            self._hopeless, self._hopeless_since = hopeless, now

    def retry_at_once(self) -> None:
        """Make the next pause a short one: the reason of the last failure is gone."""
        self._pace, self._failures = UNREACHABLE, 0

    def log_in(self) -> None:
        """Record that the key was accepted."""
        self._refused_since = None

    def succeed(self) -> None:
        """Record that commands run."""
        self._hopeless = ""
        self.retry_at_once()

    def pause(self) -> float:
        """Return the seconds to wait before the next attempt."""
        pause = self._pace.pause(max(1, self._failures)) * max(1.0, self._count_hosts() / FEW_HOSTS)
        return pause * (1 - JITTER * random.random())  # noqa: S311  (spreads load, hides nothing)

    def why_over(self) -> str:
        """Return why no attempt can succeed any more; empty as long as one may."""
        now = self._clock.now()
        if self._hopeless and (now - self._hopeless_since >= HOPELESS_PATIENCE or self._is_redirected):
            return self._hopeless
        if self._refused_since is not None and now - self._refused_since > self._auth_patience:
            return f"it refused the key of the user {self._username!r} for {self._auth_patience:g} s"
        return ""

    @property
    def _is_redirected(self) -> bool:
        return self._hopeless.endswith(_ADVICE)

    def _why_hopeless(self, error: SSHError | None) -> str:
        """Return why this failure will not pass; empty if it may."""
        text = str(error or "")
        if _PASSING.search(text):
            return ""
        if isinstance(error, LoginShellError) and error.advised_user:
            return f"logins as {self._username!r} are disabled; log in as {error.advised_user!r}{_ADVICE}"
        if isinstance(error, LoginShellError):
            return f"commands of the user {self._username!r} do not run: {text}"
        if isinstance(error, SSHNegotiationError):
            return f"the user {self._username!r} cannot log in: {text}"
        if _EXPIRED.search(text):
            return f"the account of the user {self._username!r} is closed: {text}"
        return ""


def _pace(error: SSHError | None) -> Pace:
    if isinstance(error, SSHAuthenticationError):
        return REFUSED
    if isinstance(error, (HostKeyError, LoginShellError, SSHNegotiationError)):
        return UNVERIFIED
    if isinstance(error, SSHConnectionError) and error.unresponsive:
        return UNRESPONSIVE
    return UNREACHABLE
