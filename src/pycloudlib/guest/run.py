"""What the rooms of this package ask for: something that runs a command in the guest as root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pycloudlib.result import Result


class RunAsRoot(Protocol):
    """Something that runs a command in the guest, as root when told so: BaseInstance.execute() is one."""

    def __call__(
        self,
        command: str | Sequence[str],
        *,
        description: str | None = None,
        use_sudo: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a string in `sh -c`, or a list as it is, with these variables set."""
