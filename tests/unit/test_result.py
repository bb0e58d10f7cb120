from __future__ import annotations

import copy
import pickle

import pytest

from pycloudlib.errors import CommandError
from pycloudlib.result import SHOWN_STREAM_LENGTH, Result


def test_a_result_is_its_standard_output_without_trailing_white_space() -> None:
    result = Result(" out \n\n", " err \n")
    assert isinstance(result, str)
    assert result == result.stdout == " out"
    assert result.stderr == " err"
    assert type(result.stdout) is str


def test_the_raw_streams_are_kept_as_they_were() -> None:
    result = Result(b"a\xff\n", b"\x00b \n")
    assert (result.raw_stdout, result.raw_stderr) == (b"a\xff\n", b"\x00b \n")
    assert (result.stdout, result.stderr) == ("a\N{REPLACEMENT CHARACTER}", "\x00b")


def test_texts_become_raw_streams_too() -> None:
    assert Result("é\n").raw_stdout == b"\xc3\xa9\n"


@pytest.mark.parametrize(("return_code", "ok"), [(0, True), (1, False), (137, False)])
def test_a_result_is_true_when_the_command_succeeded(return_code: int, ok: bool) -> None:
    for stdout in ("", "text"):
        result = Result(stdout, return_code=return_code)
        assert (bool(result), result.ok, result.failed) == (ok, ok, not ok)


def test_the_defaults_are_those_of_success() -> None:
    result = Result("x")
    assert (result.stderr, result.return_code, result.command, result.duration) == ("", 0, "", 0.0)


def test_check_gives_back_a_result_that_succeeded() -> None:
    result = Result("x")
    assert result.check() is result


def test_check_raises_with_the_command_and_both_streams() -> None:
    result = Result("out\n", "err\n", 3, command="do it")
    with pytest.raises(CommandError) as caught:
        result.check()
    assert str(caught.value) == "command failed with exit status 3: do it\nstdout: out\nstderr: err"
    assert caught.value.result is result


def test_check_leaves_out_empty_streams_and_an_unknown_command() -> None:
    with pytest.raises(CommandError, match=r"^command failed with exit status 1: \(unknown\)$"):
        Result("", return_code=1).check()


def test_a_message_shows_the_end_of_a_long_stream() -> None:
    with pytest.raises(CommandError) as caught:
        Result("", f"{'x' * 10_000}the reason", 1).check()
    assert str(caught.value).endswith("xthe reason")
    assert "[6010 characters left out]" in str(caught.value)
    assert len(str(caught.value)) < SHOWN_STREAM_LENGTH + 200


def test_the_repr_shows_streams_and_exit_status() -> None:
    assert repr(Result("a\n", "b", 2)) == "Result(stdout='a', stderr='b', return_code=2)"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
def test_a_copy_has_everything(copied: object) -> None:
    assert callable(copied)
    result = copied(Result(b"a\xff", b"b", 2, command="c", duration=1.5))
    assert (result.raw_stdout, result.raw_stderr, result.return_code) == (b"a\xff", b"b", 2)
    assert (result.command, result.duration) == ("c", 1.5)
