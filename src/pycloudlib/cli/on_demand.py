"""Images of a local EC2 that are pulled when a command needs them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError

if TYPE_CHECKING:
    from pycloudlib.local.images.sources.published import Wanted

pull_option = click.option(
    "--pull", "may_pull", is_flag=True, help="With --local: download the image of a release if there is none."
)


def check_pull(*, may_pull: bool, local: bool) -> None:
    """Refuse `--pull` without `--local`."""
    if may_pull and not local:
        raise click.UsageError("--pull requires --local")


def found_or_pulled(find: Callable[[], str], wanted: Wanted, *, may_pull: bool, config_file: Path | None = None) -> str:
    """Return the AMI id of an image of the local EC2.

    Args:
        find: looks the image up.
        wanted: the image.
        may_pull: whether to pull it if it is missing.
        config_file: the settings file; default the usual one.

    Raises:
        ImageNotFoundError: the image is missing, and may not be pulled; the message has the command that pulls it.
        PycloudlibError: the pull failed.
    """
    if not _is_known_on_ec2(wanted.release):
        wanted = replace(wanted, daily=False)
        find = partial(_pulled, wanted)
    try:
        return find()
    except ImageNotFoundError as error:
        if not may_pull:
            command = shlex.join(["pycloudlib", "local", "image", "pull", *wanted.options])
            raise ImageNotFoundError(wanted.release, message=f"{error}; add --pull, or run `{command}`") from error
    from pycloudlib.cli.image_sources import pull

    pull([wanted], config_file=config_file)
    return find()


def _is_known_on_ec2(release: str) -> bool:
    """Return whether `EC2.released_image()` finds a release, or nothing can be pulled under its name either."""
    from pycloudlib.local.images.sources.pull import source_of
    from pycloudlib.releases import find_release

    try:
        find_release(release)
    except InvalidArgumentError:
        try:
            source_of(release)
        except InvalidArgumentError:
            return True
        return False
    return True


def _pulled(requested: Wanted) -> str:
    """Return the AMI id of the newest pulled image of a release.

    Raises:
        ImageNotFoundError: none was pulled.
    """
    from pycloudlib.local import paths
    from pycloudlib.local.images.catalog import PULLED, Catalog

    for image in Catalog(paths.images_dir()).images():
        if (image.source, image.release, image.architecture) == (PULLED, requested.release, requested.architecture):
            return image.image_id
    raise ImageNotFoundError(requested.release, message=f"the local EC2 has no image of {requested.release}")
