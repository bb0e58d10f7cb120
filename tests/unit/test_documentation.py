"""The code blocks of the documentation: their types, settings, commands, and options."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
import yaml

from pycloudlib.cli.root import COMMANDS as COMMAND_MODULES
from pycloudlib.config import load_settings
from pycloudlib.toml_sections import parse
from support.documentation import PAGES, ROOT, Block, blocks, check_command, commands

WIDTH = 100
"""The characters of a line of code that a page shows without a scroll bar; see docs/_static/custom.css."""

# Blocks repeat names, and boto3's stubs do not take a mapping of arguments.
MYPY = [
    *("--config-file=", "--check-untyped-defs", "--ignore-missing-imports", "--follow-imports=silent"),
    *(f"--disable-error-code={code}" for code in ("call-overload", "no-redef", "used-before-def", "var-annotated")),
]


def check_types(directory: Path, pages: Mapping[str, str]) -> str:
    pytest.importorskip("mypy")
    for name, text in pages.items():
        (directory / f"page_{name}.py").write_text(text)
    command = [sys.executable, "-m", "mypy", *MYPY, "--cache-dir", str(ROOT / ".mypy_cache/documentation"), "."]
    environment = {**os.environ, "MYPYPATH": f"{ROOT}/src:{ROOT}/tests"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return "" if done.returncode == 0 else done.stdout


def test_python_has_no_type_errors(tmp_path: Path) -> None:
    lines: dict[str, list[str]] = {}
    for block in blocks("python"):
        of_page = lines.setdefault(block.page.stem.replace("-", "_"), ["from support.documentation_names import *"])
        # The numbers of lines in messages are those of the page.
        of_page += [""] * (block.line - 1 - len(of_page)) + block.text.splitlines()
    assert len(lines) > 10
    assert check_types(tmp_path, {name: "\n".join(text) + "\n" for name, text in lines.items()}) == ""


def test_python_with_an_unknown_method_is_found(tmp_path: Path) -> None:
    text = "from support.documentation_names import *\nec2.lunch(image_id)\n"
    assert 'page_wrong.py:2: error: "EC2" has no attribute "lunch"' in check_types(tmp_path, {"wrong": text})


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_shell_parses_commands(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


COMMANDS = [(block, words) for block in blocks("sh", "text", "console") for words in commands(block)]


@pytest.mark.parametrize(
    ("block", "words"), [(block, words) for block, words in COMMANDS if words[0] == "pycloudlib"], ids=str
)
def test_command_exists_with_its_options(block: Block, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    check_command(words, monkeypatch)


def test_command_table_has_every_command() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    rows = {name for row in re.findall(r"^\| (\[`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert set(COMMAND_MODULES) <= rows


def test_pytest_options_exist(pytester: pytest.Pytester) -> None:
    used = {word.split("=")[0] for _, words in COMMANDS for word in words if word.startswith("--cloud-")}
    assert "--cloud-local" in used
    told = pytester.runpytest_subprocess("--help").stdout.str()
    assert used <= set(re.findall(r"--cloud-[a-z-]+", told))


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_settings_are_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    for name in ("id_ed25519", "id_ed25519.pub"):
        (tmp_path / ".ssh" / name).write_text("a key")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse(block.text, own="ec2").keys() & {"ec2", "local"}
    load_settings(StringIO(block.text))


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_parses(block: Block) -> None:
    assert yaml.safe_load(block.text)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_parses(block: Block) -> None:
    assert json.loads(block.text)


INCLUDED = sorted(
    {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"```{literalinclude} (\S+)", page.read_text())
    }
)


@pytest.mark.parametrize("file", INCLUDED, ids=lambda file: file.name)
def test_included_lines_fit_on_the_page(file: Path) -> None:
    assert [line for line in file.read_text().splitlines() if len(line) > WIDTH] == []


@pytest.mark.parametrize("block", blocks("ini", "json", "python", "sh", "toml", "yaml"), ids=str)
def test_code_fits_on_the_page(block: Block) -> None:
    assert [line for line in block.text.splitlines() if len(line) > WIDTH] == []
