"""A file of the default image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuestFile:
    """A file or a link of the guest.

    Args:
        path: where it is, without a leading slash.
        text: what is in it; the target, if it is a link.
        mode: its permissions.
        link: whether it is a symbolic link.
    """

    path: str
    text: str
    mode: int = 0o644
    link: bool = False
