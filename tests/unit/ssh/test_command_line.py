"""The line that a login shell runs: every test passes it to real login shells, as sshd does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.ssh.command_line import MAX_LINE_LENGTH, command_line

SHELLS = ["sh", "bash", "tcsh", "csh", "fish", "zsh", "ksh"]

TEXT = st.text(
    st.one_of(st.sampled_from("!\\'\"\n $`*?=%~^#;&|<>(){}[]-"), st.characters(exclude_categories=["Cs"])),
    max_size=20,
).filter(lambda text: "\0" not in text)
"""Any text; every other character is one that means something to some shell."""

STAND_IN_FOR_SUDO = """#!/bin/sh
test "$1" = -n && test "$2" = -- || exit 99
shift 2
exec env -i PATH="$PATH" ROOT=yes "$@"
"""

examples = settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """A login shell that this machine has."""
    path = shutil.which(str(request.param))
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    return path


@pytest.fixture
def path_with_sudo(tmp_path: Path) -> str:
    """A PATH on which sudo starts a command with a clean environment, as the real one does, but for any user."""
    sudo = tmp_path / "sudo"
    sudo.write_text(STAND_IN_FOR_SUDO)
    sudo.chmod(0o755)
    return f"{tmp_path}:/usr/bin:/bin"


_home = {"HOME": ""}


@pytest.fixture(scope="module", autouse=True)
def home() -> Iterator[None]:
    """A home directory for shells that write to it, such as fish."""
    with TemporaryDirectory() as directory:
        _home["HOME"] = directory
        yield


def run_in(shell: str, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **_home, **environment}
    command = [shell, "-c", line.encode(errors="surrogateescape")]
    return subprocess.run(command, check=False, capture_output=True, env=environment, stdin=subprocess.DEVNULL)


def output_of(shell: str, line: str, **environment: str) -> bytes:
    done = run_in(shell, line, **environment)
    assert (done.returncode, done.stderr) == (0, b""), line
    return done.stdout


@examples
@given(arguments=st.lists(TEXT, max_size=4))
def test_arguments_of_a_list_arrive_unchanged(arguments: list[str], shell: str) -> None:
    line = command_line(["printf", "%s\\0", "first", *arguments])
    assert output_of(shell, line) == b"".join(each.encode() + b"\0" for each in ["first", *arguments])


@examples
@given(argument=TEXT, value=TEXT)
def test_arguments_and_variables_arrive_unchanged_through_sh(argument: str, value: str, shell: str) -> None:
    line = command_line(["sh", "-c", 'printf "%s\\0%s" "$1" "$A"', "sh", argument], env={"A": value})
    assert output_of(shell, line) == argument.encode() + b"\0" + value.encode()


@examples
@given(text=TEXT)
def test_a_script_arrives_unchanged(text: str, shell: str) -> None:
    script = f"cat <<'*END*'\n{text}\n*END*\n"
    assert output_of(shell, command_line(script)) == f"{text}\n".encode()


@pytest.mark.parametrize(
    ("script", "output", "status"),
    [
        ("echo one\necho two; exit 3", b"one\ntwo\n", 3),
        ("echo a; echo 'b c' | tr b x", b"a\nx c\n", 0),
        ("-x 2>/dev/null; echo here", b"here\n", 0),
        ("", b"", 0),
        ('echo "$((1+1))"\n', b"2\n", 0),
        ("if ! false; then echo 'Hello, world!'; fi", b"Hello, world!\n", 0),
        ("[ a != b ] && ! [ a = b ] && echo differ", b"differ\n", 0),
        ("printf 'a\\tb\\\\n'", b"a\tb\\n", 0),
        ("printf %s '\\!x'\\!", b"\\!x!", 0),
        ("echo $# $0", b"0 sh\n", 0),
        ("no-such-program-at-all 2>/dev/null", b"", 127),
        ("echo hi", b"hi\n", 0),
        ("false", b"", 1),
        ("cat /dev/null", b"", 0),
    ],
)
def test_a_string_runs_as_in_sh(script: str, output: bytes, status: int, shell: str) -> None:
    done = run_in(shell, command_line(script))
    assert (done.stdout, done.returncode, done.stderr) == (output, status, b"")


def test_a_missing_program_is_127_in_every_shell(shell: str) -> None:
    assert run_in(shell, command_line("no-such-program-at-all")).returncode == 127


def test_helper_variables_are_not_passed_on(shell: str) -> None:
    assert output_of(shell, command_line('printf "%s" "${_nl-}${_ex-}${_bs-}"\n: \\\\ !x')) == b""


def test_a_builtin_of_sh_runs_as_a_list_with_any_characters(shell: str) -> None:
    assert output_of(shell, command_line(["eval", "echo one\necho two!"])) == b"one\ntwo!\n"


def test_echo_of_a_list_prints_backslashes(shell: str) -> None:
    assert output_of(shell, command_line(["echo", "a\\tb\\\\n"])) == b"a\\tb\\\\n\n"


def test_a_list_may_begin_with_an_assignment(shell: str) -> None:
    assert output_of(shell, command_line(["A=1", "printenv", "A"])) == b"1\n"


def test_bytes_that_are_not_utf8_arrive(shell: str) -> None:
    name = b"caf\xe9!\n".decode(errors="surrogateescape")
    assert output_of(shell, command_line(["printf", "%s", name]), LC_ALL="C") == b"caf\xe9!\n"


@pytest.mark.parametrize("command", ["echo hi", "true", "echo a-b c_d e/f g:h i@j 10%"])
def test_builtins_of_every_shell_run_in_the_login_shell(command: str) -> None:
    assert command_line(command) == command


def test_programs_of_every_host_run_without_sh() -> None:
    assert command_line("cat /etc/os-release") == "exec cat /etc/os-release"


@pytest.mark.parametrize(
    "command",
    [
        "echo -e hi",
        "time true",
        "source file",
        "echo $HOME",
        "A=1 env",
        "echo a  b",
        "ls *",
        "echo 'a'",
        "~/x",
        "a\\b",
        "",
    ],
)
def test_sh_runs_every_other_string(command: str) -> None:
    assert command_line(command).startswith("exec sh -c -- ")


def test_redirections_of_a_string_happen_under_sudo(shell: str, path_with_sudo: str, tmp_path: Path) -> None:
    line = command_line(f'printf %s "$ROOT" > {tmp_path}/"$ROOT"', use_sudo=True)
    output_of(shell, line, PATH=path_with_sudo)
    assert (tmp_path / "yes").read_text() == "yes"


def test_env_is_set_under_sudo_and_a_list_stays_exact(shell: str, path_with_sudo: str) -> None:
    line = command_line(["printf", "%s|", "a=b", "$ROOT", "c d"], use_sudo=True, env={"A": "1"})
    assert output_of(shell, line, PATH=path_with_sudo) == b"a=b|$ROOT|c d|"
    line = command_line('printf %s "$A$ROOT"', use_sudo=True, env={"A": "it's\n!!"})
    assert output_of(shell, line, PATH=path_with_sudo) == b"it's\n!!yes"


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A-B", "Ä", "A\n"])
def test_impossible_names_of_variables_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot name an environment variable"):
        command_line("true", env={name: "x"})


def test_commands_that_no_host_could_take_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="the list is empty"):
        command_line([])
    with pytest.raises(InvalidArgumentError, match="NUL"):
        command_line("echo a\0b")
    with pytest.raises(InvalidArgumentError, match="lone surrogate"):
        command_line("echo \ud800")
    with pytest.raises(InvalidArgumentError, match="longer than"):
        command_line("x" * (MAX_LINE_LENGTH + 1))
    with pytest.raises(InvalidArgumentError, match="longer than"):
        command_line("echo '" + "x" * MAX_LINE_LENGTH)


def test_a_long_script_is_not_lengthened_beyond_what_linux_takes() -> None:
    script = "true\n" * ((MAX_LINE_LENGTH - 100) // 5)
    assert output_of("/bin/sh", command_line(script)) == b""
