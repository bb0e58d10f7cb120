"""Pulls of images on the command line: their settings, and their progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycloudlib.errors import ConfigError
from pycloudlib.local.images.sources.pull import LineReporter, Puller, Reporter, source_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from pycloudlib.local.images.catalog import Image
    from pycloudlib.local.images.sources.published import Wanted
    from pycloudlib.local.images.sources.site import Sites

SECTION = "local.images"
KEYS = ("proxy", "mirrors", "keyrings")


def pull(wanted: Sequence[Wanted], *, config_file: Path | None = None, mirror: str | None = None) -> list[Image]:
    """Pull images into this user's catalog, showing the progress on standard error.

    Args:
        wanted: the images.
        config_file: the settings file; default the usual one.
        mirror: the URL of a mirror of the publisher of all images; default the settings'.

    Raises:
        ConfigError: the section [local.images] is invalid.
        PycloudlibError: see `Puller.pull`.
    """
    sites = configured_sites(config_file, _mirrors(wanted, mirror))
    with _reporter() as reporter:
        return Puller(_catalog(), sites, reporter).pull(wanted)


def puller(config_file: Path | None = None) -> Puller:
    """Return a puller without progress, for lookups.

    Args:
        config_file: the settings file; default the usual one.
    """
    return Puller(_catalog(), configured_sites(config_file))


def configured_sites(config_file: Path | None = None, mirrors: Mapping[str, str] | None = None) -> Sites:
    """Return the settings of pulls: those given here, else the environment's, else those of [local.images].

    Args:
        config_file: the settings file; default the usual one.
        mirrors: the URLs of mirrors, by publisher; default none.

    Raises:
        ConfigError: the section [local.images] is invalid.
    """
    from pycloudlib.config import parse_config
    from pycloudlib.local.images.sources.site import Sites, sites_of_environment

    section = parse_config(config_file).get("local", {})
    images = section.get("images", {}) if isinstance(section, dict) else section
    _check(images)
    keyrings = {name: Path(path).expanduser() for name, path in images.get("keyrings", {}).items()}
    of_file = Sites(images.get("proxy"), images.get("mirrors", {}), keyrings)
    return of_file.overridden_by(sites_of_environment()).overridden_by(Sites(mirrors=mirrors or {}))


def _check(section: Any) -> None:
    if not isinstance(section, dict):
        raise ConfigError([f"[{SECTION}] is {section!r}; a table is required"])
    problems = [f"[{SECTION}] {key}: unknown key; allowed: {', '.join(KEYS)}" for key in section if key not in KEYS]
    if not isinstance(section.get("proxy", ""), str):
        problems.append(f"[{SECTION}] proxy: {section['proxy']!r} is not the URL of a proxy")
    for key in KEYS[1:]:
        table = section.get(key, {})
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            problems.append(f"[{SECTION}] {key}: {table!r} is not a table of strings, by publisher")
    if problems:
        raise ConfigError(problems)


def _mirrors(wanted: Sequence[Wanted], mirror: str | None) -> dict[str, str]:
    if mirror is None:
        return {}
    publishers = {source_of(image.release).name for image in wanted}
    if len(publishers) > 1:
        raise click.UsageError(
            f"--mirror applies to one publisher, but the images of {' and '.join(sorted(publishers))} are requested"
        )
    return dict.fromkeys(publishers, mirror)


def _catalog() -> Any:
    from pycloudlib.local import paths
    from pycloudlib.local.images.catalog import Catalog

    return Catalog(paths.images_dir())


@contextmanager
def _reporter() -> Iterator[Reporter]:
    if not sys.stderr.isatty():
        yield LineReporter(partial(click.echo, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


class _Bars(Reporter):
    """A bar per download, below the lines of the steps."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[Wanted, TaskID] = {}

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)

    def watch(self, wanted: Wanted, done: int, total: int | None) -> None:
        if wanted not in self._tasks:
            self._tasks[wanted] = self._bars.add_task(wanted.release, total=total)
        self._bars.update(self._tasks[wanted], completed=done, total=total)
