"""Input and output files on the command line, validated before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

INPUT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUTPUT_FILE = click.Path(dir_okay=False, path_type=Path)


def check_writing(paths: Iterable[Path | None]) -> None:
    """Require that the directories of output files exist.

    Args:
        paths: the files; None for an output that is not requested.

    Raises:
        click.UsageError: a directory does not exist.
    """
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise click.UsageError(f"cannot write {path}: the directory {path.parent} does not exist")
