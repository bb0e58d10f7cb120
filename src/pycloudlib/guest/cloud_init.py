"""Wait in the guest until cloud-init finishes, and read its result.

The files in /run/cloud-init and systemd's states of cloud-init's units provide both, in every version since 0.7.9. Use
`cloud-init status` only as a fallback: its options, exit statuses, and texts differ between versions. Up to 23.3, its
`--wait` returns during a later stage if an earlier one reported an error, or never returns if a stage was killed.

See https://docs.cloud-init.io/en/latest/explanation/boot.html and
https://docs.cloud-init.io/en/latest/explanation/return_codes.html
"""

from __future__ import annotations

import json
import logging
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from importlib import resources
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.guest.boot import BOOT_ID_PATH
from pycloudlib.guest.framing import Frame, ask
from pycloudlib.guest.run import Run

logger = logging.getLogger(__name__)

RECOVERABLE_CODE = 2
"""The exit status of `cloud-init status` after recoverable errors, since 23.4."""

STATUS_DIRECTORY = "/run/cloud-init"
"""The directory of status.json and result.json."""

CGROUP_DIRECTORY = "/sys/fs/cgroup"
"""The mount point of the cgroup hierarchies."""

SHUTDOWN_SCHEDULE = "/run/systemd/shutdown/scheduled"
"""systemd's record of `shutdown +5`."""

NOLOGIN = "/run/nologin"
"""The file with which systemd and logind reject logins during startup and shutdown."""

PENDING_LOOKS = 240
"""Polls, four per second, during which a process that outlives the final stage may still change the power state."""

SETTLING_LOOKS = 24
"""Polls, four per second, during which systemd may not have started the reboot that cloud-init requested. logind
delays it up to 5 s for inhibitors (InhibitDelayMaxSec in logind.conf(5))."""

ENDING_LOOKS = 6
"""Polls during which a reboot may be invisible after cloud-init finished: its own process has exited, and systemd has
not started the reboot."""

UNCLEAR_LOOKS = 15
"""Responses of `cloud-init status` without a status, one every two seconds, after which it counts as not running."""

LONGEST_WAIT = 86_400
"""Seconds after which the script in the guest exits without a deadline, since nobody may be waiting anymore."""

# From the last stage to the first. cloud-init 24.3 renamed cloud-init.service to cloud-init-network.service, and runs
# all stages in one process, cloud-init-main.service.
UNITS = (
    "cloud-final.service",
    "cloud-config.service",
    "cloud-init-network.service",
    "cloud-init.service",
    "cloud-init-local.service",
    "cloud-init-main.service",
)

SCRIPT = "wait_for_cloud_init.sh"


class CloudInitVerdict(Enum):
    """The ways in which cloud-init finishes."""

    DONE = "done"
    RECOVERABLE = "done, with recoverable errors"
    ERROR = "error"
    ABSENT = "not installed, or disabled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class CloudInitOutcome:
    """The result of cloud-init.

    Args:
        verdict: the way in which it finished.
        text: its errors and warnings, on one line; default none.
        boot_id: the boot id at the end; empty if the guest has none.
    """

    verdict: CloudInitVerdict
    text: str = ""
    boot_id: str = field(default="", compare=False)


def wait_for_cloud_init(
    run: Run, *, deadline: Deadline, on_progress: Callable[[str], None] | None = None
) -> CloudInitOutcome:
    """Wait in the guest until cloud-init finishes and no reboot is imminent.

    If cloud-init is not installed or is disabled, wait until systemd has started the system.

    Args:
        run: runs a command in the guest.
        deadline: when to give up.
        on_progress: called with one line whenever the awaited stage changes; default none.

    Returns:
        The result: no unit of cloud-init is starting or about to start, and the result file is written.

    Raises:
        CommandTimeoutError: cloud-init did not finish in time.
        LoginShellError: the login shell does not run commands.
        SSHError: the connection failed or was lost.
    """
    frame = Frame(on_progress)
    result = run(
        frame.script(_script(deadline)),
        timeout=deadline.timeout,
        description="wait for cloud-init",
        on_output=frame.feed,
    )
    output = frame.answer(result)
    if not frame.is_complete:
        # The guest is shutting down, or systemd restarts the session's unit.
        return CloudInitOutcome(CloudInitVerdict.INTERRUPTED, output.stderr)
    ending = _Ending.parse(output)
    return replace(_outcome(ending, run, deadline), boot_id=ending.boot_id)


def _script(deadline: Deadline) -> str:
    variables = {
        "directory": STATUS_DIRECTORY,
        "cgroups": CGROUP_DIRECTORY,
        "boot_id": BOOT_ID_PATH,
        "schedule": SHUTDOWN_SCHEDULE,
        "nologin": NOLOGIN,
        "units": " ".join(UNITS),
        "seconds": math.ceil(min(deadline.remaining, LONGEST_WAIT)),
        "pending_looks": PENDING_LOOKS,
        "settling_looks": SETTLING_LOOKS,
        "ending_looks": ENDING_LOOKS,
        "unclear_looks": UNCLEAR_LOOKS,
    }
    assignments = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in variables.items())
    return assignments + _program()


@cache
def _program() -> str:
    """Return the script without comments, which would take time to quote and to send."""
    lines = resources.files("pycloudlib.guest").joinpath(SCRIPT).read_text().splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


@dataclass(frozen=True)
class _Ending:
    """The guest's report on the end of cloud-init.

    Args:
        how: "finished"; "idle" if cloud-init does not run and left no result; "stopping" during a shutdown.
        boot_id: the boot id.
        failed: the failed units of cloud-init.
        cli_status: the result of `cloud-init status`; None if it was not run.
        status: the contents of status.json; None if it is missing or damaged.
        result: the contents of result.json; None if it is missing or damaged.
    """

    how: str
    boot_id: str
    failed: tuple[str, ...]
    cli_status: _Status | None
    status: Mapping[str, Any] | None
    result: Mapping[str, Any] | None

    @classmethod
    def parse(cls, output: str) -> _Ending:
        """Parse the sections of the script's output."""
        pieces = re.split(r"^=(how|boot|failed|code|said|status|result)$", output, flags=re.MULTILINE)
        sections = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
        code = sections.get("code", "")
        return cls(
            how=sections.get("how", ""),
            boot_id=sections.get("boot", ""),
            failed=tuple(sections.get("failed", "").split()),
            cli_status=_Status(int(code), sections.get("said", "")) if code else None,
            status=_document(sections.get("status", "")),
            result=_document(sections.get("result", "")),
        )

    @property
    def has_result(self) -> bool:
        """Whether result.json exists, even if it is damaged."""
        return self.how == "finished" or self.result is not None

    @property
    def errors(self) -> list[str]:
        """cloud-init's errors, in the order of its stages."""
        reported = [error for stage in self._stages.values() for error in _texts(stage.get("errors"))]
        return list(dict.fromkeys([*reported, *_texts((self.result or {}).get("errors"))]))

    @property
    def warnings(self) -> list[str]:
        """The recoverable errors, each with its level."""
        levels = [stage.get("recoverable_errors") for stage in self._stages.values()]
        return [
            f"{level}: {text}"
            for messages in levels
            if isinstance(messages, Mapping)
            for level, texts in messages.items()
            for text in _texts(texts)
        ]

    @property
    def unfinished(self) -> list[str]:
        """The stages that started and did not finish, because they were killed."""
        return [
            name
            for name, stage in self._stages.items()
            if stage.get("start") is not None and stage.get("finished") is None
        ]

    @property
    def problems(self) -> list[str]:
        """The errors that make the result an error."""
        problems = self.errors or [f"its stage {stage} did not end" for stage in self.unfinished]
        if not self.has_result and not problems:
            problems = ["it ended without a result"]
        # A unit may fail for other reasons than cloud-init, such as a distribution's own command in it.
        is_done = self.has_result and self.cli_status is not None and self.cli_status.word == "done"
        return problems if is_done else [*problems, *(f"{unit} failed" for unit in self.failed)]

    @property
    def _stages(self) -> dict[str, Mapping[str, Any]]:
        return {name: stage for name, stage in (self.status or {}).items() if isinstance(stage, Mapping)}


@dataclass(frozen=True)
class _Status:
    """The result of `cloud-init status --long`.

    Args:
        code: the exit status. 2 means recoverable errors since 23.4, and wrong usage in versions without `status`.
        text: both output streams.
    """

    code: int
    text: str

    @property
    def word(self) -> str:
        """The status; empty for a usage message or a traceback."""
        match = re.search(r"^\.*status: *(.+)$", self.text, re.MULTILINE)
        return match[1].strip() if match else ""

    @property
    def line(self) -> str:
        """The text on one line."""
        return " ".join(self.text.lstrip(". \n").split())


def _outcome(ending: _Ending, run: Run, deadline: Deadline) -> CloudInitOutcome:
    if not ending.how:
        return CloudInitOutcome(CloudInitVerdict.INTERRUPTED)
    if ending.how == "stopping" and ending.problems:
        # A stage that the shutdown killed reports an error.
        return CloudInitOutcome(CloudInitVerdict.INTERRUPTED, "the guest is shutting down")
    if ending.status is None and ending.result is None:
        return _outcome_without_files(ending.cli_status or _ask_status(run, deadline), ending.failed)
    if problems := ending.problems:
        return CloudInitOutcome(CloudInitVerdict.ERROR, "; ".join(problems))
    if ending.warnings:
        return CloudInitOutcome(CloudInitVerdict.RECOVERABLE, "; ".join(ending.warnings))
    return CloudInitOutcome(CloudInitVerdict.DONE)


def _outcome_without_files(status: _Status, failed: tuple[str, ...]) -> CloudInitOutcome:
    if status.word == "error" or failed:
        units = [f"{unit} failed" for unit in failed]
        return CloudInitOutcome(CloudInitVerdict.ERROR, "; ".join([*units, status.line]))
    if status.word == "done":
        if status.code == RECOVERABLE_CODE:
            return CloudInitOutcome(CloudInitVerdict.RECOVERABLE, status.line)
        return CloudInitOutcome(CloudInitVerdict.DONE)
    logger.debug("cloud-init does not run in the guest: %s", status.line)
    return CloudInitOutcome(CloudInitVerdict.ABSENT, status.word)


def _ask_status(run: Run, deadline: Deadline) -> _Status:
    result = ask(
        run, "cloud-init status --long 2>&1", timeout=deadline.remaining, description="ask for cloud-init status"
    )
    return _Status(result.return_code, result.stdout)


def _document(text: str) -> Mapping[str, Any] | None:
    try:
        document: object = json.loads(text)["v1"]
    except (ValueError, KeyError, TypeError):
        return None
    return document if isinstance(document, Mapping) else None


def _texts(value: object) -> Iterator[str]:
    """Yield the errors in a list, each on one line."""
    for item in value if isinstance(value, list) else []:
        yield " ".join(str(item).split())
