"""The protocol of a callable that runs a command in the guest as root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pycloudlib.result import Result


class RunAsRoot(Protocol):
    """A callable that runs a command in the guest, optionally as root, such as `BaseInstance.execute()`."""

    def __call__(
        self,
        command: str | Sequence[str],
        *,
        description: str | None = None,
        use_sudo: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a string with `sh -c`, or a list as it is, with these environment variables."""
