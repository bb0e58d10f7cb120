from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pycloudlib.errors import CommandError
from pycloudlib.guest import boot
from pycloudlib.guest.boot import CloudInitOutcome, CloudInitVerdict, boot_id, wait_for_cloud_init

Program = Callable[[str, str], None]
Written = Callable[..., None]

STATUS_OF_22_4 = """echo "....."
echo "status: error"
echo "time: Thu, 01 Jan 1970 00:00:20 +0000"
echo "detail:"
echo "('ssh-authkey-fingerprints', KeyError('x'))"
exit 1"""

STATUS_OF_24_1 = """printf "...\\n\\nstatus: done\\nextended_status: degraded done\\n"
printf "recoverable_errors:\\nWARNING:\\n\\t- a key is deprecated\\n"
exit 2"""


STAGE: dict[str, Any] = {"errors": [], "start": 1.0, "finished": 2.0}
STAGES: dict[str, Any] = {
    "datasource": "DataSourceEc2Local",
    "stage": None,
    "init-local": STAGE,
    "init": STAGE,
    "modules-config": STAGE,
    "modules-final": STAGE,
}


@pytest.fixture(autouse=True)
def directory(own_cloud_init_only, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the guest's cloud-init writes how far it is: nothing yet."""
    directory = tmp_path / "run-cloud-init"
    directory.mkdir()
    monkeypatch.setattr(boot, "STATUS_DIRECTORY", str(directory))
    return directory


@pytest.fixture
def written(directory: Path, program: Program) -> Written:
    """Lets cloud-init have written how it ended, and say something else when it is asked."""
    program("cloud-init", 'echo "status: error"; exit 1')

    def write(**stages: object) -> None:
        (directory / "enabled").touch()
        (directory / "status.json").write_text(json.dumps({"v1": STAGES | stages}))
        (directory / "result.json").touch()

    return write


def test_a_clean_end_is_read_where_cloud_init_wrote_it(run, written: Written) -> None:
    written()
    assert wait_for_cloud_init(run, timeout=30) == CloudInitOutcome(CloudInitVerdict.DONE)


def test_the_end_is_waited_for(run, written: Written, directory: Path, program: Program) -> None:
    written()
    (directory / "result.json").unlink()
    program("sleep", f": >{directory}/result.json")
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.DONE


def test_so_is_the_end_of_its_last_unit(run, written: Written, tmp_path: Path, program: Program) -> None:
    written()
    program("systemctl", f'[ "$1" = show ] || exit 1; [ -e {tmp_path}/ended ] && echo active || echo activating')
    program("sleep", f": >{tmp_path}/ended")
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.DONE
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    "stages",
    [
        {"modules-config": STAGE | {"errors": ["('locale', KeyError('x'))"]}},
        {"init": STAGE | {"recoverable_errors": {"WARNING": ["a key is deprecated"]}}},
        {"modules-config": STAGE | {"finished": None}},
        {"modules-final": STAGE | {"start": None, "finished": None}},
        {"modules-final": None},
        {"stage": "modules-final"},
    ],
)
def test_any_other_end_is_left_to_cloud_init_to_tell(run, written: Written, stages: dict[str, object]) -> None:
    written(**stages)
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.ERROR


@pytest.mark.parametrize("text", ["{", "{}", "[", '{"v1": []}', '{"v1": {"modules-final": []}}', ""])
def test_what_is_damaged_is_not_believed(run, written: Written, directory: Path, text: str) -> None:
    written()
    (directory / "status.json").write_text(text)
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.ERROR


@pytest.mark.parametrize("missing", ["enabled", "status.json"])
def test_without_its_files_cloud_init_is_asked(run, written: Written, directory: Path, missing: str) -> None:
    written()
    (directory / missing).unlink()
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.ERROR


def test_a_unit_that_failed_is_left_to_cloud_init_to_tell_however_clean_its_files_are(
    run, written: Written, program: Program
) -> None:
    written()
    program("systemctl", '[ "$1" = show ] && printf "active\\n\\nfailed\\n"')
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.ERROR


def test_a_unit_that_failed_ends_the_wait(run, written: Written, directory: Path, program: Program) -> None:
    written()
    (directory / "result.json").unlink()
    program("sleep", "")
    units = "cloud-init*.service cloud-config.service cloud-final.service"
    program("systemctl", f'[ "$*" = "--quiet is-failed {units}" ]')
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.ERROR


def test_the_boot_id_is_the_kernels(run) -> None:
    assert boot_id(run) == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_guest_without_a_boot_id_is_an_error(run, program: Program) -> None:
    program("cat", "exit 1")
    with pytest.raises(CommandError, match="boot_id"):
        boot_id(run)


def test_cloud_init_that_is_done_has_nothing_to_report(run, program: Program) -> None:
    program("cloud-init", 'echo ".....\nstatus: done"')
    assert wait_for_cloud_init(run, timeout=30) == CloudInitOutcome(CloudInitVerdict.DONE)


def test_cloud_init_is_asked_to_wait(run, program: Program) -> None:
    program("cloud-init", '[ "$*" = "status --wait --long" ] || exit 1')
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.DONE


def test_cloud_init_that_is_disabled_is_done(run, program: Program) -> None:
    program("cloud-init", 'echo "status: disabled"')
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.DONE


def test_an_error_is_told_in_cloud_inits_own_words(run, program: Program) -> None:
    program("cloud-init", STATUS_OF_22_4)
    program("cat", "exit 1")
    outcome = wait_for_cloud_init(run, timeout=30)
    assert outcome.verdict is CloudInitVerdict.ERROR
    assert outcome.text.startswith("status: error")
    assert "ssh-authkey-fingerprints" in outcome.text


def test_the_errors_it_wrote_down_are_told_without_the_rest(run, program: Program) -> None:
    program("cloud-init", STATUS_OF_22_4)
    program("cat", """echo '{"v1": {"datasource": "x", "errors": ["first", "second"]}}'""")
    assert wait_for_cloud_init(run, timeout=30) == CloudInitOutcome(CloudInitVerdict.ERROR, "first; second")


@pytest.mark.parametrize("written", ["", "not json", "[]", '{"v1": {}}', '{"v1": {"errors": []}}'])
def test_what_it_wrote_down_may_be_missing_or_damaged(run, program: Program, written: str) -> None:
    program("cloud-init", STATUS_OF_22_4)
    program("cat", f"echo '{written}'")
    outcome = wait_for_cloud_init(run, timeout=30)
    assert outcome.verdict is CloudInitVerdict.ERROR
    assert "ssh-authkey-fingerprints" in outcome.text


def test_recoverable_errors_are_told_and_no_failure(run, program: Program) -> None:
    program("cloud-init", STATUS_OF_24_1)
    outcome = wait_for_cloud_init(run, timeout=30)
    assert outcome.verdict is CloudInitVerdict.RECOVERABLE
    assert "a key is deprecated" in outcome.text


def test_a_status_that_was_killed_tells_nothing(run, program: Program) -> None:
    program("cloud-init", "kill -TERM $$")
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.INTERRUPTED


@pytest.mark.parametrize("script", ["echo running", "echo degraded; exit 1", "echo offline; exit 1"])
def test_without_cloud_init_it_is_systemd_that_is_waited_for(run, program: Program, script: str) -> None:
    program("systemctl", script)
    outcome = wait_for_cloud_init(run, timeout=30)
    assert outcome == CloudInitOutcome(CloudInitVerdict.ABSENT, script.split()[1].strip(";"))


def test_without_cloud_init_and_systemd_there_is_nothing_to_wait_for(run) -> None:
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.ABSENT


def test_a_systemd_that_goes_down_tells_nothing(run, program: Program) -> None:
    program("systemctl", "kill -TERM $$")
    assert wait_for_cloud_init(run, timeout=30).verdict is CloudInitVerdict.INTERRUPTED
