"""A program: the checks on facts from a file instead of a machine, run and printed as `pycloudlib validate` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from pycloudlib.errors import PycloudlibError
from pycloudlib.validation.facts import Facts
from pycloudlib.validation.report import page
from pycloudlib.validation.runner import Selection, validate


class RecordedSubject:
    """Stands for the machine: it is launched by reading what one told."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.instance = None
        self.record = None
        self.progress = sys.stdout.write

    def launch(self) -> Facts:
        self.progress("launched")
        return self.facts


def main(facts_file: str, options: str) -> int:
    chosen: dict[str, Any] = json.loads(options)
    html, junit = chosen.pop("html", None), chosen.pop("junit", None)
    chosen["directories"] = [Path(one) for one in chosen.get("directories", [])]
    subject: Any = RecordedSubject(Facts.from_json(Path(facts_file).read_text()))
    try:
        validation = validate(cast("Any", subject), Selection(**chosen), junit=Path(junit) if junit else None)
    except PycloudlibError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    if html:
        Path(html).write_text(page(validation, []))
    return 1 if validation.count("failed") else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
