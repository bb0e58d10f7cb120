"""What holds for every command."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import pycloudlib.cli
from pycloudlib.cli.cloud import Cloud, options_among
from pycloudlib.cli.exit_statuses import status_of
from pycloudlib.cli.root import COMMANDS, _advice, root
from pycloudlib.errors import (
    BootTimeoutError,
    CloudError,
    CommandTimeoutError,
    ConfigError,
    HostKeyError,
    InstanceNotFoundError,
    InvalidArgumentError,
    PycloudlibError,
    SSHConnectionError,
    TransferError,
)
from support.command_line import CommandLine

SLOW = ("asyncio", "boto3", "botocore", "cryptography", "jinja2", "moto", "paramiko", "pytest", "rich", "tenacity")
"""What is imported only by commands that need it, when they run."""


def commands(
    command: click.Command = root, path: tuple[str, ...] = ("pycloudlib",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that is no group, with the words that lead to it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None, name
        yield from commands(found, (*path, name))


ALL = [pytest.param(path, command, id=" ".join(path[1:])) for path, command in commands()]


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name=" ".join(path)))


def examples_of(path: tuple[str, ...], command: click.Command) -> list[str]:
    lines = [line.strip() for line in help_of(path, command).splitlines()]
    begin = next((at for at, line in enumerate(lines) if line in ("Example:", "Examples:")), len(lines))
    return [line for line in lines[begin:] if line.startswith("pycloudlib ")]


@pytest.mark.parametrize(("path", "command"), ALL)
def test_the_help_of_every_command_has_an_example_of_it(path: tuple[str, ...], command: click.Command) -> None:
    assert [line for line in examples_of(path, command) if line.startswith(" ".join(path))] != []


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_example_is_a_command_line_that_can_be_given(
    path: tuple[str, ...], command: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user-data.yaml").touch()
    # The files of the examples do not exist.
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _parameter, _context: value)
    for example in examples_of(path, command):
        words = shlex.split(example)
        end = next((at for at, word in enumerate(words) if word in (">", "|")), len(words))
        words = words[:end]
        assert tuple(words[: len(path)]) == path
        with command.make_context(" ".join(path), words[len(path) :]) as context:
            assert context.params


def test_command_list_has_a_complete_sentence_per_command() -> None:
    lines = root.get_help(click.Context(root, terminal_width=80)).splitlines()
    summaries = {line.split()[0]: line for line in lines[lines.index("Commands:") + 1 :]}
    assert list(summaries) == list(COMMANDS)
    assert [line for line in summaries.values() if line.endswith("...")] == []


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_option_is_documented(path: tuple[str, ...], command: click.Command) -> None:
    shown_by_choices = ("--arch", "--image-type", "--driver", "--accelerator")
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [one.opts for one in options if not one.help and one.opts[0] not in shown_by_choices] == []


def test_every_command_has_a_file_of_its_own() -> None:
    modules = [where.partition(":")[0] for where in COMMANDS.values()]
    assert len(set(modules)) == len(modules)
    assert all(module.startswith("pycloudlib.cli.") for module in modules)


def test_listing_the_commands_imports_nothing_slow() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from pycloudlib.cli.root import root\n"
        "assert CliRunner().invoke(root, ['--help']).exit_code == 0\n"
        f"print([name for name in {SLOW} if name in sys.modules ])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_no_module_of_the_command_line_imports_anything_slow_at_its_head() -> None:
    heads = {
        path.name: {name for node in ast.parse(path.read_text()).body for name in imported_by(node)}
        for path in Path(pycloudlib.cli.__file__).parent.glob("*.py")
    }
    assert {name: sorted(found & set(SLOW)) for name, found in heads.items() if found & set(SLOW)} == {}


def imported_by(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["luanch"], "No such command 'luanch'"),
        (["launch"], "Missing argument 'IMAGE'"),
        (["ssh"], "Missing argument 'INSTANCE'"),
        (["exec", "i-0"], "no command to run: write it after --"),
        (["exec", "i-0", "uptime"], "invalid instance id 'uptime'"),
        (["delete"], "Missing argument 'ID...'"),
        (["list", "--state", "gone"], "'gone' is not one of"),
        (["launch", "noble", "--ttl", "soon"], "invalid duration"),
        (["launch", "noble", "--json", "--", "true"], "use `pycloudlib exec --json`"),
        (["launch", "noble", "--ssh", "--", "true"], "omit --ssh or the command"),
        (["launch", "noble", "--ssh", "--count", "2"], "omit --count"),
        (["list", "--local", "--profile", "x"], "--local determines the endpoint"),
        (["list", "--config", "/nowhere"], "'/nowhere' does not exist"),
        (["images", "--daily"], "--daily needs --release"),
        (["images", "--release", "noble", "--name", "x"], "omit --owner and --name"),
        (["launch", "noble", "uname", "-r"], "No such option '-r'. Write a command for the instance after --."),
        (["lunch", "noble"], "No such command 'lunch'. Did you mean 'launch'?"),
        (["local", "strat"], "No such command 'strat'. Did you mean 'start'?"),
        (["local", "image", "biuld"], "No such command 'biuld'. Did you mean 'build'?"),
        (["completion", "csh"], "'csh' is not one of"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_a_reason(
    words: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words, monkeypatch) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert complaint in " ".join(told.err.split())


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    from pycloudlib.cli.root import run

    monkeypatch.setattr(sys, "argv", ["pycloudlib", *words])
    return run()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PycloudlibError("x"), 1),
        (ConfigError(["x"]), 1),
        (CloudError("x"), 1),
        (TransferError("x"), 1),
        (InvalidArgumentError("x"), 2),
        (InstanceNotFoundError("x"), 3),
        (BootTimeoutError("x"), 124),
        (CommandTimeoutError("x"), 124),
        (SSHConnectionError("x"), 255),
        (HostKeyError("x"), 255),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_exit_status_identifies_the_kind_of_error(error: PycloudlibError, status: int) -> None:
    assert status_of(error) == status


def test_version_is_printed(cli: CommandLine) -> None:
    assert cli.run("--version").stdout.startswith("pycloudlib, version ")


def test_without_a_command_the_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([], monkeypatch) in (0, 2)  # as click's release has it
    assert "launch  " in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], []),
        (["launch", "noble"], []),
        (["launch", "--local", "noble"], ["--local"]),
        (["launch", "--region", "eu-west-1", "noble", "--config=x"], ["--region", "eu-west-1", "--config=x"]),
        (["launch", "noble", "--", "--local", "--region", "x"], []),
        (["launch", "--region"], ["--region"]),
    ],
    ids=str,
)
def test_endpoint_options_are_extracted_from_a_command_line(words: list[str], found: list[str]) -> None:
    assert options_among(words) == found


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["local", "image", "build", "--force"], "pycloudlib local image build --force"),
        (["-v", "local", "start"], "pycloudlib local stop"),
        (["local", "start", "--name", "mine", "--auth"], "pycloudlib local stop --name mine"),
        (["sweep", "--local", "--yes"], "pycloudlib sweep --local --yes"),
    ],
    ids=str,
)
def test_the_advice_after_a_second_ctrl_c_removes_what_is_left(words: list[str], advice: str) -> None:
    assert _advice(words) == advice


def test_the_options_lead_to_the_same_ec2_again() -> None:
    cloud = Cloud(Path("x.toml"), "eu-west-1", "work", "http://127.0.0.1:1")
    assert options_among(cloud.words) == cloud.words
    assert Cloud(local=True).words == ["--local"]
