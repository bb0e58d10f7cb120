"""Many questions put to the guest by one command: logging in and starting a program cost more than most answers."""

from __future__ import annotations

import base64
import binascii
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pycloudlib.errors import SSHError
from pycloudlib.result import Result

SECONDS_PER_QUESTION = 120
"""After which the guest itself gives up a question, so that one that hangs does not take the others with it."""

TIMED_OUT = 124
"""What timeout(1) ends with."""


class Execute(Protocol):
    """Something that runs a command in the guest as root: BaseInstance.execute() is one."""

    def __call__(
        self,
        command: list[str],
        stdin: str | None = None,
        description: str | None = None,
        *,
        use_sudo: bool = False,
        timeout: float | None = None,
    ) -> Result:
        """Run a command that reads `stdin`, and give up after `timeout` seconds."""


@dataclass(frozen=True)
class Answer:
    """What a question brought.

    Args:
        text: both of its streams, as they came; without the last line's end.
        status: its exit status.
    """

    text: str
    status: int = 0

    @property
    def ok(self) -> bool:
        """Whether the exit status was 0."""
        return self.status == 0

    @property
    def lines(self) -> list[str]:
        """The lines that are not empty."""
        return [line for line in self.text.splitlines() if line.strip()]


def ask(execute: Execute, questions: Mapping[str, str], *, timeout: float) -> dict[str, Answer]:
    """Put all questions, as root, in one command.

    Args:
        execute: runs a command in the guest.
        questions: shell commands by name. None gets standard input, and each is given up after two minutes.
        timeout: seconds for all of them.

    Returns:
        The answer to each.

    Raises:
        CommandTimeoutError: they were not all answered in time.
        SSHError: the guest could not be asked, or does not let its user become root.
    """
    mark = secrets.token_hex(8)
    done = execute(
        ["sh"],
        stdin=_script(questions, mark),
        description="ask the guest about itself",
        use_sudo=True,
        timeout=timeout,
    )
    answers = dict(_answer(line) for line in done.stdout.splitlines() if line.startswith(f"{mark} "))
    missing = [name for name in questions if name not in answers]
    if missing:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.return_code}"])[-1]
        raise SSHError(f"the guest did not answer what was asked of it as root, such as {missing[0]!r}: {last}")
    return answers


def _script(questions: Mapping[str, str], mark: str) -> str:
    """Every answer is one line: nothing that a guest prints can be taken for another answer.

    The first line is empty, because a login shell may print something without the end of a line.
    """
    head = f"""\
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"
echo
ask() {{
    said=$(timeout {SECONDS_PER_QUESTION} sh -c "$2" </dev/null 2>&1; printf '\\n%s' "$?")
    printf '{mark} %s %s\\n' "$1" "$(printf %s "$said" | base64 | tr -d '\\n')"
}}
"""
    return head + "".join(f"ask {name} {shlex.quote(command)}\n" for name, command in questions.items())


def _answer(line: str) -> tuple[str, Answer]:
    _, name, encoded = line.split(" ", 2)
    try:
        said = base64.b64decode(encoded).decode(errors="replace")
    except binascii.Error as error:
        raise SSHError(f"the guest's answer to {name!r} cannot be read: {error}") from error
    text, _, status = said.rpartition("\n")
    return name, Answer(text.rstrip("\n"), int(status))
