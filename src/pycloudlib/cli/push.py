"""`pycloudlib push`: files and directories to an instance."""

from __future__ import annotations

from pathlib import Path

import click

from pycloudlib.cli.cloud import Login, login_options
from pycloudlib.cli.examples import examples
from pycloudlib.cli.progress import step


@click.command(
    epilog=examples(
        "pycloudlib push i-0123456789abcdef0 ./test.sh",
        "pycloudlib push i-0123456789abcdef0 ./test.sh /var/tmp/",
        "pycloudlib push i-0123456789abcdef0 ./tests /var/tmp/tests",
    )
)
@click.argument("instance_id", metavar="INSTANCE")
@click.argument("source", metavar="LOCAL", type=click.Path(exists=True, path_type=Path))
@click.argument("destination", metavar="[REMOTE]", default="")
@login_options
def push(*, login: Login, instance_id: str, source: Path, destination: str) -> None:
    """Copy a file or a directory to an instance.

    The contents of a directory are copied, not the directory itself. The login user owns the copies.

    REMOTE is the destination path; a trailing slash means a directory for the file. Default: the same name in the home
    directory.
    """
    instance = login.instance(instance_id)
    name = source.absolute().name
    is_directory = source.is_dir()
    target = destination or name
    if target.endswith("/") and not is_directory:
        target += name
    with step(f"copying {source} to {instance.id}:{target}"):
        (instance.push_dir if is_directory else instance.push_file)(source, target)
