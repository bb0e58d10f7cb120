"""`pycloudlib local capture`: the packets of an instance of a local EC2."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pycloudlib.cli.examples import examples
from pycloudlib.cli.files import check_writing
from pycloudlib.cli.local_network import name_option, resolve
from pycloudlib.errors import LocalEC2Error
from pycloudlib.interrupts import Terminated

STDOUT = "-"


@click.command(
    epilog=examples(
        "pycloudlib local capture web web.pcap",
        "pycloudlib local capture --seconds 10 i-0123456789abcdef0 web.pcap",
        "pycloudlib local capture web - | tcpdump -n -r -",
    )
)
@click.argument("instance")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after this many seconds; default: on Ctrl-C.")
@name_option
def capture(instance: str, file: str, seconds: float | None, name: str) -> None:
    """Write the packets of INSTANCE to FILE in pcap format, until Ctrl-C.

    INSTANCE is an instance, whose primary interface is meant, or a network interface, by id, Name tag, or the --tag of
    its launch. FILE is replaced if it exists; "-" is the standard output. The capture ends with the machine, too. It
    needs the namespaces network.
    """
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import fetch_network, fetch_tap
    from pycloudlib.local.network.namespaces.capture import capturing

    check_writing([None if file == STDOUT else Path(file)])
    info = require_server(name)
    tap = fetch_tap(info, resolve(instance, fetch_network(info)))
    with _opened(file) as output, capturing(tap, output) as running:
        try:
            click.echo(f"capturing packets of {instance}; press Ctrl-C to stop", err=True)
            running.wait(seconds)
        except Terminated:
            raise
        except KeyboardInterrupt:
            click.echo(err=True)
        captured = running.stop()
    click.echo(f"captured {captured.packets} packets; {captured.dropped} were dropped", err=True)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[int]:
    """Open the output for the duration of a context; its value is a file descriptor."""
    if file == STDOUT:
        if sys.stdout.isatty():
            raise LocalEC2Error("standard output is a terminal: name a file, or pipe it into a program")
        yield sys.stdout.fileno()
        return
    try:
        opened = Path(file).open("wb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise LocalEC2Error(f"cannot write {file}: {error.strerror}") from error
    with opened:
        yield opened.fileno()
