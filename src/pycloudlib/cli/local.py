"""`pycloudlib local`: a local EC2 that runs as a daemon."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycloudlib.cli import settings_file
from pycloudlib.cli.cloud import json_option
from pycloudlib.cli.examples import examples
from pycloudlib.cli.exec_replace import exec_replace
from pycloudlib.cli.files import OUTPUT_FILE, check_writing
from pycloudlib.cli.local_capture import capture
from pycloudlib.cli.local_exec import exec_
from pycloudlib.cli.local_fault import fault
from pycloudlib.cli.local_image import image
from pycloudlib.cli.local_network import network, reach
from pycloudlib.cli.output import print_json
from pycloudlib.cli.parsing import SuggestingGroup

if TYPE_CHECKING:
    from pycloudlib.local import ServerInfo

DEFAULT_NAME = "default"

name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="The name of the local EC2.")


@click.group(cls=SuggestingGroup)
def local() -> None:
    """Run an EC2 on this machine, with virtual machines."""


local.add_command(capture)
local.add_command(exec_)
local.add_command(fault)
local.add_command(image)
local.add_command(network)
local.add_command(reach)


@local.command()
@name_option
@click.option("--driver", type=click.Choice(["qemu", "simulated"]), default="qemu", show_default=True)
@click.option("--region", default="us-east-1", show_default=True, help="The region in the settings.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port of the EC2 API; default: any free one."
)
@click.option("--path", default="", help="The path of the EC2 API's URL, such as /services/Cloud; default: the root.")
@click.option(
    "--auth", is_flag=True, default=False, help="Create credentials, and reject requests that are not signed with them."
)
@click.option(
    "--ssh-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The host's port for every instance's sshd; default: 22 if possible.",
)
@click.option("--accelerator", type=click.Choice(["auto", "kvm", "tcg"]), default="auto", show_default=True)
@click.option(
    "--max-memory",
    "max_memory_mib",
    type=click.IntRange(min=128),
    default=2048,
    show_default=True,
    help="The memory limit of an instance in MiB.",
)
@click.option(
    "--max-cpus",
    type=click.IntRange(min=0),
    default=0,
    help="The CPU limit of an instance; default: all of the host's, or 1 under emulation.",
)
@click.option(
    "--warm-start/--no-warm-start",
    default=True,
    show_default=True,
    help="Whether to start instances from boot snapshots; default: yes.",
)
@click.option(
    "--network",
    type=click.Choice(["auto", "namespaces", "user"]),
    default="auto",
    show_default=True,
    help="namespaces: VPCs behave as on EC2; user: isolated instances; auto: namespaces if the host supports them.",
)
@click.option(
    "--public-cidr",
    default="",
    help="The CIDR block of public addresses, such as 203.0.113.0/24; default: loopback addresses.",
)
@click.option(
    "--host-port",
    "host_ports",
    type=click.IntRange(1, 65535),
    multiple=True,
    default=(),
    help="A TCP port of the host's loopback that instances reach at 198.51.100.1; repeatable.",
)
@click.option(
    "--all-ports",
    is_flag=True,
    default=False,
    help="As root: make every open TCP port reachable at public addresses, with an nftables table on the host.",
)
@click.option(
    "--shutdown-seconds",
    type=click.FloatRange(min=0),
    default=90.0,
    show_default=True,
    help="The time limit for a guest to shut down.",
)
@click.option(
    "--spot-notice-seconds",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="The time from a spot interruption notice to the termination.",
)
@click.option(
    "--boot-seconds", type=click.FloatRange(min=0), default=0.0, help="Simulated instances: the boot time in seconds."
)
@click.option(
    "--stop-seconds", type=click.FloatRange(min=0), default=0.0, help="Simulated instances: the stop time in seconds."
)
@click.option(
    "--terminate-seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Simulated instances: the termination time in seconds.",
)
@click.option(
    "--image-seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Simulated instances: the image creation time in seconds.",
)
@click.option(
    "--answer-seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Simulated instances: the time in seconds until sshd answers.",
)
@click.option(
    "--write-config",
    type=OUTPUT_FILE,
    help="Write the settings to this file instead of printing them.",
)
@click.option("--pull", "pulls", metavar="NAME", multiple=True, help="Download the newest image of a release first.")
@json_option
def start(name: str, write_config: Path | None, pulls: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Start a local EC2, and print its settings.

    \b
    Example:
      pycloudlib local start --write-config local.toml
      pycloudlib local start --pull noble
      PYCLOUDLIB_CONFIG=local.toml pytest
    """  # noqa: D301  (click takes a backspace for: leave the next paragraph as it is)
    from pycloudlib.local import LocalEC2

    check_writing([write_config])
    if write_config is not None:
        settings_file.check_writing(write_config, name)
    server = LocalEC2(name, **options)
    if pulls:
        from pycloudlib.cli.image_sources import pull
        from pycloudlib.local.images.sources.published import Wanted

        pull([Wanted(release) for release in pulls])
    info = server.start()
    try:
        _print_settings(name, info, write_config, as_json=as_json)
    except BaseException:
        # Otherwise its endpoint would be unknown.
        server.stop()
        raise


def _print_settings(name: str, info: ServerInfo, write_config: Path | None, *, as_json: bool) -> None:
    if info.network:
        click.echo(f"Network: {info.network} ({info.network_reason})", err=True)
    if info.driver == "qemu":
        _remind_of_images()
    if write_config is not None:
        settings_file.write(write_config, name, info)
    if as_json:
        print_json({name: dataclasses.asdict(info)})
    elif write_config is not None:
        click.echo(f"{info.endpoint_url} (settings in {write_config})")
    else:
        click.echo(info.settings_toml(), nl=False)


def _remind_of_images() -> None:
    from pycloudlib.local import paths
    from pycloudlib.local.images.catalog import Catalog

    if not Catalog(paths.images_dir()).images():
        click.echo(
            "There is no image yet: run `pycloudlib local image build`, or `pycloudlib local image pull NAME`", err=True
        )


@local.command(epilog=examples("pycloudlib local status", "pycloudlib local status --json"))
@json_option
def status(as_json: bool) -> None:
    """List the running local EC2s. The exit status is 1 if there is none."""
    from pycloudlib.local.daemon import running_servers

    servers = running_servers()
    if as_json:
        print_json({name: dataclasses.asdict(info) for name, info in servers.items()})
    else:
        for name, info in servers.items():
            click.echo(_status_line(name, info))
    if not servers:
        click.echo("No local EC2 is running.", err=True)
        raise click.exceptions.Exit(1)


def _status_line(name: str, info: ServerInfo) -> str:
    machines = f"{info.driver} machines"
    if info.accelerator:
        machines += f" with {info.accelerator} ({info.accelerator_reason})"
    if info.network:
        machines += f" on the {info.network} network ({info.network_reason})"
    return f"{name}: {info.endpoint_url} in {info.region}, sshd on port {info.ssh_port}, {machines}, pid {info.pid}"


@local.command(epilog=examples("pycloudlib local stop"))
@name_option
def stop(name: str) -> None:
    """Stop a local EC2 with its instances."""
    from pycloudlib.local.daemon import stop_server

    stop_server(name)
    click.echo(f"Stopped {name}.")


@local.command(epilog=examples("pycloudlib local logs --follow"))
@name_option
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they are written.")
def logs(name: str, follow: bool) -> None:
    """Print the log of a local EC2: its API calls, and the events of its instances."""
    from pycloudlib.local.daemon import log_file

    path = log_file(name)
    if follow:
        exec_replace(["tail", "-n", "+1", "-F", str(path)])
    click.echo(path.read_text(encoding="utf-8", errors="replace"), nl=False)
