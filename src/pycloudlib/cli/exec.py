"""`pycloudlib exec`: a command on one or several instances."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from pycloudlib.cli.cloud import Login, json_option, login_options
from pycloudlib.cli.durations import as_seconds
from pycloudlib.cli.examples import examples
from pycloudlib.cli.exit_statuses import FAILED
from pycloudlib.cli.guest_command import collect_from, run_in
from pycloudlib.cli.output import print_json
from pycloudlib.cli.parsing import TakesCommand, instance_ids


@click.command(
    "exec",
    cls=TakesCommand,
    epilog=examples(
        "pycloudlib exec i-0123456789abcdef0 -- uname -r",
        "pycloudlib exec --sudo i-0123456789abcdef0 -- 'dmesg | tail -n 20'",
        "pycloudlib exec --timeout 5m i-0123456789abcdef0 i-0fedcba9876543210 -- cloud-init status --wait",
    ),
)
@click.argument("ids", metavar="INSTANCE...", nargs=-1, required=True, callback=instance_ids)
@click.option("--sudo", "use_sudo", is_flag=True, help="Run the whole command as root.")
@click.option("--timeout", metavar="DURATION", callback=as_seconds, help="Give up after this long, such as 30s or 5m.")
@click.option("-i", "--stdin", "with_stdin", is_flag=True, help="Pass standard input to the command.")
@json_option
@login_options
def exec_(
    *,
    login: Login,
    ids: Sequence[str],
    command: Sequence[str],
    use_sudo: bool,
    timeout: float | None,
    with_stdin: bool,
    as_json: bool,
) -> int:
    """Run a command on one or several instances.

    The output is printed as it arrives.

    A COMMAND of one word is a line for the guest's shell. Several words are a program and its arguments, which are
    passed literally.

    With one instance, the exit status is the command's, 255 if the connection fails, or 124 after a timeout. With
    several, each line starts with the instance's id. The exit status is then 0 if the command's status is 0 on all, or
    else 1.
    """
    ec2 = login.open()
    instances = [ec2.get_instance(item, username=login.username) for item in ids]
    stdin = sys.stdin.buffer.read() if with_stdin else None
    if not as_json:
        return run_in(instances, command, use_sudo=use_sudo, timeout=timeout, stdin=stdin)
    outcome = collect_from(instances, command, use_sudo=use_sudo, timeout=timeout, stdin=stdin)
    print_json(outcome)
    return FAILED if any(item["exit_status"] != 0 for item in outcome) else 0
