"""`pycloudlib doctor`: the configuration with its origins, and missing requirements."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from pycloudlib.cli.cloud import Cloud, cloud_options, json_option, key_option
from pycloudlib.cli.diagnosis import Check, Diagnosis, SettingOrigin, State, diagnose
from pycloudlib.cli.examples import examples
from pycloudlib.cli.exit_statuses import FAILED
from pycloudlib.cli.output import print_json
from pycloudlib.cli.progress import step

_STYLES = {State.OK: "green", State.NOTE: "yellow", State.MISSING: "red"}


@click.command(epilog=examples("pycloudlib doctor", "pycloudlib doctor --local", "pycloudlib doctor --json"))
@key_option
@json_option
@cloud_options
def doctor(*, cloud: Cloud, key: Path | None, as_json: bool) -> int:
    """Show the configuration with its origins, and what is missing.

    With the same options, it checks what `pycloudlib launch` would use. The exit status is 0 if a launch can succeed,
    or else 1. With --local, a local EC2 need not be running. Secrets are not shown.
    """
    with step("checking the requirements"):
        diagnosis = diagnose(cloud, key)
    if as_json:
        checks = [{**asdict(item), "state": item.state.value} for item in diagnosis.checks]
        print_json(
            {"ready": diagnosis.is_ready, "checks": checks, "settings": [asdict(item) for item in diagnosis.settings]}
        )
    else:
        _print(diagnosis.checks, diagnosis.settings)
        click.echo(_conclusion(diagnosis))
    return 0 if diagnosis.is_ready else FAILED


def _conclusion(diagnosis: Diagnosis) -> str:
    if diagnosis.is_ready and diagnosis.needs_start:
        return "Ready to start a local EC2: pycloudlib local start"
    if diagnosis.is_ready:
        return "Ready to launch an instance."
    conclusion = "Not ready to launch an instance: see the missing items above."
    missing = {check.name for check in diagnosis.checks if check.state is State.MISSING}
    if missing.isdisjoint({"region", "credentials"}):
        return conclusion
    return f"{conclusion}\nThe local EC2 needs neither a region nor credentials: pycloudlib doctor --local"


def _print(checks: Sequence[Check], settings: Sequence[SettingOrigin]) -> None:
    width = max(len(item.name) for item in checks)
    # click omits colors without a terminal; NO_COLOR is not its concern.
    for item in checks:
        state = f"{item.state.value:<7}"
        click.echo(f"{_coloured(state, item.state)}  {item.name:<{width}}  {item.found}")
        if item.remedy:
            click.echo(f"{'':7}  {'':<{width}}  -> {item.remedy}")
    if not settings:
        return
    click.echo("\nSettings")
    width = max(len(item.key) for item in settings)
    values = max(len(item.value) for item in settings)
    for setting in settings:
        click.echo(f"  {setting.key:<{width}}  {setting.value:<{values}}  {setting.origin}")


def _coloured(text: str, state: State) -> str:
    import os

    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return click.style(text, fg=_STYLES[state])
