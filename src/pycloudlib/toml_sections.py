"""Parse a TOML file in which only one section is ours.

A settings file is shared with other clouds, and what stands in their sections is none of this library's business. The
`toml` package reads TOML 0.5: it refuses mixed arrays, and hexadecimal, octal and binary integers, and it loses keys
behind a multi-line string with CRLF line ends. So tomllib comes first, which reads all of TOML 1.0, where Python has it
(3.11 and later). `toml` comes second, for Python 3.10 and for the files that it alone takes. When neither of them reads
the whole file, each section is parsed on its own, and one that does not parse counts only if it is ours.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import toml

log = logging.getLogger(__name__)

Table = dict[str, Any]

PARSERS: tuple[Callable[[str], Table], ...]

if sys.version_info >= (3, 11):
    import tomllib

    PARSERS = (tomllib.loads, toml.loads)
else:
    PARSERS = (toml.loads,)
"""In the order in which they are tried; the last one words the error."""

_FAULTS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What the parsers raise. toml trips over some mistakes without saying where they are."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"{3,5}|\Z)'
    r"|'''.*?(?:'{3,5}|\Z)"
    r'|"(?:\\[^\n]|[^"\\\n])*"?'
    r"|'[^'\n]*'?"
    r"|#[^\n]*"
    r"|[\[\]{}\n]"
    r"|[^\"'#\[\]{}\n]+",
    re.DOTALL,
)

_HEADER = re.compile(r"[ \t]*\[\[?[ \t]*(?:\"(?P<basic>[^\"\n]*)\"|'(?P<literal>[^'\n]*)'|(?P<bare>[A-Za-z0-9_-]+))")


class TomlSyntaxError(Exception):
    """A file, or the section that is ours, is not valid TOML. The text says why, and quotes nothing of the file."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(reason)


def parse(text: str, *, own: str) -> Table:
    """Parse a file; a section of others that is not valid TOML is left out.

    Args:
        text: the file.
        own: the name of the section that must be valid.

    Raises:
        TomlSyntaxError: the section of that name is not valid TOML, or what is not valid may belong to it.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        return _parse(text)
    except TomlSyntaxError:
        log.debug("parsing each section on its own")
    parsed: Table = {}
    hidden: TomlSyntaxError | None = None
    looks_like_own = re.compile(rf"^[ \t]*\[{{0,2}}[ \t]*[\"']?{re.escape(own)}\b", re.MULTILINE)
    for name, section in _sections(text, own):
        try:
            parsed.update(_parse(section))
        except TomlSyntaxError as error:
            if name == own:
                raise
            if looks_like_own.search(section):
                hidden = hidden or error
            log.info("left out the section %r, which is not valid TOML: %s", name, error)
    if hidden and own not in parsed:
        raise hidden
    return parsed


def _parse(text: str) -> Table:
    fault: Exception | None = None
    for loads in PARSERS:
        try:
            return dict(loads(text))
        except _FAULTS as error:
            fault = error
    # Not chained: the parsers quote the file, which may hold a secret.
    if isinstance(fault, toml.TomlDecodeError):
        raise TomlSyntaxError(_reason(fault), fault.lineno) from None
    raise TomlSyntaxError("") from None


def _reason(error: toml.TomlDecodeError) -> str:
    if error.msg.startswith("What?"):
        return "a name is used twice"
    # What follows the first of these may be quoted from the file.
    return re.split(r"[:'\"?{]", error.msg)[0].strip().rstrip(".").lower()


def _sections(text: str, own: str) -> Iterator[tuple[str, str]]:
    """Yield each section, with its sub-tables, as the file with the lines of all others blank: so line numbers hold."""
    lines = text.split("\n")
    starts = _header_lines(text, own)
    names = ["", *starts.values()]
    bounds = [0, *starts, len(lines)]
    owner = [name for name, begin, end in zip(names, bounds, bounds[1:], strict=False) for _ in range(begin, end)]
    for name in dict.fromkeys(owner):
        yield name, "\n".join(line if owner[at] == name else "" for at, line in enumerate(lines))


def _header_lines(text: str, own: str) -> dict[int, str]:
    """Find the lines with a table header, by number from 0; with the first part of the table's name."""
    found: dict[int, str] = {}
    own_header = re.compile(rf"[ \t]*\[\[?[ \t]*{re.escape(own)}[ \t]*[.\]]")
    depth = line = start = 0
    begins_line = True
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if piece == "\n":
            begins_line = True
            start = token.end()
            if line in found:
                depth = 0  # A header ends with its line, closed or not.
        elif piece == "[" and begins_line and (depth == 0 or own_header.match(text, start)):
            header = _HEADER.match(text, start)
            found[line] = next(filter(None, header.groups()), "") if header else ""
            depth = 1
        elif piece in "[{":
            depth += 1
        elif piece in "]}":
            depth = max(0, depth - 1)
        if not piece.isspace():
            begins_line = False
        line += piece.count("\n")
    return found
