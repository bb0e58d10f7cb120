"""`pycloudlib completion`: the scripts, as the shells themselves read them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli_world import QuickCommandLine, home_environment
from support.command_line import PROGRAM


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which the command is found."""
    program = tmp_path / "bin" / "pycloudlib"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{PROGRAM}\n")
    program.chmod(0o755)
    environment = home_environment(tmp_path)
    return {**environment, "PATH": f"{program.parent}:{environment['PATH']}"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_can_read(shell: str, on_path: dict[str, str], tmp_path: Path) -> None:
    done = QuickCommandLine(tmp_path, on_path).run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_PYCLOUDLIB_COMPLETE" in done.stdout
    if shutil.which(shell) is None:
        return
    read = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_options(on_path: dict[str, str]) -> None:
    script = """
        source <(pycloudlib completion bash)
        complete() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _pycloudlib_completion pycloudlib; }
        complete pycloudlib la; echo "${COMPREPLY[@]}"
        complete pycloudlib launch noble --k; echo "${COMPREPLY[@]}"
        complete pycloudlib completion ""; echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=on_path, check=False)
    assert done.stdout.splitlines() == ["launch", "--keep --key", "bash zsh fish"], done.stderr
