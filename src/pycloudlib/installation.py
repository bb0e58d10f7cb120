"""The pip command that installs extras of this package from the origin of the package itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "pycloudlib-ec2"


def install_extras(*extras: str) -> str:
    """Return the pip command that installs extras of this package.

    A package that was installed from a clone, a file, or a URL may not be in a registry, so install its extras from the
    same origin.

    Args:
        *extras: the names of the extras, such as "local".

    Returns:
        A command for a shell, such as "pip install 'pycloudlib-ec2[local]'".
    """
    return install_command(_origin(), extras)


def install_command(origin: Mapping[str, Any], extras: tuple[str, ...]) -> str:
    """Return the pip command that installs extras of a package with this origin.

    Args:
        origin: the contents of the package's direct_url.json (PEP 610); empty for a package from a registry.
        extras: the names of the extras.
    """
    listed = f"[{','.join(extras)}]"
    url = str(origin.get("url", ""))
    parts = urlsplit(url)
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        if path.exists():
            is_editable = origin.get("dir_info", {}).get("editable", False)
            return f"pip install {'--editable ' if is_editable else ''}{shlex.quote(f'{path}{listed}')}"
    elif url:
        vcs = origin.get("vcs_info", {})
        location = f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
        return f"pip install {shlex.quote(f'{DISTRIBUTION}{listed} @ {location}')}"
    return f"pip install {shlex.quote(f'{DISTRIBUTION}{listed}')}"


def _origin() -> Mapping[str, Any]:
    with suppress(PackageNotFoundError, ValueError):
        direct_url = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
        return direct_url if isinstance(direct_url, dict) else {}
    return {}
