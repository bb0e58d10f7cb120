"""A run of the checks, as a process of its own, on facts that were recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pycloudlib.validation.facts import Facts
from support import validate_facts
from support.checks import all_checks, good_facts, told

OWN_CHECK = """
from pycloudlib.validation import Facts, check, fail


@check(reason="Our agent reports it.", remedy="Install the agent.")
def test_agent_is_installed(facts: Facts) -> None:
    fail("there is no agent")


def test_plain(facts: Facts) -> None:
    assert facts.launch.username == "nobody"
"""


class Runner:
    """Runs the checks on facts.

    Args:
        directory: where files go, and where it is run.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, facts: Facts, **options: object) -> subprocess.CompletedProcess[str]:
        file = self.directory / "facts.json"
        file.write_text(facts.to_json())
        command = [
            sys.executable,
            validate_facts.__file__,
            str(file),
            json.dumps({"markers": "not lifecycle", **options}),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.directory, timeout=300)


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_a_good_image_passes_every_check(run: Runner) -> None:
    done = run(good_facts())
    assert done.returncode == 0, done.stdout
    for check in all_checks():
        group, name = check.name.split("::")
        if check.takes == "facts":
            assert f"test_{group}.py::test_{name} PASSED" in done.stdout or "SKIPPED" in done.stdout
    assert "launched" in done.stdout


def test_failure_reports_finding_reason_and_remedy(run: Runner) -> None:
    done = run(told(good_facts(), histories="/root/.bash_history"))
    assert done.returncode == 1
    assert "test_no_shell_history_is_left FAILED" in done.stdout
    lines = done.stdout.splitlines()
    at = lines.index("history files:")
    assert lines[at + 1].strip() == "/root/.bash_history"
    assert lines[at + 2].startswith("why:    A history reveals how the image was built")
    assert lines[at + 3].startswith("remedy: Run rm /root/.*_history")
    assert "Traceback" not in done.stdout
    assert lines[at + 4].startswith("====")


def test_failure_is_reported_once_in_ci(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    done = run(told(good_facts(), histories="/root/.bash_history"), keywords="history")
    assert done.returncode == 1
    assert done.stdout.count("why:") == done.stdout.count("remedy:") == 1


def test_checks_are_chosen_by_name_and_by_group(run: Runner) -> None:
    by_name = run(good_facts(), keywords="machine_id")
    assert "1 passed" in by_name.stdout
    by_group = run(good_facts(), markers="console or ssh")
    assert "5 passed" in by_group.stdout


def test_nothing_chosen_is_wrong_usage_and_launches_nothing(run: Runner) -> None:
    done = run(good_facts(), keywords="no_such_check")
    assert done.returncode == 2
    assert "InvalidArgumentError: no check matches -k and -m" in done.stderr
    assert "launched" not in done.stdout


def test_an_expression_that_is_none_is_wrong_usage(run: Runner) -> None:
    done = run(good_facts(), keywords="and and")
    assert done.returncode == 2
    assert "launched" not in done.stdout


def test_own_checks_are_run_with_the_others(run: Runner, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "test_own.py").write_text(OWN_CHECK)
    done = run(good_facts(), directories=["own"], keywords="agent or plain")
    assert done.returncode == 1
    assert "test_agent_is_installed FAILED" in done.stdout
    assert "why:    Our agent reports it." in done.stdout
    assert "2 failed" in done.stdout
    # A plain pytest test will do too: its assertion is shown as pytest shows it.
    assert "assert 'admin' == 'nobody'" in done.stdout
    assert "warning" not in done.stdout


def test_own_checks_are_chosen_by_the_group_of_their_file(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN_CHECK)
    done = run(good_facts(), directories=["test_own.py"], markers="own")
    assert "2 failed" in done.stdout
    assert "warning" not in done.stdout


def test_a_check_that_does_not_import_is_named_in_one_line_and_launches_nothing(run: Runner, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "test_own.py").write_text("import no_such_module\n")
    done = run(good_facts(), directories=["own"])
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("InvalidArgumentError: "))
    assert line.startswith("InvalidArgumentError: a check cannot be imported: ")
    assert line.endswith("test_own.py: ModuleNotFoundError: No module named 'no_such_module'")
    assert "launched" not in done.stdout


def test_pytest_settings_of_the_user_are_ignored(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('not mine')\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option-either")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    done = run(good_facts(), keywords="machine_id")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / ".pytest_cache").exists()


def test_the_report_in_junits_format_holds_every_check(run: Runner, tmp_path: Path) -> None:
    done = run(told(good_facts(), histories="/root/.bash_history"), junit="report.xml")
    assert done.returncode == 1
    suite = ElementTree.parse(tmp_path / "report.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("name") == "validation"
    assert len(suite) == sum(check.takes == "facts" for check in all_checks())
    (failed,) = (case for case in suite if case.find("failure") is not None)
    assert (failed.get("classname"), failed.get("name")) == ("test_access", "test_no_shell_history_is_left")
    assert "remedy: Run rm /root/.*_history" in str(failed[0].text)


def test_the_page_shows_what_is_wrong_first_and_everything_after(run: Runner, tmp_path: Path) -> None:
    facts = told(good_facts(), histories="/root/.<script>alert(1)</script>_history")
    assert run(facts, html="report.html").returncode == 1
    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert "/root/.&lt;script&gt;" in text
    assert text.index("Failures") < text.index("All checks") < text.index("Console")
    assert "<title>1 failed, " in text
    for check in all_checks():
        if check.takes == "facts":
            assert check.name.split("::")[1].replace("_", " ") in text
    assert "http" not in text.partition("<h2>Console")[0].replace("http://169", "")


def test_a_machine_that_never_came_up_fails_and_the_rest_is_skipped(run: Runner) -> None:
    dead = replace(
        good_facts(),
        answers={},
        console="",
        logged_in_after=None,
        boot_error="i-1 cannot become ready: its kernel panicked",
        not_asked="no login to the instance succeeded",
    )
    done = run(dead, markers="")
    assert done.returncode == 1
    assert "i-1 cannot become ready: its kernel panicked" in done.stdout
    assert "1 failed" in done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]
    assert "no login to the instance succeeded" in done.stdout


def test_facts_are_read_as_they_were_written() -> None:
    facts = good_facts()
    assert Facts.from_json(facts.to_json()) == facts
