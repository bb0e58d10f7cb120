"""The `pycloudlib` command: its groups, and what an error looks like."""

from __future__ import annotations

import logging
import signal
from typing import NoReturn

import click

from pycloudlib.cli import INTERRUPTED
from pycloudlib.cli.local import local
from pycloudlib.errors import PycloudlibError

TERMINATED = 128 + signal.SIGTERM


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pycloudlib-ec2")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, to standard error.")
def root(verbose: bool) -> None:
    """Launch and drive EC2 instances for tests, on AWS or on a local EC2."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, format="%(levelname)s: %(message)s")


root.add_command(local)


def run() -> int:
    """Run the command that the command line names.

    Returns:
        The exit status: 0 for success, 1 for an error, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = root.main(standalone_mode=False)
    except PycloudlibError as error:
        click.echo(f"pycloudlib: {error}", err=True)
        return 1
    except click.exceptions.Abort:
        click.echo("pycloudlib: interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:
        click.echo(f"pycloudlib: {error}", err=True)
        return 1
    except SystemExit as end:
        if end.code == TERMINATED:
            click.echo("pycloudlib: terminated", err=True)
        raise
    return int(status or 0)


def _terminate(number: int, _frame: object) -> NoReturn:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that what was begun is cleaned up; once is enough for that."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(TERMINATED)
