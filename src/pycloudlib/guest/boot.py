"""What is asked of the guest about its boot: which one it is, and whether cloud-init is done with it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from pycloudlib.result import Result

logger = logging.getLogger(__name__)

BOOT_ID_TIMEOUT = 10.0
"""Seconds; a guest that is going down may take the question and never answer it."""

COMMAND_NOT_FOUND = 127

# cloud-init status: https://docs.cloud-init.io/en/latest/explanation/return_codes.html
CLOUD_INIT_ERROR = 1
CLOUD_INIT_RECOVERABLE = 2

STATUS_DIRECTORY = "/run/cloud-init"
"""Where cloud-init writes how far it is, and what went wrong in each stage."""

_UNITS = '"cloud-init*.service" cloud-config.service cloud-final.service'
_ASK = "cloud-init status --wait --long"
_WRITTEN = "written:"

# A `cloud-init status` is a Python that loads cloud-init, beside the boot that is waited for: on a slow machine it cost
# a tenth of that boot. The files that it would read tell a clean end just as well. What else there is to tell, such as
# errors, a unit that failed, or that there is nothing to wait for, it is left to tell.
_WAIT = """\
looks=0
while [ -e {directory}/enabled ]; do
    if [ -e {directory}/result.json ]; then
        case $(systemctl show --property ActiveState --value {units} 2>/dev/null) in
            *activating*) ;;
            *failed*) break ;;
            *) echo {written}; exec cat {directory}/status.json ;;
        esac
    else
        looks=$((looks + 1))
        [ $((looks % 8)) -ne 0 ] || ! systemctl --quiet is-failed {units} 2>/dev/null || break
    fi
    sleep 0.25
done
exec {ask}
"""


class Run(Protocol):
    """Something that runs a command in the guest, in `sh -c`."""

    def __call__(self, command: str, *, timeout: float | None = None) -> Result:
        """Run it, and give up after `timeout` seconds."""


class CloudInitVerdict(Enum):
    """How cloud-init ended."""

    DONE = "done"
    RECOVERABLE = "done, with recoverable errors"
    ERROR = "error"
    ABSENT = "not installed"
    INTERRUPTED = "interrupted before it could tell"


@dataclass(frozen=True)
class CloudInitOutcome:
    """How cloud-init ended, and what it says about it.

    Args:
        verdict: how it ended.
        text: cloud-init's own words; empty when it has nothing to report.
    """

    verdict: CloudInitVerdict
    text: str = ""


def boot_id(run: Run) -> str:
    """Ask which boot this is: the kernel draws a new id at each (proc(5), /proc/sys/kernel/random/boot_id).

    Args:
        run: runs a command in the guest.

    Raises:
        CommandError: the guest has no such file.
        SSHError: the guest could not be asked.
    """
    return run("cat /proc/sys/kernel/random/boot_id", timeout=BOOT_ID_TIMEOUT).check().stdout


def wait_for_cloud_init(run: Run, *, timeout: float) -> CloudInitOutcome:
    """Wait in the guest until cloud-init has ended; in a guest without it, until systemd has booted the system.

    Args:
        run: runs a command in the guest.
        timeout: seconds.

    Raises:
        CommandTimeoutError: it did not end in time.
        SSHError: the guest could not be asked, or went away meanwhile.
    """
    wait = _WAIT.format(directory=STATUS_DIRECTORY, units=_UNITS, written=_WRITTEN, ask=_ASK)
    status = run(wait, timeout=timeout)
    if status.stdout.startswith(_WRITTEN):
        if _is_clean_end(status.stdout.removeprefix(_WRITTEN)):
            return CloudInitOutcome(CloudInitVerdict.DONE)
        status = run(_ASK, timeout=timeout)
    if status.return_code == COMMAND_NOT_FOUND:
        return _wait_for_systemd(run, timeout=timeout)
    text = _without_progress(status.stdout) or status.stderr
    if status.ok:
        return CloudInitOutcome(CloudInitVerdict.DONE)
    if status.return_code == CLOUD_INIT_RECOVERABLE:
        return CloudInitOutcome(CloudInitVerdict.RECOVERABLE, text)
    if status.return_code == CLOUD_INIT_ERROR:
        return CloudInitOutcome(CloudInitVerdict.ERROR, _errors(run) or text)
    # Ended by a signal: the guest is going down, or systemd restarts what the question ran under.
    return CloudInitOutcome(CloudInitVerdict.INTERRUPTED, text)


def _is_clean_end(written: str) -> bool:
    """Tell whether a status.json says that all stages have come to their end, without anything to report."""
    try:
        document: Any = json.loads(written)["v1"]
        stages = [told for told in document.values() if isinstance(told, dict)]
        final = document["modules-final"]["finished"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    begun = [stage for stage in stages if stage.get("start")]
    reported = [stage for stage in stages if stage.get("errors") or stage.get("recoverable_errors")]
    return bool(final) and document.get("stage") is None and not reported and all(map(_has_finished, begun))


def _has_finished(stage: dict[str, Any]) -> bool:
    return bool(stage.get("finished"))


def _wait_for_systemd(run: Run, *, timeout: float) -> CloudInitOutcome:
    booted = run("systemctl is-system-running --wait", timeout=timeout)
    if booted.return_code not in (0, 1, COMMAND_NOT_FOUND):
        return CloudInitOutcome(CloudInitVerdict.INTERRUPTED, booted.stderr)
    # Anything but "running" is at most a unit that failed, which is the image's own affair.
    logger.debug("the guest has no cloud-init; systemd says: %s", booted.stdout or booted.stderr)
    return CloudInitOutcome(CloudInitVerdict.ABSENT, booted.stdout)


def _errors(run: Run) -> str:
    """What the final stage wrote down: the texts themselves, without the rest of the status."""
    written = run("cat /run/cloud-init/result.json", timeout=BOOT_ID_TIMEOUT)
    if written.failed:
        return ""
    try:
        document: Any = json.loads(written.stdout)
        return "; ".join(map(str, document["v1"]["errors"]))
    except (ValueError, KeyError, TypeError):
        return ""


def _without_progress(text: str) -> str:
    """`--wait` prints a dot for each look that it takes."""
    return text.lstrip(". \n")
