"""A program: writes the list of checks into docs/validation.md, from what the checks say themselves."""

from __future__ import annotations

import inspect
from pathlib import Path

from pycloudlib.validation.verdicts import Advice, title
from support.checks import all_checks, modules

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
BEGIN = "<!-- checks: written by tests/support/document_checks.py -->\n"
END = "<!-- end of checks -->\n"


def documented() -> str:
    """The list, as it has to be."""
    sections: list[str] = []
    for module in modules():
        group = module.__name__.rpartition(".test_")[2]
        sections.append(f"### {group}\n\n{inspect.getdoc(module)}\n")
        for check in all_checks():
            if check.name.startswith(f"{group}::"):
                sections.append(_entry(check.test.__name__, str(check.test.__doc__), check.advice))
    return "\n".join(sections)


def _entry(name: str, what: str, advice: Advice) -> str:
    summary = " ".join(what.split())
    lines = [
        f"**{title(name)}** (`{name}`). {summary}",
        "",
        f"- Why: {advice.reason}",
        f"- Remedy: {advice.remedy}",
        "",
    ]
    return "\n".join(line.replace("*_", "\\*_").replace("/*", "/\\*").replace("_key*", "_key\\*") for line in lines)


def main() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{documented()}\n{END}{after}")


if __name__ == "__main__":
    main()
