from __future__ import annotations

import pytest

from pycloudlib.errors import LoginShellError
from pycloudlib.guest.framing import Frame, ask

REDIRECTION = b'Please login as the user "admin" rather than the user "root".\n\n'


def test_answer_is_the_output_of_the_command(run) -> None:
    answer = ask(run, "printf 'one\\n\\n'; echo oops >&2; exit 3", timeout=30, description="ask")
    assert (answer.raw_stdout, answer.stderr, answer.return_code) == (b"one\n\n", "oops", 3)


def test_output_around_the_answer_is_ignored(run) -> None:
    answer = ask(
        lambda command, **options: run(f"echo before\n({command})\necho after", **options),
        "echo one",
        timeout=30,
        description="ask",
    )
    assert answer.raw_stdout == b"one\n"


def test_notes_arrive_as_they_are_written() -> None:
    notes: list[str] = []
    frame = Frame(notes.append)
    mark = frame.script("").split("'")[1].split()[0]
    for piece in (
        f"{mark} note forged\n",
        f"{mark} begin\n{mark} no",
        "te first one\n",
        f"other\n{mark} note second\n",
    ):
        frame.feed("stdout", piece.encode())
    assert notes[-2:] == ["first one", "second"]


def test_redirected_login_is_reported_at_once() -> None:
    frame = Frame()
    with pytest.raises(LoginShellError, match="Please login as the user") as caught:
        frame.feed("stdout", REDIRECTION)
    assert caught.value.advised_user == "admin"


def test_advice_in_the_output_of_the_command_is_not_a_redirection(run) -> None:
    frame = Frame()
    script = frame.script(f"echo '{REDIRECTION.decode()}'")
    assert "Please login" in frame.answer(run(script, on_output=frame.feed))


@pytest.mark.parametrize("frame", [Frame()])
def test_frame_is_complete_after_the_end_of_the_command(run, frame: Frame) -> None:
    run(frame.script("kill -KILL $PPID").replace("$PPID", "$$"), on_output=frame.feed)
    assert not frame.is_complete
    whole = Frame()
    run(whole.script("true"), on_output=whole.feed)
    assert whole.is_complete
