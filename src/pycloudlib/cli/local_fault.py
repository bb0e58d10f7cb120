"""`pycloudlib local fault`: network faults of a local EC2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pycloudlib.cli.cloud import json_option
from pycloudlib.cli.command_words import SuggestingGroup
from pycloudlib.cli.examples import examples
from pycloudlib.cli.local_network import name_option, resolve
from pycloudlib.cli.output import print_json
from pycloudlib.errors import ResourceNotFoundError

if TYPE_CHECKING:
    from pycloudlib.local import ServerInfo


@click.group(cls=SuggestingGroup)
def fault() -> None:
    """Cut or disturb the network between machines of a local EC2.

    It needs the namespaces network. A fault ends with `heal`, with its instances, and with the local EC2.
    """


@fault.command(
    epilog=examples(
        "pycloudlib local fault partition web database",
        "pycloudlib local fault partition us-east-1a us-east-1b",
        "pycloudlib local fault partition web all",
    )
)
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@name_option
def partition(one: str, other: str, name: str) -> None:
    """Drop all packets between A and B; print the fault's id.

    A and B are instances (by id, Name tag, or the --tag of their launch), availability zones, or "all" for everything
    else, with the host and the internet.
    """
    from pycloudlib.local.network.faults import CERTAIN, PARTITION

    _put(name, PARTITION, one, other, CERTAIN)


@fault.command(epilog=examples("pycloudlib local fault loss web database 30"))
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.argument("percent", type=click.IntRange(1, 100))
@name_option
def loss(one: str, other: str, percent: int, name: str) -> None:
    """Drop PERCENT of the packets between A and B, in each direction; print the fault's id.

    A and B are as in `partition`.
    """
    from pycloudlib.local.network.faults import LOSS

    _put(name, LOSS, one, other, percent)


@fault.command(epilog=examples("pycloudlib local fault delay us-east-1a us-east-1b 50"))
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.argument("milliseconds", type=click.IntRange(1, 60_000))
@name_option
def delay(one: str, other: str, milliseconds: int, name: str) -> None:
    """Delay the packets between A and B by MILLISECONDS, in each direction; print the fault's id.

    A and B are as in `partition`. It needs a kernel with netem.
    """
    from pycloudlib.local.network.faults import DELAY

    _put(name, DELAY, one, other, milliseconds)


@fault.command(epilog=examples("pycloudlib local fault rate web database 1000"))
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.argument("kbit_per_second", metavar="KBIT_PER_SECOND", type=click.IntRange(8, 10_000_000))
@name_option
def rate(one: str, other: str, kbit_per_second: int, name: str) -> None:
    """Limit the packets between A and B to KBIT_PER_SECOND, in each direction; print the fault's id.

    A and B are as in `partition`. The rate is that of each network interface that receives packets.
    """
    from pycloudlib.local.network.faults import RATE

    _put(name, RATE, one, other, kbit_per_second)


@fault.command("list", epilog=examples("pycloudlib local fault list", "pycloudlib local fault list --json"))
@name_option
@json_option
def list_(name: str, as_json: bool) -> None:
    """List the faults."""
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import fetch_faults

    faults = fetch_faults(require_server(name))
    if as_json:
        print_json([one.to_document() for one in faults])
        return
    for one in faults:
        click.echo(f"{one.fault_id}  {one}")


@fault.command(epilog=examples("pycloudlib local fault heal", "pycloudlib local fault heal fault-0123456789abcdef"))
@click.argument("fault_id", metavar="[ID]", required=False, default="")
@name_option
def heal(fault_id: str, name: str) -> None:
    """Remove the fault with an id, or all; print the ids."""
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import remove_faults

    removed = remove_faults(require_server(name), fault_id)
    if fault_id and not removed:
        raise ResourceNotFoundError(message=f"unknown fault {fault_id!r}: `pycloudlib local fault list` lists them")
    for one in removed:
        click.echo(one)


def _put(name: str, kind: str, one: str, other: str, amount: int) -> None:
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import put_fault
    from pycloudlib.local.network.faults import Fault, new_fault_id

    info = require_server(name)
    fault = Fault(new_fault_id(), kind, (_instance(one, info), _instance(other, info)), amount)
    put_fault(info, fault)
    click.echo(fault.fault_id)


def _instance(text: str, info: ServerInfo) -> str:
    """Return the id of a named instance; other text stays as it is."""
    from pycloudlib.local.documents import fetch_network

    return resolve(text, fetch_network(info), instances_only=True)
