"""`pycloudlib snapshot`: an image of an instance."""

from __future__ import annotations

import click

from pycloudlib.cli.cloud import Login, json_option, login_options
from pycloudlib.cli.durations import as_seconds
from pycloudlib.cli.examples import examples
from pycloudlib.cli.lifetime import cleaned_up
from pycloudlib.cli.output import print_json
from pycloudlib.cli.progress import step

AN_HOUR = 3600.0


@click.command(
    epilog=examples(
        "pycloudlib snapshot i-0123456789abcdef0",
        "pycloudlib snapshot --name my-image-1 --no-clean i-0123456789abcdef0",
    )
)
@click.argument("instance_id", metavar="INSTANCE")
@click.option("--name", help="The name of the image; default: the tag and the time.")
@click.option("--description", default="", help="The description of the image.")
@click.option(
    "--clean/--no-clean",
    default=True,
    help="Clean the instance first, so that the image's instances run a first boot; default: yes.",
)
@click.option("--wait/--no-wait", default=True, help="Wait until the image is available; default: yes.")
@click.option("--timeout", metavar="DURATION", callback=as_seconds, help="The time limit; default: 1h.")
@json_option
@login_options
def snapshot(
    *,
    login: Login,
    instance_id: str,
    name: str | None,
    description: str,
    clean: bool,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Create an image of an instance and all of its volumes.

    The command prints the AMI id. It stops the instance for the image, and starts it again. The image remains until
    `pycloudlib delete` deletes it with its snapshots. If the command fails or is interrupted, it leaves no image.
    """
    ec2 = login.open()
    instance = ec2.get_instance(instance_id, username=login.username)
    with cleaned_up(ec2, keep=True), step(f"creating an image of {instance.id}"):
        image_id = ec2.snapshot(
            instance, clean, name=name, description=description, wait=wait, timeout=timeout or AN_HOUR
        )
    if as_json:
        image = ec2.image(image_id)
        print_json({"id": image_id, "name": image.name, "instance": instance.id})
        return
    click.echo(image_id)
