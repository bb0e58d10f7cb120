"""`pycloudlib local fault`: network faults of a local EC2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pycloudlib.cli.cloud import json_option
from pycloudlib.cli.examples import examples
from pycloudlib.cli.local_network import name_option, resolve
from pycloudlib.cli.output import print_json
from pycloudlib.cli.parsing import SuggestingGroup
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
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@name_option
def partition(first: str, second: str, name: str) -> None:
    """Drop all packets between A and B; print the fault's id.

    A and B are instances (by id, Name tag, or the --tag of their launch), availability zones, or "all" for everything
    else, with the host and the internet.
    """
    from pycloudlib.local.network.faults import CERTAIN, PARTITION

    _put(name, PARTITION, first, second, CERTAIN)


@fault.command(epilog=examples("pycloudlib local fault loss web database 30"))
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("percent", type=click.IntRange(1, 100))
@name_option
def loss(first: str, second: str, percent: int, name: str) -> None:
    """Drop PERCENT of the packets between A and B, in each direction; print the fault's id.

    A and B are as in `partition`.
    """
    from pycloudlib.local.network.faults import LOSS

    _put(name, LOSS, first, second, percent)


@fault.command(epilog=examples("pycloudlib local fault delay us-east-1a us-east-1b 50"))
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("milliseconds", type=click.IntRange(1, 60_000))
@name_option
def delay(first: str, second: str, milliseconds: int, name: str) -> None:
    """Delay the packets between A and B by MILLISECONDS, in each direction; print the fault's id.

    A and B are as in `partition`. It needs a kernel with netem.
    """
    from pycloudlib.local.network.faults import DELAY

    _put(name, DELAY, first, second, milliseconds)


@fault.command(epilog=examples("pycloudlib local fault rate web database 1000"))
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("kbit_per_second", metavar="KBIT_PER_SECOND", type=click.IntRange(8, 10_000_000))
@name_option
def rate(first: str, second: str, kbit_per_second: int, name: str) -> None:
    """Limit the packets between A and B to KBIT_PER_SECOND, in each direction; print the fault's id.

    A and B are as in `partition`. The rate is that of each network interface that receives packets.
    """
    from pycloudlib.local.network.faults import RATE

    _put(name, RATE, first, second, kbit_per_second)


@fault.command("list", epilog=examples("pycloudlib local fault list", "pycloudlib local fault list --json"))
@name_option
@json_option
def list_(name: str, as_json: bool) -> None:
    """List the faults."""
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import fetch_faults

    faults = fetch_faults(require_server(name))
    if as_json:
        print_json([listed.to_document() for listed in faults])
        return
    for listed in faults:
        click.echo(f"{listed.fault_id}  {listed}")


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
    for removed_id in removed:
        click.echo(removed_id)


def _put(name: str, kind: str, first: str, second: str, amount: int) -> None:
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import put_fault
    from pycloudlib.local.network.faults import Fault, new_fault_id

    info = require_server(name)
    fault = Fault(new_fault_id(), kind, (_end(first, info), _end(second, info)), amount)
    put_fault(info, fault)
    click.echo(fault.fault_id)


def _end(text: str, info: ServerInfo) -> str:
    """Return the id of an instance, or any other end of a fault.

    Raises:
        ResourceNotFoundError: it does not exist.
    """
    from pycloudlib.local.documents import fetch_network
    from pycloudlib.local.network.faults import ALL, all_places, unknown_end

    network = fetch_network(info)
    end = resolve(text, network, instances_only=True)
    if end != ALL and end not in all_places(network.topology):
        raise ResourceNotFoundError(message=unknown_end(end))
    return end
