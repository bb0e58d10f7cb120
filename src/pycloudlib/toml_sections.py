"""Parse a TOML file of which this library owns a single section.

Other clouds share the settings file, and their sections may be invalid. The `toml` package parses TOML 0.5: it rejects
mixed arrays, and hexadecimal, octal, and binary integers. It also loses keys after a multi-line string with CRLF line
endings. So use tomllib first, which parses all of TOML 1.0, on Python 3.11 and later. Use `toml` second, for Python
3.10 and for files that only it accepts. If neither parses the whole file, parse each section on its own, and report an
invalid section only if it is this library's.
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
"""The parsers in the order of use; the error is the last one's."""

_FAULTS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""The exceptions of the parsers. toml fails on some mistakes without a line number."""

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
    """A file, or this library's section of it, is not valid TOML. The message does not quote the file."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(reason)


def parse(text: str, *, own: str) -> Table:
    """Parse a file, skipping other sections that are not valid TOML.

    Args:
        text: the contents of the file.
        own: the name of the section that must be valid.

    Raises:
        TomlSyntaxError: the section `own` is not valid TOML, or an invalid part may belong to it.
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
    # Do not chain: the parsers quote the file, which may contain a secret.
    if isinstance(fault, toml.TomlDecodeError):
        raise TomlSyntaxError(_reason(fault), fault.lineno) from None
    raise TomlSyntaxError("") from None


def _reason(error: toml.TomlDecodeError) -> str:
    if error.msg.startswith("What?"):
        return "a name is used twice"
    # The text after the first of these may quote the file.
    return re.split(r"[:'\"?{]", error.msg)[0].strip().rstrip(".").lower()


def _sections(text: str, own: str) -> Iterator[tuple[str, str]]:
    """Yield each section with its sub-tables. Blank the lines of other sections, to preserve line numbers."""
    lines = text.split("\n")
    starts = _header_lines(text, own)
    names = ["", *starts.values()]
    bounds = [0, *starts, len(lines)]
    owner = [name for name, begin, end in zip(names, bounds, bounds[1:], strict=False) for _ in range(begin, end)]
    for name in dict.fromkeys(owner):
        yield name, "\n".join(line if owner[at] == name else "" for at, line in enumerate(lines))


def _header_lines(text: str, own: str) -> dict[int, str]:
    """Return the first part of each table name, by the line number of its header, from 0."""
    headers: dict[int, str] = {}
    own_header = re.compile(rf"[ \t]*\[\[?[ \t]*{re.escape(own)}[ \t]*[.\]]")
    depth = line = start = 0
    begins_line = True
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if piece == "\n":
            begins_line = True
            start = token.end()
            if line in headers:
                depth = 0  # A header ends with its line, closed or not.
        elif piece == "[" and begins_line and (depth == 0 or own_header.match(text, start)):
            header = _HEADER.match(text, start)
            headers[line] = next(filter(None, header.groups()), "") if header else ""
            depth = 1
        elif piece in "[{":
            depth += 1
        elif piece in "]}":
            depth = max(0, depth - 1)
        if not piece.isspace():
            begins_line = False
        line += piece.count("\n")
    return headers
