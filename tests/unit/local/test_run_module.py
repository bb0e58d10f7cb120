"""Child interpreters: the modules of this package, whatever the working directory contains."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pycloudlib.local import LocalEC2
from pycloudlib.local.network.namespaces.probe import probe
from pycloudlib.local.prerequisites import find
from pycloudlib.local.run_module import module_command

SOURCES = Path(__file__).parents[3] / "src"
INSIDE = """
import sys
del sys.path[0]
from pycloudlib.local import LocalEC2
with LocalEC2(accelerator="tcg") as local:
    local.exec_inside(["pwd"])
"""


@pytest.fixture
def misleading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules that have the names of others."""
    (tmp_path / "pycloudlib").mkdir()
    for module in ("json.py", "runpy.py", "socket.py", "pycloudlib/__init__.py"):
        (tmp_path / module).write_text("raise SystemExit(f'imported {__file__}')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("home", "misleading")
@pytest.mark.parametrize("safe_path", ["", "1"])
def test_server_starts_in_a_misleading_directory(safe_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", safe_path)
    with LocalEC2(driver="simulated") as local:
        assert local.info.pid


def test_probe_works_in_a_misleading_directory(misleading: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe.cache_clear()
    found = probe()
    monkeypatch.chdir("/")
    probe.cache_clear()
    assert found == probe()


@pytest.mark.skipif(find("qemu-system-x86_64") is None, reason="needs QEMU")
def test_network_and_exec_inside_work_in_a_misleading_directory(home: Path, misleading: Path) -> None:
    if not probe().works:
        pytest.skip(probe().reason)
    done = subprocess.run([sys.executable, "-c", INSIDE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{misleading}\n", "")


def test_package_that_only_its_parent_found(misleading: Path) -> None:
    """A child finds a package in a directory that its own sys.path does not contain."""
    isolated = [sys.executable, "-S", *module_command("pycloudlib.releases")[1:]]
    done = subprocess.run(isolated, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_child_is_started_with_the_working_directory_in_its_path() -> None:
    started = re.compile(r'sys\.executable,\s*"-[mc]"')
    assert [path for path in SOURCES.rglob("*.py") if started.search(path.read_text())] == []
