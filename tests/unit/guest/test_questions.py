"""Questions put in one command, answered by a real shell."""

from __future__ import annotations

import subprocess

import pytest

from pycloudlib.errors import SSHError
from pycloudlib.guest.questions import Answer, ask
from pycloudlib.result import Result


def run(
    command: list[str],
    stdin: str | None = None,
    description: str | None = None,
    *,
    use_sudo: bool = False,
    timeout: float | None = None,
) -> Result:
    """Run it here."""
    assert use_sudo
    done = subprocess.run(command, input=(stdin or "").encode(), capture_output=True, timeout=timeout, check=False)
    return Result(done.stdout, done.stderr, done.returncode)


def test_each_question_has_its_answer_and_status() -> None:
    answers = ask(
        run,
        {
            "plain": "echo one; echo two",
            "no_end": "printf 'without a line end'",
            "fails": "echo wrong >&2; exit 3",
            "silent": "true",
            "unknown": "no-such-program-anywhere",
        },
        timeout=60,
    )
    assert answers["plain"] == Answer("one\ntwo", 0)
    assert answers["no_end"] == Answer("without a line end", 0)
    assert answers["fails"] == Answer("wrong", 3)
    assert answers["silent"] == Answer("", 0)
    assert answers["unknown"].status == 127
    assert answers["plain"].ok
    assert not answers["fails"].ok


def test_answer_may_contain_anything() -> None:
    answers = ask(
        run,
        {"quotes": """printf '%s' "it's \\"quoted\\" \\$HOME"; printf '\\n\\377\\n'""", "long": "seq 20000"},
        timeout=60,
    )
    assert answers["quotes"].text == 'it\'s "quoted" $HOME\n\ufffd'
    assert answers["long"].lines[-1] == "20000"
    assert len(answers["long"].lines) == 20000


def test_empty_lines_are_ignored() -> None:
    assert Answer("a\n\n  \nb").lines == ["a", "b"]


def test_standard_input_of_a_question_is_empty() -> None:
    assert ask(run, {"reads": "cat; echo end"}, timeout=60)["reads"].text == "end"


def test_refusal_is_reported_with_its_reason() -> None:
    def refuse(*_: object, **__: object) -> Result:
        return Result(b"", b"sudo: a password is required\n", 1)

    with pytest.raises(SSHError, match="as root, such as to 'first': sudo: a password is required"):
        ask(refuse, {"first": "true"}, timeout=1)
