"""cloud-init finishes without problems."""

import json
import re
from typing import Any

from pycloudlib.validation.facts import NOT_FOUND, Facts
from pycloudlib.validation.verdicts import check, fail, listed, not_applicable

ENTRY = re.compile(r"\[(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\]: ")

KNOWN_WARNINGS = {
    r"resulted in stderr output: ifup: interface \S+ already configured": (
        "Debian's own images: cloud-init asks ifupdown for the interface that udev has brought up a moment before"
    ),
}
"""Warnings that do not concern the image, with the reasons."""


def has_cloud_init(facts: Facts) -> None:
    """Skip the check if the image has no cloud-init."""
    if facts.answer("cloud_init_version").status == NOT_FOUND:
        not_applicable("the image has no cloud-init")


def result(facts: Facts) -> dict[str, Any]:
    """Return the record of cloud-init's final stage."""
    has_cloud_init(facts)
    try:
        document: dict[str, Any] = json.loads(facts.text("cloud_init_result"))["v1"]
    except (ValueError, KeyError, TypeError):
        not_applicable("cloud-init has not finished")
    return document


def status(facts: Facts) -> str:
    """Return the status word of `cloud-init status`."""
    has_cloud_init(facts)
    match = re.search(r"^\.*status: (.+)$", facts.text("cloud_init_status"), re.MULTILINE)
    return match.group(1).strip() if match else facts.text("cloud_init_status") or "nothing"


@check(
    reason="An instance is not configured until cloud-init has finished.",
    remedy="Run `cloud-init status --long` to see the stage that hangs, and `systemctl list-jobs` to see what it "
    "waits for. If cloud-init is disabled, remove /etc/cloud/cloud-init.disabled, and cloud-init=disabled "
    "from the kernel's command line.",
)
def test_cloud_init_ends(facts: Facts) -> None:
    """cloud-init ran and finished."""
    reported = status(facts)
    # The next check judges its result.
    if not reported.startswith(("done", "error", "degraded")):
        fail(f"cloud-init's status is: {reported}")


@check(
    reason="Each error or warning means that something is missing on every instance, such as a user, a key, a "
    "mount, or a package.",
    remedy="Read /var/log/cloud-init.log at the lines shown. Correct the configuration in /etc/cloud, or disable "
    "the module.",
)
def test_no_errors_or_warnings(facts: Facts) -> None:
    """cloud-init finished without errors, and without warnings in its log."""
    errors = [str(error) for error in result(facts).get("errors", [])]
    known = re.compile("|".join(KNOWN_WARNINGS))
    logged = [line for line in facts.lines("cloud_init_problems") if ENTRY.search(line) and not known.search(line)]
    if errors or logged:
        fail(f"cloud-init reported errors or warnings:\n{listed([*errors, *logged])}")


@check(
    reason="cloud-init can catch an exception without reporting it, and leave a step incomplete.",
    remedy="Read the traceback in /var/log/cloud-init.log or /var/log/cloud-init-output.log, and fix its cause.",
)
def test_no_tracebacks(facts: Facts) -> None:
    """cloud-init's logs have no tracebacks, apart from those of warnings and errors, see test_no_errors_or_warnings."""
    has_cloud_init(facts)
    tracebacks = [block for block in blocks(facts.text("cloud_init_tracebacks")) if not is_reported(block)]
    if tracebacks:
        fail("cloud-init caught an exception:\n" + "\n".join(listed(block, limit=24) for block in tracebacks[:3]))


def blocks(text: str) -> list[list[str]]:
    """Return grep's matches: each traceback with its context."""
    return [block.splitlines() for block in re.split(r"^--$", text, flags=re.MULTILINE) if "Traceback" in block]


def is_reported(block: list[str]) -> bool:
    """Return whether the context of a traceback contains the warning or error that it belongs to."""
    before = block[: next(number for number, line in enumerate(block) if "Traceback" in line)]
    return any(entry["level"] not in ("DEBUG", "INFO") for entry in map(ENTRY.search, before) if entry)


@check(
    reason="With another data source, the instance gets the key, the host name, and the user data late or not at all.",
    remedy="Include Ec2 in datasource_list in /etc/cloud/cloud.cfg.d, or remove the datasource_list that "
    "excludes it. See /run/cloud-init/ds-identify.log.",
)
def test_data_source_is_ec2(facts: Facts) -> None:
    """cloud-init found EC2's metadata."""
    data_source = result(facts).get("datasource") or "none"
    if not str(data_source).startswith("DataSourceEc2"):
        fail(f"cloud-init's data source is {data_source}")


@check(
    reason="cloud-init ignores invalid parts, mostly without a message.",
    remedy="Run `cloud-init schema --system --annotate` to see the invalid lines in /etc/cloud, the vendor data, "
    "or the user data.",
)
def test_schema_is_valid(facts: Facts) -> None:
    """`cloud-init schema` accepts the user data and the vendor data."""
    has_cloud_init(facts)
    answer = facts.answer("cloud_init_schema")
    if "invalid choice: 'schema'" in answer.text:
        not_applicable(f"{facts.text('cloud_init_version')} has no `schema` command")
    if not answer.ok:
        fail(f"cloud-init found invalid data:\n{listed(answer.lines)}")


@check(
    reason="Without its user data, an instance is not configured; user data that runs twice repeats its effects.",
    remedy="Include scripts-user in cloud_final_modules, and runcmd in cloud_config_modules. Run `cloud-init "
    "clean` before you create the image, to remove the state of its source.",
)
def test_user_data_ran_once(facts: Facts) -> None:
    """The launch's user data ran exactly once."""
    has_cloud_init(facts)
    answer = facts.answer("user_data_runs")
    runs = len(answer.lines) if answer.ok else 0
    if runs != 1:
        fail("the user data did not run" if runs == 0 else f"the user data ran {runs} times")
