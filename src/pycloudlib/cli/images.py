"""`pycloudlib images`: the account's images, or those of a release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pycloudlib.cli.cloud import Cloud, cloud_options, json_option
from pycloudlib.cli.examples import examples
from pycloudlib.cli.image_options import image_kind, image_options
from pycloudlib.cli.output import print_json, print_rows

if TYPE_CHECKING:
    from pycloudlib import EC2
    from pycloudlib.ec2.images.image import Image

COLUMNS = ("id", "created", "arch", "GiB", "owner", "name")


@click.command(
    epilog=examples(
        "pycloudlib images",
        "pycloudlib images --release noble --daily --newest",
        "pycloudlib images --owner amazon --name 'al2023-ami-2023.*-x86_64' --json",
    )
)
@click.option("--release", help="Only images of a release, such as noble, 24.04, or bookworm.")
@image_options
@click.option("--owner", "owners", multiple=True, help="An account id, self, or amazon; default: self. Repeatable.")
@click.option("--name", help="Only images of this name, with the wildcards * and ?.")
@click.option("--deprecated", is_flag=True, help="Include deprecated images.")
@click.option("--newest", is_flag=True, help="Only the newest one.")
@json_option
@cloud_options
def images(
    *,
    cloud: Cloud,
    release: str | None,
    daily: bool,
    arch: str,
    image_type: str,
    owners: tuple[str, ...],
    name: str | None,
    deprecated: bool,
    newest: bool,
    as_json: bool,
) -> None:
    """List images: your own, or those of a release; oldest first."""
    if release is not None and (owners or name):
        raise click.UsageError("--release determines the owner and the name: omit --owner and --name")
    if release is None and daily:
        raise click.UsageError("--daily needs --release")
    ec2 = cloud.open()
    if release is not None:
        query = _of_release(ec2, release, daily=daily, arch=arch, image_type=image_type)
    else:
        query = {"owner": owners or ("self",), "state": "available", **({"name": name} if name else {})}
    _print(_found(ec2, query, deprecated=deprecated, newest=newest), as_json=as_json)


def _of_release(ec2: EC2, release: str, *, daily: bool, arch: str, image_type: str) -> dict[str, Any]:
    from pycloudlib.ec2.api.endpoints import is_aws
    from pycloudlib.ec2.images.queries import release_query

    meta = ec2.client.meta
    query = release_query(release, daily=daily, arch=arch, image_type=image_kind(image_type))
    local_query = query.in_partition(meta.partition, at_aws=is_aws(meta.endpoint_url))
    if not local_query.owners:
        # In this partition, only the newest image is known to be the publisher's.
        find = ec2.daily_image if daily else ec2.released_image
        return {"owner": None, "image_id": find(release, arch=arch, image_type=image_kind(image_type))}
    filters = {name.replace("-", "_"): value for name, value in local_query.filters.items()}
    return {"owner": local_query.owners, **filters}


def _found(ec2: EC2, query: dict[str, Any], *, deprecated: bool, newest: bool) -> list[Image]:
    images = ec2.images(include_deprecated=deprecated, **query)
    return images[-1:] if newest else images


def _print(images: list[Image], *, as_json: bool) -> None:
    if as_json:
        print_json([_facts(image) for image in images])
        return
    print_rows(COLUMNS, [_row(image) for image in images])
    if not images:
        click.echo("No images found.", err=True)


def _facts(image: Image) -> dict[str, object]:
    return {
        "id": image.id,
        "name": image.name,
        "owner": image.owner_id,
        "architecture": image.architecture,
        "created": image.creation_date,
        "size_gb": image.root_size_gb,
        "tags": image.tags,
    }


def _row(image: Image) -> list[str]:
    size = str(image.root_size_gb or "")
    return [image.id, image.creation_date[:10], image.architecture, size, image.owner_id, image.name]
