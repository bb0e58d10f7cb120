"""Host keys during a boot: accept a new key if the console shows it."""

from __future__ import annotations

import re
from collections.abc import Callable

from pycloudlib.deadline import SYSTEM_CLOCK, Clock
from pycloudlib.ec2.instances.console import ConsoleMark
from pycloudlib.errors import HostKeyError
from pycloudlib.ssh.host_keys import HostKeys, keys_from_console

HOST_KEY_PATIENCE = 120.0
"""Seconds to wait for the console to show a changed key: cloud-init prints the keys when it finishes."""

CONSOLE_INTERVAL = 2.0
"""Seconds between two reads of the console because of a host key."""

CLOUD_INIT_ENDED = re.compile(r"Cloud-init v\. \S+ finished at")
"""The last line that cloud-init prints (its module final_message), after the host keys."""


class BootHostKeys:
    """The host keys of an instance during one boot.

    A first boot generates new keys: an sshd that starts before cloud-init has the image's keys. In a later boot, accept
    a changed key if the console shows it among the keys of this boot, as after `cloud-init clean`. Trust the console,
    because EC2 reports it, not the host.

    Args:
        keys: the known host keys.
        console: returns the console log; empty if EC2 does not return it.
        before: the start of this boot in the log.
        keeps_host_keys: whether the host should keep its keys.
        clock: the clock; default the real time.
    """

    def __init__(
        self,
        keys: HostKeys,
        *,
        console: Callable[[], str],
        before: ConsoleMark,
        keeps_host_keys: bool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._keys = keys
        self._console = console
        self._before = before
        self._keeps_host_keys = keeps_host_keys
        self._clock = clock
        self._due = 0.0
        self._mismatch_since: float | None = None
        self._learned: list[str] = []

    def compare(self, text: str) -> bool:
        """Learn the keys in a console log if a key is pinned.

        Args:
            text: the console log, read for another purpose.

        Returns:
            Whether to verify the host key again, because the log does not contain the pinned key.
        """
        if self._keys.mode != "pinned":
            return False
        self._keys.learn(keys_from_console(self._before.since(text)))
        if not self._keys.is_contradicted:
            return False
        self._keys.drop_pin()
        return True

    def resolve(self, error: HostKeyError) -> bool:
        """Decide about a host whose key was rejected.

        Args:
            error: the rejection.

        Returns:
            Whether another key is accepted now, so that another attempt may succeed.

        Raises:
            HostKeyError: the same error; no key of this host will be accepted.
        """
        if self._keys.mode == "pinned" and not self._keeps_host_keys:
            self._keys.drop_pin()
            return True
        now = self._clock.now()
        if self._mismatch_since is None:
            self._mismatch_since = now
        if now < self._due:
            return False
        self._due = now + CONSOLE_INTERVAL
        text = self._console()
        if self._keys.mode == "console":
            return self._learn(keys_from_console(text))
        return self._accept_changed(self._before.since(text), error)

    def _accept_changed(self, text: str, error: HostKeyError) -> bool:
        shown = keys_from_console(text)
        if shown and shown != self._learned:
            self._keys.drop_pin()
            return self._learn(shown)
        since = self._clock.now() - (self._mismatch_since or 0.0)
        if shown or CLOUD_INIT_ENDED.search(text) or since >= HOST_KEY_PATIENCE:
            raise error
        return False

    def _learn(self, keys: list[str]) -> bool:
        is_new = bool(keys) and keys != self._learned
        self._learned = keys or self._learned
        self._keys.learn(keys)
        return is_new
