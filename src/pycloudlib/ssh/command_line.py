r"""The line that a host's login shell runs, built so that every login shell reads it in the same way.

sshd passes a command to the user's login shell, whichever that is. Single quotes protect almost everything in all of
them. The exceptions: csh and tcsh take neither a newline nor "!" between single quotes, and fish reads "\\" and "\'"
there as escapes. An inner sh puts those characters in, after the login shell is done with the line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from pycloudlib.errors import InvalidArgumentError

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

ASSIGNMENT = re.compile(rf"{ENV_NAME.pattern}=")

MAX_LINE_LENGTH = 128 * 1024 - 1
"""Bytes that Linux takes as one argument of a program (MAX_ARG_STRLEN), which a command is to the login shell."""

PLAIN_WORDS = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./:@+,][A-Za-z0-9_./:@%+,-]*)*")
"""Words in which no shell expands anything. Options are left out: shells differ in those of their own commands."""

BUILT_INTO_EVERY_SHELL = {"echo", "false", "true"}
"""Commands that every login shell runs as sh does, given plain words. No user has an alias for them."""

ON_EVERY_HOST = {"cat", "date", "hostname", "id", "ls", "sync", "uname", "uptime", "whoami"}
"""Programs that exist wherever sh does. A login shell that does not find a program may not exit with 127."""

BUILT_INTO_SH_ALONE = {
    ".", ":", "alias", "bg", "break", "cd", "command", "continue", "eval", "exec", "exit", "export", "fc", "fg",
    "getopts", "hash", "jobs", "read", "readonly", "return", "set", "shift", "times", "trap", "type", "ulimit", "umask",
    "unalias", "unset", "wait",
}  # fmt: skip
"""Commands of sh that no program stands for."""

BARE_WORD = re.compile(r"[A-Za-z0-9_./:,+-][A-Za-z0-9_./:,+@%=-]*")
"""A word that needs no quotes. "=" and "%" mean something at the beginning of a word, in zsh and in csh."""

UNSAFE = re.compile(r"(\n|!(?![ =])|\\(?=[\\'!\n]|\Z))")
"""Characters that not every shell takes literally between single quotes."""

UNSAFE_PARTS: Mapping[str, tuple[str, str]] = {
    # Without a process: the default IFS ends with a newline, csh leaves "! " alone, and fish leaves "\x" alone.
    "\n": ("$_nl", "_nl=${IFS#??}"),
    "!": ("$_ex", '_ex="! ";_ex=${_ex%?}'),
    "\\": ("$_bs", '_bs="\\x";_bs=${_bs%x}'),
}
"""How an inner sh writes each of them, and the assignments before it."""

NO_STDIN = " </dev/null"


def command_line(
    command: str | Sequence[str],
    *,
    use_sudo: bool = False,
    env: Mapping[str, str] | None = None,
) -> str:
    r"""Build the line that the login shell of the host runs.

    Args:
        command: a string is run by `sh -c`, or by the login shell where that makes no difference; a list is a program
            and its arguments, each passed on exactly as it is.
        use_sudo: run all of it as root, redirections included; default no.
        env: set for the command, under sudo too; default nothing.

    Returns:
        The line, such as "exec sudo -n -- env A=1 sh -c -- 'echo \"$A\" > /root/file'".

    Raises:
        InvalidArgumentError: no command, an impossible name in `env`, a NUL character, or a line too long for Linux.
    """
    prefix = (["sudo", "-n", "--"] if use_sudo else []) + _env_words(env or {})
    line = _line(command, prefix)
    if "\0" in line:
        raise InvalidArgumentError("a command cannot hold a NUL character; pass such data on standard input")
    if len(encoded(line)) > MAX_LINE_LENGTH:
        raise InvalidArgumentError(
            f"the command is longer than {MAX_LINE_LENGTH} bytes, the most that Linux takes; "
            "push it as a file, or pass its data on standard input"
        )
    return line


def encoded(line: str) -> bytes:
    """Return the line as bytes; those that Python could not decode from a file name are themselves again.

    Args:
        line: the line, or a part of it.

    Raises:
        InvalidArgumentError: it holds a lone surrogate.
    """
    try:
        return line.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgumentError(
            "the command holds a character that UTF-8 cannot express (a lone surrogate)"
        ) from None


def _line(command: str | Sequence[str], prefix: Sequence[str]) -> str:
    if isinstance(command, str):
        script = command
        if not prefix and PLAIN_WORDS.fullmatch(command):
            program = command.split(" ", maxsplit=1)[0]
            if program in BUILT_INTO_EVERY_SHELL:
                return command
            if program in ON_EVERY_HOST:
                return f"exec {command}"
    else:
        words = _checked_words(command)
        script = shlex.join(words)
        if not prefix and not _needs_sh(words[0]):
            # A program rather than a shell's own command, for an `echo` treats backslashes in many ways.
            return _exec_line(words) if re.search(r"[\n!\\]", script) else _quoted_line(words)
    # "--" because a command may begin with "-".
    return _exec_line([*prefix, "sh", "-c", "--", script])


def _needs_sh(first_word: str) -> bool:
    """Return whether the first word of a list is for sh: a command of its own, or an assignment before a program."""
    return first_word in BUILT_INTO_SH_ALONE or ASSIGNMENT.match(first_word) is not None


def _exec_line(words: Sequence[str]) -> str:
    """Return the line that runs a program in the login shell's place, which spares a process: 0.3 ms."""
    plain = f"exec {_quoted_line(words)}"
    if not any(map(UNSAFE.search, words)):
        return plain
    portable = _two_stage_line(words)
    # Better a line for most login shells than none.
    return portable if len(encoded(portable)) + len(NO_STDIN) <= MAX_LINE_LENGTH else plain


def _two_stage_line(words: Sequence[str]) -> str:
    """Return a line that runs an sh, which puts the unsafe characters between the other parts of the words."""
    arguments: list[str] = []
    shown: list[str] = []
    used: dict[str, None] = {}
    for word in words:
        if BARE_WORD.fullmatch(word):
            shown.append(word)
            continue
        parts: list[str] = []
        texts_and_characters = UNSAFE.split(word)
        for text, character in zip_longest(texts_and_characters[::2], texts_and_characters[1::2]):
            if text:
                arguments.append(text)
                parts.append(f"${{{len(arguments)}}}")
            if character:
                variable, assignment = UNSAFE_PARTS[character]
                used[assignment] = None
                parts.append(variable)
        shown.append(f'"{"".join(parts)}"')
    script = f"{';'.join(used)};exec {' '.join(shown)}"
    return _quoted_line(["exec", "sh", "-c", script, "sh", *arguments])


def _quoted_line(words: Sequence[str]) -> str:
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    # shlex.quote() leaves "=x" and "%x" without quotes.
    if BARE_WORD.fullmatch(word):
        return word
    inner = word.replace("'", """'"'"'""")
    return f"'{inner}'"


def _checked_words(command: Sequence[str]) -> Sequence[str]:
    if not isinstance(command, (list, tuple)):
        raise InvalidArgumentError(f"the command is a {type(command).__name__}; it must be a text, or a list of texts")
    if not command:
        raise InvalidArgumentError("there is no command to run: the list is empty")
    for position, word in enumerate(command):
        if not isinstance(word, str):
            # Not what it is: it may be secret.
            raise InvalidArgumentError(f"word {position} of the command is a {type(word).__name__}; it must be a text")
    return command


def _env_words(env: Mapping[str, str]) -> list[str]:
    for name in env:
        if not isinstance(name, str) or not ENV_NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"{name!r} cannot name an environment variable: letters, digits and _ only, no digit first"
            )
    return ["env", *(f"{name}={value}" for name, value in env.items())] if env else []
