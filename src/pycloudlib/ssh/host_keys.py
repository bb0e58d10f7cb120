"""Host key verification: the known keys of one instance across its reconnects."""

from __future__ import annotations

import base64
import logging
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.key_format import fingerprint, parse_public_key
from pycloudlib.ssh.errors import HostKeyError

logger = logging.getLogger(__name__)

Mode = Literal["console", "pinned", "insecure"]
MODES: tuple[Mode, ...] = ("console", "pinned", "insecure")

CONSOLE_BLOCK = re.compile(
    r"-----BEGIN SSH HOST KEY KEYS-----(?P<lines>.*?)-----END SSH HOST KEY KEYS-----",
    re.DOTALL,
)
# Ignore kernel or journal output on the same line; the base64 of every SSH key starts with AAAA.
CONSOLE_KEY = re.compile(r"\b(?P<kind>(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[\w@.-]+)[ \t]+(?P<blob>AAAA[A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True)
class HostKey:
    """A public host key.

    Args:
        kind: the key type, such as "ssh-ed25519".
        blob: the key blob of the SSH protocol.
    """

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """The fingerprint in ssh-keygen's format: "SHA256:..."."""
        return fingerprint(self.blob)

    def known_hosts_line(self, host: str) -> str:
        """Return the known_hosts line with which OpenSSH accepts only this key of a host.

        Args:
            host: the name or address, "[address]:port", or an alias for ssh's option HostKeyAlias.
        """
        return f"{host} {self.kind} {base64.b64encode(self.blob).decode()}\n"

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


class HostKeys:
    """The known keys of one host, shared by every connection to it.

    The file ~/.ssh/known_hosts is neither read nor written, because clouds reuse addresses.

    Args:
        mode: the verification mode; default "pinned". "console" accepts only the keys that the host printed on its
            console, and none before they are learned. "pinned" accepts the key of the first connection, if it is among
            the learned keys of the console, and no other key after that. "insecure" accepts every key.

    Raises:
        InvalidArgumentError: the mode is unknown.
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
        """The last accepted key of the host, in any mode; None before the first connection."""
        with self._lock:
            return self._accepted

    @property
    def is_contradicted(self) -> bool:
        """Whether the console shows keys, but not the pinned one."""
        with self._lock:
            return self._pinned is not None and bool(self._console) and self._pinned not in self._console

    @property
    def known_kinds(self) -> tuple[str, ...]:
        """The types of the acceptable keys; empty if any type is acceptable."""
        with self._lock:
            if self.mode == "insecure":
                return ()
            keys = (self._pinned,) if self._pinned else self._console
        return tuple(dict.fromkeys(key.kind for key in keys))

    def learn(self, keys: Iterable[str]) -> None:
        """Replace the learned keys with those that the host printed on its console.

        Args:
            keys: one public key each: "type base64", with an optional comment. Without keys, this is a no-op.

        Raises:
            InvalidArgumentError: a key is invalid.
        """
        learned = tuple(_parse(key) for key in keys)
        if not learned:
            return
        with self._lock:
            self._console = learned

    def drop_pin(self) -> None:
        """Forget the pinned key, but not the console's keys: accept another key if it is among them."""
        with self._lock:
            self._pinned = None

    def forget(self) -> None:
        """Forget every key: the host is about to generate new ones, as in a first boot of cloud-init."""
        with self._lock:
            self._console = ()
            self._pinned = None

    def check(self, kind: str, blob: bytes, *, host: str) -> None:
        """Verify the key of a host.

        Args:
            kind: the key type, such as "ssh-ed25519".
            blob: the key blob of the SSH protocol.
            host: the host, for the message.

        Raises:
            HostKeyError: the key is not the expected one, or none is known yet in the mode "console".
        """
        key = HostKey(kind, blob)
        with self._lock:
            if self.mode == "insecure":
                self._accepted = key
                return
            self._check_pinned(key, host)
            self._check_console(key, host)
            if self.mode == "pinned" and self._pinned is None:
                logger.debug("%s is pinned to its key %s", host, key)
                self._pinned = key
            self._accepted = key

    def _check_pinned(self, key: HostKey, host: str) -> None:
        if self._pinned is None or self._pinned == key:
            return
        raise HostKeyError(
            f"{host} has another host key than before: it was {self._pinned}, and is {key}; "
            "either another host has this address, or its host keys were generated again",
            hostname=host,
            got=(key.kind, key.blob),
            expected=(self._pinned.kind, self._pinned.blob),
        )

    def _check_console(self, key: HostKey, host: str) -> None:
        if key in self._console:
            return
        if self._console:
            console_keys = ", ".join(map(str, self._console))
            raise HostKeyError(
                f"{host} has a host key that is not on its console: {key} is not among {console_keys}",
                hostname=host,
                got=(key.kind, key.blob),
                expected=(self._console[0].kind, self._console[0].blob),
            )
        if self.mode == "console":
            raise HostKeyError(
                f"the console log of {host} does not show its host keys yet, so the host cannot be verified "
                f"(it has {key}); wait for them, or set host_keys to 'pinned'",
                hostname=host,
                got=(key.kind, key.blob),
            )


class KeyOwners:
    """The instance that first used each host key: instances that share a key are indistinguishable."""

    def __init__(self) -> None:
        self._owners: dict[HostKey, str] = {}
        self._reported: set[HostKey] = set()
        self._lock = threading.Lock()

    def note(self, key: HostKey, owner: str) -> str | None:
        """Record the owner of a key.

        Args:
            key: the key.
            owner: the owner, such as an instance id.

        Returns:
            The first owner of a shared key; None if the key is not shared, or if that was reported before: a fleet of a
            thousand instances may share one key.
        """
        with self._lock:
            first = self._owners.setdefault(key, owner)
            if first == owner or key in self._reported:
                return None
            self._reported.add(key)
            return first


def keys_from_console(text: str) -> list[str]:
    """Return the host keys that cloud-init printed on the console (its module keys_to_console).

    Args:
        text: the console log, with any other output (EC2's GetConsoleOutput).

    Returns:
        "type base64" for each key of the last complete block, which is the latest boot's; empty if there is none yet.
    """
    blocks = CONSOLE_BLOCK.findall(text.replace("\r", ""))
    if not blocks:
        return []
    keys = (f"{match['kind']} {match['blob']}" for match in CONSOLE_KEY.finditer(blocks[-1]))
    return list(dict.fromkeys(keys))


def _parse(line: str) -> HostKey:
    try:
        return HostKey(*parse_public_key(line))
    except ValueError:
        raise InvalidArgumentError(f"not a public host key: {line.strip()[:60]!r}; it must be 'type base64'") from None
