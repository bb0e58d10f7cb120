"""Who may this host be: the keys that a host is known by, held for one instance across its reconnects."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.ssh.errors import HostKeyError

logger = logging.getLogger(__name__)

Mode = Literal["console", "pinned", "insecure"]
MODES: tuple[Mode, ...] = ("console", "pinned", "insecure")

CONSOLE_BLOCK = re.compile(
    r"-----BEGIN SSH HOST KEY KEYS-----(?P<lines>.*?)-----END SSH HOST KEY KEYS-----",
    re.DOTALL,
)
# Behind whatever the kernel or the journal printed on the same line; every SSH key's base64 begins with AAAA.
CONSOLE_KEY = re.compile(r"\b(?P<kind>(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+)[ \t]+(?P<blob>AAAA[A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True)
class HostKey:
    """A public host key.

    Args:
        kind: its type, such as "ssh-ed25519".
        blob: the key itself, as in the SSH protocol.
    """

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """Its fingerprint, as ssh-keygen prints it: "SHA256:..."."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    def known_hosts_line(self, host: str) -> str:
        """The line of a known_hosts file that makes OpenSSH accept this key, and no other, of a host.

        Args:
            host: its name or address, "[address]:port", or an alias for ssh's option HostKeyAlias.
        """
        return f"{host} {self.kind} {base64.b64encode(self.blob).decode()}\n"

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


class HostKeys:
    """What is known about the keys of one host, across every connection to it.

    The file ~/.ssh/known_hosts is neither read nor written: addresses in a cloud are used again by other hosts.

    Args:
        mode: "console": only the keys that the host printed on its console are accepted, and none before they are
            learned. "pinned" (default): the key of the first connection is accepted if the console's keys, when they
            are learned, hold it, and no other one after that. "insecure": every key is accepted.

    Raises:
        InvalidArgumentError: there is no such mode.
    """

    def __init__(self, mode: Mode = "pinned") -> None:
        if mode not in MODES:
            raise InvalidArgumentError(f"host_keys is {mode!r}; allowed are {', '.join(MODES)}")
        self.mode = mode
        self._console: tuple[HostKey, ...] = ()
        self._pinned: HostKey | None = None
        self._accepted: HostKey | None = None
        self._lock = threading.Lock()

    @property
    def accepted(self) -> HostKey | None:
        """The key with which the host was let in last, in any mode; None when it was not yet."""
        with self._lock:
            return self._accepted

    @property
    def is_contradicted(self) -> bool:
        """Whether a key was pinned that is none of those that the console was found to show."""
        with self._lock:
            return self._pinned is not None and bool(self._console) and self._pinned not in self._console

    @property
    def known_kinds(self) -> tuple[str, ...]:
        """The types of the keys that would be accepted; none when any type would be."""
        with self._lock:
            if self.mode == "insecure":
                return ()
            known = (self._pinned,) if self._pinned else self._console
        return tuple(dict.fromkeys(key.kind for key in known))

    def learn(self, keys: Iterable[str]) -> None:
        """Take the keys that the host printed on its console, in the place of those learned before.

        Args:
            keys: one public key each: "type base64", and perhaps a comment. None at all changes nothing.

        Raises:
            InvalidArgumentError: one of them is no public key.
        """
        learned = tuple(_parse(key) for key in keys)
        if not learned:
            return
        with self._lock:
            self._console = learned

    def drop_pin(self) -> None:
        """Forget the key of the first connection, but not those of the console: another key may come, if it is one."""
        with self._lock:
            self._pinned = None

    def forget(self) -> None:
        """Forget every key: the host is about to make new ones, as it does when cloud-init starts afresh."""
        with self._lock:
            self._console = ()
            self._pinned = None

    def check(self, kind: str, blob: bytes, *, host: str) -> None:
        """Refuse a host that is not the one expected.

        Args:
            kind: the type of the key that the host proved to have, such as "ssh-ed25519".
            blob: the key itself, as in the SSH protocol.
            host: the host, for the message.

        Raises:
            HostKeyError: the key is not the one expected, or none is known yet in the mode "console".
        """
        key = HostKey(kind, blob)
        with self._lock:
            if self.mode == "insecure":
                self._accepted = key
                return
            self._check_pinned(key, host)
            self._check_console(key, host)
            if self.mode == "pinned" and self._pinned is None:
                logger.debug("%s is known by its key %s from now on", host, key)
                self._pinned = key
            self._accepted = key

    def _check_pinned(self, key: HostKey, host: str) -> None:
        if self._pinned is None or self._pinned == key:
            return
        raise HostKeyError(
            f"{host} has another host key than before: it was {self._pinned} and is {key}; "
            "either another host answers at this address, or its keys were made anew",
            hostname=host,
            got=(key.kind, key.blob),
            expected=(self._pinned.kind, self._pinned.blob),
        )

    def _check_console(self, key: HostKey, host: str) -> None:
        if key in self._console:
            return
        if self._console:
            known = ", ".join(map(str, self._console))
            raise HostKeyError(
                f"{host} has a host key that it did not print on its console: {key} is not among {known}",
                hostname=host,
                got=(key.kind, key.blob),
                expected=(self._console[0].kind, self._console[0].blob),
            )
        if self.mode == "console":
            raise HostKeyError(
                f"the console log of {host} does not show its host keys yet, so it cannot be told whether this is the "
                f"right host (it has {key}); wait for them, or set host_keys to 'pinned'",
                hostname=host,
                got=(key.kind, key.blob),
            )


class KeyOwners:
    """Which instance was first seen with which host key: two that share one cannot be told apart."""

    def __init__(self) -> None:
        self._owners: dict[HostKey, str] = {}
        self._told: set[HostKey] = set()
        self._lock = threading.Lock()

    def note(self, key: HostKey, owner: str) -> str | None:
        """Take note of who has a key.

        Args:
            key: the key.
            owner: who has it, such as an instance id.

        Returns:
            Who else has the same one; None when nobody has, as far as is known, or when that was told before: a fleet
            of a thousand has one key a thousand times.
        """
        with self._lock:
            first = self._owners.setdefault(key, owner)
            if first == owner or key in self._told:
                return None
            self._told.add(key)
            return first


def keys_from_console(text: str) -> list[str]:
    """Find the host keys that cloud-init printed on the console (its module keys_to_console).

    Args:
        text: the console log, with whatever else is on it (EC2's GetConsoleOutput).

    Returns:
        One "type base64" for each key of the last complete block, which is the latest boot's; an empty list when there
        is none yet.
    """
    blocks = CONSOLE_BLOCK.findall(text.replace("\r", ""))
    if not blocks:
        return []
    keys = (f"{match['kind']} {match['blob']}" for match in CONSOLE_KEY.finditer(blocks[-1]))
    return list(dict.fromkeys(keys))


def _parse(line: str) -> HostKey:
    kind, _, rest = line.strip().partition(" ")
    encoded = rest.split()[0] if rest.strip() else ""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        blob = b""
    # The key itself begins with its type, as an SSH string: four bytes of length, then the name.
    if not kind or blob[4 : 4 + len(kind)] != kind.encode():
        raise InvalidArgumentError(f"not a public host key: {line.strip()[:60]!r}; it must be 'type base64'")
    return HostKey(kind, blob)
