"""The protocol of a callable that runs a command in the guest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pycloudlib.result import Result


class Run(Protocol):
    """A callable that runs a command in the guest, such as `BaseInstance.execute()`."""

    def __call__(
        self,
        command: str | Sequence[str],
        *,
        stdin: str | bytes | None = None,
        description: str | None = None,
        use_sudo: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Result:
        """Run a string with `sh -c`, or a list as it is. See `BaseInstance.execute()` for the arguments."""
