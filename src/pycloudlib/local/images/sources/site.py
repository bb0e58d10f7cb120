"""The sites of publishers: their servers or mirrors, their keyrings, and the proxy, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROXY = "PYCLOUDLIB_IMAGE_PROXY"
MIRROR = "PYCLOUDLIB_IMAGE_MIRROR_"
KEYRING = "PYCLOUDLIB_IMAGE_KEYRING_"


@dataclass(frozen=True)
class Site:
    """A publisher's site.

    Args:
        base: the URL of its server, or of a mirror, without a trailing slash.
        keyring: the keyring that verifies its indexes; None for the system's.
    """

    base: str
    keyring: Path | None = None


@dataclass(frozen=True)
class Sites:
    """The settings of pulls.

    Args:
        proxy: the URL of the HTTP proxy; None for those of `http_proxy` and `https_proxy` (default).
        mirrors: the URLs of mirrors, by publisher; default none.
        keyrings: the keyrings, by publisher; default the system's.
    """

    proxy: str | None = None
    mirrors: Mapping[str, str] = field(default_factory=dict)
    keyrings: Mapping[str, Path] = field(default_factory=dict)

    def of(self, publisher: str, default: str) -> Site:
        """Return the site of a publisher.

        Args:
            publisher: the publisher's name, such as "debian".
            default: the URL of its own server.
        """
        return Site(self.mirrors.get(publisher, default).rstrip("/"), self.keyrings.get(publisher))

    def overridden_by(self, other: Sites) -> Sites:
        """Return the merged settings; those of `other` take precedence."""
        return Sites(other.proxy or self.proxy, {**self.mirrors, **other.mirrors}, {**self.keyrings, **other.keyrings})


def sites_of_environment() -> Sites:
    """Return the settings from environment variables.

    These are PYCLOUDLIB_IMAGE_PROXY, PYCLOUDLIB_IMAGE_MIRROR_{PUBLISHER}, and PYCLOUDLIB_IMAGE_KEYRING_{PUBLISHER}.
    """
    keyrings = {publisher: Path(path) for publisher, path in _by_publisher(KEYRING).items()}
    return Sites(os.environ.get(PROXY) or None, _by_publisher(MIRROR), keyrings)


def variable_of(publisher: str, prefix: str = MIRROR) -> str:
    """Return the environment variable of a publisher.

    Args:
        publisher: the publisher's name.
        prefix: MIRROR (default) or KEYRING.
    """
    return f"{prefix}{publisher.upper().replace('-', '_')}"


def _by_publisher(prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith(prefix) and value
    }
