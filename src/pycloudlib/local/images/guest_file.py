"""A file of the default image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuestFile:
    """A file or symbolic link of the guest.

    Args:
        path: the path, without a leading slash.
        text: the contents of the file, or the target of the link.
        mode: the permissions; default 0644.
        link: whether this is a symbolic link; default no.
    """

    path: str
    text: str
    mode: int = 0o644
    link: bool = False
