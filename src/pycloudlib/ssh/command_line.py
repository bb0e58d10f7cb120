r"""The command line for the host's login shell, in a form that every login shell parses the same way.

sshd passes a command to the user's login shell. All shells take almost every character between single quotes literally.
The exceptions: csh and tcsh reject a newline and expand "!", and fish unescapes "\\" and "\'". An inner sh inserts
those characters after the login shell has parsed the line.
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
"""Linux's limit in bytes for one argument of a program (MAX_ARG_STRLEN); the login shell gets the command as one."""

PLAIN_WORDS = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./:@+,][A-Za-z0-9_./:@%+,-]*)*")
"""Words that no shell expands. Options are excluded: the options of built-in commands differ between shells."""

BUILT_INTO_EVERY_SHELL = {"echo", "false", "true"}
"""Commands that every login shell runs like sh, given plain words. No user has an alias for them."""

ON_EVERY_HOST = {"cat", "date", "hostname", "id", "ls", "sync", "uname", "uptime", "whoami"}
"""Programs on every host with sh. A login shell may not exit with 127 if it does not find a program."""

BUILT_INTO_SH_ALONE = {
    ".", ":", "alias", "bg", "break", "cd", "command", "continue", "eval", "exec", "exit", "export", "fc", "fg",
    "getopts", "hash", "jobs", "read", "readonly", "return", "set", "shift", "times", "trap", "type", "ulimit", "umask",
    "unalias", "unset", "wait",
}  # fmt: skip
"""Built-in commands of sh without a program of the same name."""

BARE_WORD = re.compile(r"[A-Za-z0-9_./:,+-][A-Za-z0-9_./:,+@%=-]*")
"""A word that needs no quotes. A leading "=" is special in zsh, and a leading "%" in csh."""

UNSAFE = re.compile(r"(\n|!(?![ =])|\\(?=[\\'!\n]|\Z))")
"""Characters that some shells do not take literally between single quotes."""

UNSAFE_PARTS: Mapping[str, tuple[str, str]] = {
    # Without a subprocess: the default IFS ends with a newline, csh keeps "! ", and fish keeps "\x".
    "\n": ("$_nl", "_nl=${IFS#??}"),
    "!": ("$_ex", '_ex="! ";_ex=${_ex%?}'),
    "\\": ("$_bs", '_bs="\\x";_bs=${_bs%x}'),
}
"""The inner sh's notation of each, and the assignment before it."""

NO_STDIN = " </dev/null"


def command_line(
    command: str | Sequence[str],
    *,
    use_sudo: bool = False,
    env: Mapping[str, str] | None = None,
) -> str:
    r"""Return the command line for the host's login shell.

    Args:
        command: a string, which `sh -c` runs, or the login shell if that makes no difference; or a list of a program
            and its arguments, each passed literally.
        use_sudo: whether to run the whole command as root, including redirections; default no.
        env: environment variables for the command, also under sudo; default none.

    Returns:
        The line, such as "exec sudo -n -- env A=1 sh -c -- 'echo \"$A\" > /root/file'".

    Raises:
        InvalidArgumentError: the command is empty, a name in `env` is invalid, there is a NUL character, or the line is
            too long for Linux.
    """
    prefix = (["sudo", "-n", "--"] if use_sudo else []) + _env_words(env or {})
    line = _line(command, prefix)
    if "\0" in line:
        raise InvalidArgumentError("a command cannot contain a NUL character; pass such data on standard input")
    if len(encoded(line)) > MAX_LINE_LENGTH:
        raise InvalidArgumentError(
            f"the command is longer than {MAX_LINE_LENGTH} bytes, the limit of Linux; "
            "push it as a file, or pass its data on standard input"
        )
    return line


def encoded(line: str) -> bytes:
    """Encode a line, restoring the bytes that Python could not decode from a file name.

    Args:
        line: the line, or a part of it.

    Raises:
        InvalidArgumentError: the line has a lone surrogate.
    """
    try:
        return line.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgumentError(
            "the command contains a character that UTF-8 cannot encode (a lone surrogate)"
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
            # Run a program rather than a built-in command: shells' `echo` commands treat backslashes differently.
            return _exec_line(words) if re.search(r"[\n!\\]", script) else _quoted_line(words)
    # "--" because a command may start with "-".
    return _exec_line([*prefix, "sh", "-c", "--", script])


def _needs_sh(first_word: str) -> bool:
    """Return whether the first word of a list needs sh: a built-in command, or an assignment before a program."""
    return first_word in BUILT_INTO_SH_ALONE or ASSIGNMENT.match(first_word) is not None


def _exec_line(words: Sequence[str]) -> str:
    """Return the line that replaces the login shell with a program, which saves a process: 0.3 ms."""
    plain = f"exec {_quoted_line(words)}"
    if not any(map(UNSAFE.search, words)):
        return plain
    portable = _two_stage_line(words)
    # A line for most login shells is better than none.
    return portable if len(encoded(portable)) + len(NO_STDIN) <= MAX_LINE_LENGTH else plain


def _two_stage_line(words: Sequence[str]) -> str:
    """Return a line that runs an sh, which inserts the unsafe characters between the other parts of the words."""
    arguments: list[str] = []
    shown: list[str] = []
    used: dict[str, None] = {}
    for word in words:
        if BARE_WORD.fullmatch(word):
            shown.append(word)
            continue
        parts: list[str] = []
        split = UNSAFE.split(word)
        for text, character in zip_longest(split[::2], split[1::2]):
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
    # shlex.quote() does not quote "=x" and "%x".
    if BARE_WORD.fullmatch(word):
        return word
    inner = word.replace("'", """'"'"'""")
    return f"'{inner}'"


def _checked_words(command: Sequence[str]) -> Sequence[str]:
    if not isinstance(command, (list, tuple)):
        raise InvalidArgumentError(
            f"the command is a {type(command).__name__}; it must be a string, or a list of strings"
        )
    if not command:
        raise InvalidArgumentError("there is no command to run: the list is empty")
    for position, word in enumerate(command):
        if not isinstance(word, str):
            # Do not show the value, which may be secret.
            raise InvalidArgumentError(
                f"word {position} of the command is a {type(word).__name__}; it must be a string"
            )
    return command


def _env_words(env: Mapping[str, str]) -> list[str]:
    for name in env:
        if not isinstance(name, str) or not ENV_NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"{name!r} cannot name an environment variable: letters, digits and _ only, no digit first"
            )
    return ["env", *(f"{name}={value}" for name, value in env.items())] if env else []
