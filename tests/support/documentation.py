"""The code blocks of the documentation, and the commands in them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from pycloudlib.cli.root import root

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]+)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[|&;(]|\$ )\s*(?:[A-Z_]+=\S+\s+)*(?P<command>(?:pycloudlib|pytest)\b.*)")
_OPERATOR = re.compile(r"[|&;<>()]+")


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Args:
        page: the page.
        line: the number of its first line.
        language: the language that the page gives.
        text: the code.
    """

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Return the code blocks in some languages."""
    found = [block for page in PAGES for block in _blocks_of(page)]
    return [block for block in found if block.language in languages]


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        code = textwrap.dedent(match["text"])
        yield Block(page, text.count("\n", 0, match.start("text")) + 1, match["language"], code)


def commands(block: Block) -> list[list[str]]:
    """Return the words of each `pycloudlib` and `pytest` command in a block; in output, those after a prompt."""
    text = block.text.replace("\\\n", " ")
    lines = text.splitlines()
    if block.language != "sh":
        lines = [line for line in lines if line.startswith("$ ")]
    return [words for line in lines for match in _COMMAND.finditer(line) if (words := _words(match["command"]))]


def _words(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if _OPERATOR.fullmatch(word):
            if word.startswith(">") and words[-1].isdigit():
                # The number of the redirected stream.
                words.pop()
            break
        words.append("i-0123456789abcdef0" if word == "$id" else word)
    return words


def check_command(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a `pycloudlib` command without running it.

    Raises:
        click.ClickException: the command or one of its options does not exist, or a value is invalid.
    """
    # The files of the examples do not exist.
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _parameter, _context: value)
    group: Any = root
    context = group.make_context("pycloudlib", list(words[1:]))
    while isinstance(group, click.Group):
        _, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert group is not None
        context = group.make_context(group.name, rest, parent=context)
