"""`pycloudlib push` and `pycloudlib pull`, against a real sshd."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.cli_world import CliWorld


def test_a_file_goes_in_and_comes_out(world: CliWorld, machine: str, tmp_path: Path) -> None:
    here, there, back = tmp_path / "here", tmp_path / "there", tmp_path / "back"
    here.write_bytes(b"\0\xff\n")
    there.mkdir()
    done = world.cli.run("push", "--local", machine, str(here), f"{there}/")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (there / "here").read_bytes() == b"\0\xff\n"
    back.mkdir()
    assert world.cli.run("pull", "--local", machine, str(there / "here"), str(back)).returncode == 0
    assert (back / "here").read_bytes() == b"\0\xff\n"


def test_a_directory_goes_in_and_comes_out(world: CliWorld, machine: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_text("text")
    assert world.cli.run("push", "--local", machine, str(tree), str(tmp_path / "copy")).returncode == 0
    assert (tmp_path / "copy" / "below" / "file").read_text() == "text"
    pulled = subprocess.run(
        [*world.cli.command, "pull", "--local", machine, str(tmp_path / "copy")],
        cwd=tmp_path / "tree",
        env=world.cli.environment,
        check=False,
    )
    assert pulled.returncode == 0
    # In this directory, what is in one gets a new one of its name.
    assert (tree / "copy" / "below" / "file").read_text() == "text"


def test_missing_file_error_names_both_paths(world: CliWorld, machine: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    complaint = world.cli.complaint("pull", "--local", machine, str(missing), str(tmp_path / "x"))
    assert complaint.endswith(f":{missing} to {tmp_path / 'x'}: No such file (on the host)")
    assert not (tmp_path / "x").exists()
