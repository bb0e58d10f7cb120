"""The sources of packages: the host's own Debian mirror and proxy, if configured."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.local.prerequisites import find

SOURCES = Path("/etc/apt")
UNSTABLE = "sid"
"""The release without separate archives of updates."""

PASSED_ON = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Retries")
"""The host's apt settings that also apply to image builds: access to the mirror, and its age."""


@dataclass(frozen=True)
class Source:
    """An entry of apt's sources.

    Args:
        uri: the URI of the archive.
        components: the components, such as "main".
        signed_by: the keyring that signs the archive; empty for apt's default keyrings.
    """

    uri: str
    components: tuple[str, ...]
    signed_by: str

    @property
    def name(self) -> str:
        """The last part of the URI's path."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def is_debian(self) -> bool:
        """Return whether this is Debian's own archive, not a third-party archive for Debian."""
        is_debian_key = not self.signed_by or "debian-archive" in self.signed_by
        return self.name in ("debian", "debian-security") and "main" in self.components and is_debian_key


def host_mirrors(codename: str, directory: Path = SOURCES) -> str | None:
    """Return the sources.list of a Debian release, with the host's mirrors.

    Args:
        codename: the code name of the release, independent of the host's.
        directory: the directory of apt's sources; default the system's.

    Returns:
        The lines; None if the host has no Debian mirror configured.
    """
    sources = [source for source in _sources(directory) if source.is_debian()]
    archive = next((source.uri for source in sources if source.name == "debian"), None)
    if archive is None:
        return None
    lines = [f"deb {archive} {codename} main"]
    if codename == UNSTABLE:
        return f"{lines[0]}\n"
    lines.append(f"deb {archive} {codename}-updates main")
    security = next((source.uri for source in sources if source.name == "debian-security"), None)
    if security:
        lines.append(f"deb {security} {codename}-security main")
    return "".join(f"{line}\n" for line in lines)


def host_options() -> str:
    """Return the lines of the host's apt configuration that also apply to image builds.

    They may contain a proxy's password: pass them in a file, not on a command line.
    """
    apt_config = find("apt-config")
    if apt_config is None:
        return ""
    dump = subprocess.run([str(apt_config), "dump", *PASSED_ON], capture_output=True, text=True, check=False)
    return "".join(f"{line}\n" for line in dump.stdout.splitlines() if not line.endswith('"";'))


def _sources(directory: Path) -> Iterator[Source]:
    for path in [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*.list"))]:
        yield from _one_line_sources(_text(path))
    for path in sorted((directory / "sources.list.d").glob("*.sources")):
        yield from _deb822_sources(_text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # a missing or unreadable file names no usable mirror
        return ""


def _one_line_sources(text: str) -> Iterator[Source]:
    """Parse lines such as "deb [signed-by=KEYS] URI SUITE COMPONENT..."; see sources.list(5)."""
    for line in text.splitlines():
        entry = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+\S+\s+([^#]*)", line)
        if entry:
            signed_by = re.search(r"signed-by=(\S+)", entry.group(1) or "")
            yield Source(entry.group(2), tuple(entry.group(3).split()), signed_by.group(1) if signed_by else "")


def _deb822_sources(text: str) -> Iterator[Source]:
    """Parse paragraphs of "Key: value" lines; see sources.list(5)."""
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", without_comments):
        fields = {
            match.group(1).lower(): " ".join(match.group(2).split())
            for match in re.finditer(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            yield Source(uri, tuple(fields.get("components", "").split()), fields.get("signed-by", ""))
