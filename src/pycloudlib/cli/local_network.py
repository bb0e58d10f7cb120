"""`pycloudlib local network` and `pycloudlib local reach`: the network of a local EC2, and reachability in it."""

from __future__ import annotations

import dataclasses
import operator
import re
from typing import TYPE_CHECKING

import click

from pycloudlib.cli.cloud import json_option
from pycloudlib.cli.examples import examples
from pycloudlib.cli.output import print_json
from pycloudlib.errors import LocalEC2Error, ResourceNotFoundError
from pycloudlib.tags import is_timestamped

if TYPE_CHECKING:
    from pycloudlib.local import ServerInfo
    from pycloudlib.local.documents import DescribedNetwork

_TRAFFIC = re.compile(r"(?P<protocol>[A-Za-z0-9]+)(/(?P<port>\d{1,5}))?")
_LAST_PORT = 65535

name_option = click.option("--name", default="default", show_default=True, help="The name of the local EC2.")


@click.command(epilog=examples("pycloudlib local network", "pycloudlib local network --json"))
@name_option
@json_option
def network(name: str, as_json: bool) -> None:
    """Draw the network of a local EC2: VPCs, subnets, instances, routes, and allowed traffic."""
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import fetch_network
    from pycloudlib.local.network.drawing import draw

    info = require_server(name)
    view = fetch_network(info)
    if as_json:
        print_json(view.document)
        return
    if view.topology.vpcs:
        click.echo(draw(view.topology, view.names))
    else:
        click.echo("There is no VPC yet: a region's default VPC is created with the first request there.", err=True)
    _warn(info)


@click.command(
    epilog=examples(
        "pycloudlib local reach web database tcp/5432",
        "pycloudlib local reach i-0123456789abcdef0 internet tcp/443",
        "pycloudlib local reach host 10.0.1.5 icmp",
    )
)
@click.argument("source")
@click.argument("destination")
@click.argument("traffic", metavar="PROTOCOL[/PORT]")
@name_option
@json_option
def reach(source: str, destination: str, traffic: str, name: str, as_json: bool) -> None:
    """Show whether SOURCE can reach DESTINATION, and which rule, ACL, route, gateway, or fault decides.

    SOURCE and DESTINATION are an instance or a network interface (by id, Name tag, or the --tag of its launch), an IP
    address, "internet", or "host" for this machine. The exit status is 1 if SOURCE cannot reach DESTINATION.
    """
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import fetch_faults, fetch_network
    from pycloudlib.local.network.reach import reach as find_reach

    protocol, port = _parse(traffic)
    info = require_server(name)
    view = fetch_network(info)
    source_end, destination_end = (_end(text, view) for text in (source, destination))
    faults = fetch_faults(info) if info.network == "namespaces" else []
    reachability = find_reach(
        view.topology, source_end, destination_end, protocol, port, faults=faults, host_ports=view.host_ports
    )
    if as_json:
        print_json(dataclasses.asdict(reachability))
    else:
        click.echo(f"{'yes' if reachability else 'no'}: {reachability.reason}")
        for step in reachability.path:
            if step != reachability.reason:
                click.echo(f"  {step}")
        _warn(info)
    if not reachability:
        raise click.exceptions.Exit(1)


def _parse(traffic: str) -> tuple[str, int | None]:
    match = _TRAFFIC.fullmatch(traffic)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and port > _LAST_PORT):
        raise click.BadParameter(
            f"invalid traffic {traffic!r}: give tcp/22, udp/53, or icmp", param_hint="PROTOCOL[/PORT]"
        )
    return match["protocol"].lower(), port


def resolve(text: str, network: DescribedNetwork, *, instances_only: bool = False) -> str:
    """Return the id of the instance or interface with a Name tag, or the text itself without one.

    A tag of `pycloudlib launch --tag` stands for the name that it became part of. Instances take precedence, because
    the library gives the interfaces of an instance its name.

    Args:
        text: a name, the tag in a name, or any other text.
        network: the network of the local EC2. Terminated instances have no part in it.
        instances_only: whether to ignore interfaces; default no.
    """
    interfaces = [interface for vpc in network.topology.vpcs.values() for interface in vpc.interfaces.values()]
    kinds = [{candidate.instance_id for candidate in interfaces if candidate.instance_id is not None}]
    if not instances_only:
        kinds.append({candidate.interface_id for candidate in interfaces})
    for is_named in (operator.eq, is_timestamped):
        for ids in kinds:
            found = sorted(candidate for candidate in ids if is_named(network.names.get(candidate, ""), text))
            if len(found) > 1:
                raise LocalEC2Error(f"several resources are named {text!r}: {', '.join(found)}; give an id")
            if found:
                return found[0]
    return text


def _end(text: str, network: DescribedNetwork) -> str:
    """Return an end of a path: the id of an instance or interface, an address, "internet", or "host".

    Raises:
        ResourceNotFoundError: it is none of these.
    """
    from pycloudlib.local.network.reach_ends import is_outside, unknown_end

    end = resolve(text, network)
    if not is_outside(end) and network.topology.find_interface(end) is None:
        raise ResourceNotFoundError(message=unknown_end(end))
    return end


def _warn(info: ServerInfo) -> None:
    """Warn if packets do not follow the recorded network."""
    if info.driver == "simulated":
        click.echo("Machines are simulated: this is the recorded network, without packets.", err=True)
    elif getattr(info, "network", "user") != "namespaces":
        click.echo(
            "Machines have user networking: this is the recorded network, as on AWS. The packets do not follow it: "
            "machines reach the internet, and the host reaches their sshd, but they do not reach each other.",
            err=True,
        )
