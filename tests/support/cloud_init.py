"""Stand-ins for the program `cloud-init`, with the texts and exit statuses of its versions, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STAGE: dict[str, Any] = {"errors": [], "start": 1.0, "finished": 2.0}
"""A stage that ended well."""

NOT_BEGUN: dict[str, Any] = {"errors": [], "start": None, "finished": None}
KILLED: dict[str, Any] = {"errors": [], "start": 1.0, "finished": None}

STAGES: dict[str, Any] = {
    "datasource": "DataSourceEc2Local",
    "stage": None,
    "init-local": STAGE,
    "init": STAGE,
    "modules-config": STAGE,
    "modules-final": STAGE,
}

NO_SUBCOMMAND = """\
cat >&2 <<END
usage: /usr/bin/cloud-init [-h] [--version] [--file FILES] [--debug] [--force]
                           {init,modules,query,single,dhclient-hook} ...
/usr/bin/cloud-init: error: argument subcommand: invalid choice: 'status' (choose from 'init', 'modules', 'query')
END
exit 2"""
"""Up to 17.1, there is no `status`."""


def status(word: str, *, code: int = 0, long: str = "") -> str:
    """Return the script of a `cloud-init` whose status is that word, with more text under `--long`."""
    return f"echo 'status: {word}'\n[ -z '{long}' ] || printf '%b\\n' '{long}'\nexit {code}"


STATUS_18_TO_23 = status("error", code=1, long="time: Thu, 01 Jan 1970 00:00:20 +0000\\ndetail:\\nno such module")
STATUS_24_RECOVERABLE = status(
    "done", code=2, long="extended_status: degraded done\\nrecoverable_errors:\\nWARNING:\\n\\t- a key is deprecated"
)
STATUS_DISABLED = status("disabled", long="detail:\\nCloud-init disabled by cloud-init-generator")


def write_status(directory: Path, **stages: object) -> None:
    """Write status.json: by default, every stage has ended well."""
    (directory / "enabled").touch()
    _replace(directory / "status.json", json.dumps({"v1": STAGES | stages}))


def write_result(directory: Path, *errors: str) -> None:
    """Write result.json, the last thing that cloud-init does."""
    _replace(directory / "result.json", json.dumps({"v1": {"datasource": "DataSourceEc2Local", "errors": errors}}))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_text(text)
    partial.replace(path)
