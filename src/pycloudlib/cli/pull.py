"""`pycloudlib pull`: files and directories from an instance."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import click

from pycloudlib.cli.cloud import Login, login_options
from pycloudlib.cli.examples import examples
from pycloudlib.cli.files import check_writing
from pycloudlib.cli.progress import step


@click.command(
    epilog=examples(
        "pycloudlib pull i-0123456789abcdef0 /var/log/cloud-init.log",
        "pycloudlib pull i-0123456789abcdef0 /var/log ./logs",
    )
)
@click.argument("instance_id", metavar="INSTANCE")
@click.argument("source", metavar="REMOTE")
@click.argument("destination", metavar="[LOCAL]", type=click.Path(path_type=Path), default=".")
@login_options
def pull(*, login: Login, instance_id: str, source: str, destination: Path) -> None:
    """Copy a file or a directory from an instance.

    LOCAL is the destination. For a file it may be an existing directory; for a directory it receives the contents.
    Default: the same name in the current directory.
    """
    check_writing([destination])
    instance = login.instance(instance_id)
    is_directory = instance.execute(["test", "-d", source]).ok
    target = destination
    if destination.is_dir() and (not is_directory or destination == Path()):
        target = destination / PurePosixPath(source).name
    with step(f"copying {instance.id}:{source} to {target}"):
        (instance.pull_dir if is_directory else instance.pull_file)(source, target)
