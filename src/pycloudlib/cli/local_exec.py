"""`pycloudlib local exec`: a command inside a VPC of a local EC2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from pycloudlib.cli.examples import examples
from pycloudlib.cli.exec_replace import exec_replace
from pycloudlib.cli.local_network import name_option
from pycloudlib.cli.parsing import TakesCommand
from pycloudlib.errors import LocalEC2Error, ResourceNotFoundError

if TYPE_CHECKING:
    from pycloudlib.local import ServerInfo

VPC_PREFIX = "vpc-"


@click.command(
    "exec",
    cls=TakesCommand,
    epilog=examples(
        "pycloudlib local exec -- pytest",
        "pycloudlib local exec --vpc lab -- curl http://10.0.1.5:8080/",
        "pycloudlib local exec --vpc vpc-0123456789abcdef0 -- bash",
    ),
)
@name_option
@click.option("--vpc", metavar="VPC", help="The VPC's id or Name tag; default: the default VPC.")
def exec_(name: str, vpc: str | None, command: Sequence[str]) -> None:
    """Run a command inside a VPC of a local EC2.

    Private addresses, UDP, and every port that security groups open to the host are reachable there as they are. The
    local EC2 needs the namespaces network.

    The exit status is the command's own.
    """
    from pycloudlib.local.daemon import require_server
    from pycloudlib.local.documents import fetch_entrance

    info = require_server(name)
    _require_namespaces(name, info)
    entrance = fetch_entrance(info, _resolve(vpc, info) if vpc is not None else "")
    entrance.enter()
    _exec(command)


def _require_namespaces(name: str, info: ServerInfo) -> None:
    if info.network != "namespaces":
        machines = f"user networking ({info.network_reason})" if info.network else "simulated machines"
        option = "" if name == "default" else f" --name {name}"
        raise LocalEC2Error(
            f"local exec requires the namespaces network, and the local EC2 {name!r} has {machines}: stop it, and run "
            f"`pycloudlib local start{option} --network namespaces`"
        )


def _resolve(text: str, info: ServerInfo) -> str:
    """Return the id of the VPC with an id or a Name tag."""
    from pycloudlib.local.documents import fetch_network

    network = fetch_network(info)
    if text in network.topology.vpcs:
        return text
    vpc_ids = _named(text, network.names)
    if not vpc_ids:
        raise ResourceNotFoundError(message=f"unknown VPC {text!r}: `pycloudlib local network` lists them")
    if len(vpc_ids) > 1:
        raise LocalEC2Error(f"several resources are named {text!r}: {', '.join(vpc_ids)}; give an id")
    return vpc_ids[0]


def _named(text: str, names: Mapping[str, str]) -> list[str]:
    return sorted(
        resource_id for resource_id, name in names.items() if name == text and resource_id.startswith(VPC_PREFIX)
    )


def _exec(command: Sequence[str]) -> NoReturn:
    try:
        exec_replace(command)
    except OSError as error:
        raise LocalEC2Error(f"cannot run {command[0]!r}: {error.strerror}") from error
