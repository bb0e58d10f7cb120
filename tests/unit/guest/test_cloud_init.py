from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.errors import LoginShellError
from pycloudlib.guest import cloud_init
from pycloudlib.guest.boot import BOOT_ID_PATH
from pycloudlib.guest.cloud_init import CloudInitOutcome, CloudInitVerdict, wait_for_cloud_init
from support.cloud_init import (
    KILLED,
    NO_SUBCOMMAND,
    NOT_BEGUN,
    STAGE,
    STAGES,
    STATUS_18_TO_23,
    STATUS_24_RECOVERABLE,
    STATUS_DISABLED,
    status,
    write_result,
    write_status,
)

DONE = CloudInitOutcome(CloudInitVerdict.DONE)

UNITS_UP_TO_24_2 = ("cloud-final", "cloud-config", "cloud-init", "cloud-init-local")
UNITS_FROM_24_3 = ("cloud-final", "cloud-config", "cloud-init-network", "cloud-init-local", "cloud-init-main")

STATUS_UP_TO_23_3_WAITS = '[ "$*" != "status --wait --long" ] || exec sleep 600\n'


class Machine:
    """A guest whose systemd and cloud-init say what a test wants; each pause of the wait is a step of its story.

    Args:
        root: a directory of its own.
        run: runs a command in the guest.
        program: puts a program into the guest.
    """

    def __init__(self, root: Path, run: Callable[..., object], program: Callable[[str, str], None]) -> None:
        self.run = run
        self.program = program
        self.directory = root / "run-cloud-init"
        self.cgroups = root / "cgroup"
        self.schedule = root / "scheduled"
        self.nologin = root / "nologin"
        self.notes: list[str] = []
        self._steps = root / "steps"
        self._root = root
        for folder in (self.directory, self.cgroups, self._steps):
            folder.mkdir()
        self.units()
        self.system("running")
        self.jobs("")
        program(
            "systemctl",
            f'case "$*" in is-system-running) cat {root}/system ;; *reboot.target*) cat {root}/jobs ;;\n'
            f"show*) cat {root}/units ;; *) exit 1 ;; esac",
        )
        program("cloud-init", "echo 'nobody asks when the files tell'; exit 70")
        # Every pause runs the next step. After the last one, a wait that goes on would never end: it is cut short.
        program(
            "sleep",
            f"for step in {self._steps}/*; do\n"
            'set -f; [ -e "$step" ] || kill -KILL $PPID; . "$step"; exec rm -f "$step"; done',
        )

    def units(self, *, names: tuple[str, ...] = UNITS_UP_TO_24_2, **changed: str) -> str:
        """Let systemd describe the units: all have ended well, but those named, with underscores for hyphens."""
        blocks = []
        for name in names:
            state = changed.get(name.replace("-", "_"), "active exited")
            active, sub, *job = state.split()
            lines = [f"Id={name}.service", f"ActiveState={active}", f"SubState={sub}"]
            blocks.append("\n".join([*lines, *(f"Job={number}" for number in job)]))
        text = "\n\n".join(blocks) + "\n"
        (self._root / "units").write_text(text)
        return text

    def system(self, state: str) -> None:
        """Let `systemctl is-system-running` say this."""
        (self._root / "system").write_text(f"{state}\n")

    @property
    def state_file(self) -> Path:
        """What `systemctl is-system-running` says."""
        return self._root / "system"

    def jobs(self, text: str | None) -> None:
        """Let reboot.target have this job; with None, let nobody know."""
        if text is None:
            (self._root / "jobs").unlink()
        else:
            (self._root / "jobs").write_text(text)

    def then(self, *commands: str, after: int = 1) -> None:
        """Run commands in a later pause."""
        for _ in range(after):
            step = len(list(self._steps.iterdir()))
            (self._steps / f"{step:03}").write_text(":\n")
        (self._steps / f"{step:03}").write_text("\n".join(commands) + "\n")

    def then_units(self, *, after: int = 1, **changed: str) -> None:
        """Change the units in a later pause."""
        before = (self._root / "units").read_text()
        text = self.units(**changed)  # type: ignore[arg-type]
        (self._root / "units").write_text(before)
        self.then(f"cat >{self._root}/units <<END\n{text}END", after=after)

    def then_result(self, *errors: str, after: int = 1) -> None:
        """Write result.json in a later pause."""
        text = json.dumps({"v1": {"errors": errors}})
        self.then(f"cat >{self.directory}/result.json <<END\n{text}\nEND", after=after)

    def wait(self, seconds: float = 30) -> CloudInitOutcome:
        """Wait for its cloud-init."""
        return wait_for_cloud_init(self.run, deadline=Deadline.after(seconds), on_progress=self.notes.append)  # type: ignore[arg-type]


@pytest.fixture
def machine(  # noqa: PLR0917
    own_cloud_init_only, run, program, tool, tmp_path, monkeypatch
) -> Machine:
    tool("cut", "date", "grep", "kill", "rm", "sed", "tr")
    machine = Machine(tmp_path, run, program)
    monkeypatch.setattr(cloud_init, "STATUS_DIRECTORY", str(machine.directory))
    monkeypatch.setattr(cloud_init, "CGROUP_DIRECTORY", str(machine.cgroups))
    monkeypatch.setattr(cloud_init, "SHUTDOWN_SCHEDULE", str(machine.schedule))
    monkeypatch.setattr(cloud_init, "NOLOGIN", str(machine.nologin))
    monkeypatch.setattr(cloud_init, "ENDING_LOOKS", 0)
    return machine


@pytest.fixture
def ended(machine: Machine) -> Machine:
    """A machine on which cloud-init has ended well."""
    write_status(machine.directory)
    write_result(machine.directory)
    return machine


# When it has ended


def test_success_is_read_from_the_files(ended: Machine) -> None:
    assert ended.wait() == DONE


def test_wait_lasts_until_the_result_exists(machine: Machine) -> None:
    write_status(machine.directory, stage="modules-final", **{"modules-final": KILLED})
    machine.units(cloud_final="activating start 7")
    machine.then(f"rm {machine.directory}/status.json")
    write_status(machine.directory)
    machine.then_units(after=4)
    machine.then_result()
    assert machine.wait() == DONE


@pytest.mark.parametrize("names", [UNITS_UP_TO_24_2, UNITS_FROM_24_3])
@pytest.mark.parametrize("state", ["activating start", "inactive dead 12"])
def test_wait_lasts_until_no_unit_is_activating(ended: Machine, names: tuple[str, ...], state: str) -> None:
    ended.units(names=names, cloud_final=state)
    ended.then_units(names=names, after=5)  # type: ignore[arg-type]
    assert ended.wait() == DONE
    assert "cloud-final.service is still running" in ended.notes


@pytest.mark.parametrize("failed", ["cloud_config", "cloud_init", "cloud_init_local"])
def test_failed_stage_does_not_end_the_wait(machine: Machine, failed: str) -> None:
    """22.4.2: `cloud-init status --wait` says "error" here, while the final stage still runs."""
    broken = STAGE | {"errors": ["('locale', KeyError('x'))"]}
    write_status(machine.directory, stage="modules-final", **{"modules-config": broken, "modules-final": KILLED})
    machine.program("cloud-init", STATUS_18_TO_23)
    machine.units(cloud_final="activating start", **{failed: "failed failed"})
    write_status(machine.directory, **{"modules-config": broken})
    machine.then_units(after=20, **{failed: "failed failed"})
    machine.then_result("('locale', KeyError('x'))")
    assert machine.wait() == CloudInitOutcome(
        CloudInitVerdict.ERROR, f"('locale', KeyError('x')); {failed.replace('_', '-')}.service failed"
    )


def test_wait_lasts_until_the_main_process_ends(machine: Machine) -> None:
    write_status(machine.directory)
    machine.units(names=UNITS_FROM_24_3, cloud_init_main="active running")
    machine.then_result(after=12)
    assert machine.wait() == DONE


def test_killed_stage_without_a_result_ends_the_wait(machine: Machine) -> None:
    """Up to 23.3, `cloud-init status --wait` never returns here."""
    machine.program("cloud-init", STATUS_UP_TO_23_3_WAITS + status("running"))
    write_status(machine.directory, stage="modules-final", **{"modules-final": KILLED})
    machine.units(cloud_final="failed failed")
    machine.then(":", after=20)
    outcome = machine.wait()
    assert outcome == CloudInitOutcome(
        CloudInitVerdict.ERROR, "its stage modules-final did not end; cloud-final.service failed"
    )


def test_progress_names_the_unit_and_the_stage(machine: Machine) -> None:
    write_status(machine.directory, stage="modules-config", **{"modules-final": NOT_BEGUN})
    machine.units(cloud_final="inactive dead 9", cloud_config="activating start 8")
    machine.then_units(after=8)
    machine.then_result()
    machine.wait()
    assert machine.notes[0] == "cloud-init is still running: cloud-config.service, stage modules-config"


def test_wait_ends_seconds_after_its_deadline(machine: Machine) -> None:
    """The script stays behind in the guest when nobody waits any more."""
    machine.units(cloud_final="activating start")
    machine.program("sleep", "exit 0")
    patient = machine.run
    machine.run = lambda command, **options: patient(command, **{**options, "timeout": None})
    assert machine.wait(seconds=0).verdict is CloudInitVerdict.INTERRUPTED


def test_sleep_without_fractions_is_supported(machine: Machine) -> None:
    write_status(machine.directory)
    machine.program("sleep", f'[ "$1" = 1 ] || exit 1; echo "{{}}" >{machine.directory}/result.json')
    machine.program(
        "systemctl", f"[ -e {machine.directory}/result.json ] && s=active || s=activating; echo ActiveState=$s"
    )
    assert machine.wait() == DONE


def test_outcome_has_the_boot_id(ended: Machine) -> None:
    assert ended.wait().boot_id == Path(BOOT_ID_PATH).read_text().strip()


# How it ended


@pytest.mark.parametrize(
    ("stages", "verdict", "text"),
    [
        (
            {"init": STAGE | {"errors": ["first"]}, "modules-final": STAGE | {"errors": ["b\n c"]}},
            "ERROR",
            "first; b c",
        ),
        ({"init": KILLED}, "ERROR", "its stage init did not end"),
        (
            {"init": STAGE | {"recoverable_errors": {"WARNING": ["a key", "b"]}}},
            "RECOVERABLE",
            "WARNING: a key; WARNING: b",
        ),
        ({"init": STAGE | {"recoverable_errors": {}}}, "DONE", ""),
        ({"modules-init": NOT_BEGUN}, "DONE", ""),
        ({"modules-final": None}, "DONE", ""),
        ({"init": STAGE | {"errors": "x", "recoverable_errors": []}}, "DONE", ""),
    ],
)
def test_files_have_the_outcome(ended: Machine, stages: dict[str, object], verdict: str, text: str) -> None:
    write_status(ended.directory, **stages)
    assert ended.wait() == CloudInitOutcome(CloudInitVerdict[verdict], text)


def test_errors_of_the_result_count(ended: Machine) -> None:
    write_result(ended.directory, "only here")
    assert ended.wait() == CloudInitOutcome(CloudInitVerdict.ERROR, "only here")


@pytest.mark.parametrize("text", ["{", "{}", "[", '{"v1": []}', ""])
def test_damaged_status_is_replaced_by_the_result(ended: Machine, text: str) -> None:
    (ended.directory / "status.json").write_text(text)
    write_result(ended.directory, "broken")
    assert ended.wait() == CloudInitOutcome(CloudInitVerdict.ERROR, "broken")


@pytest.mark.parametrize(
    ("says", "verdict"),
    [
        (status("done"), "DONE"),
        (STATUS_18_TO_23, "ERROR"),
        (STATUS_24_RECOVERABLE, "RECOVERABLE"),
        (NO_SUBCOMMAND, "ABSENT"),
    ],
)
def test_damaged_files_are_replaced_by_the_command(ended: Machine, says: str, verdict: str) -> None:
    for name in ("status.json", "result.json"):
        (ended.directory / name).write_text("{")
    ended.program("cloud-init", says)
    assert ended.wait().verdict is CloudInitVerdict[verdict]


@pytest.mark.parametrize(
    ("says", "verdict"),
    [
        (status("done"), "DONE"),
        (status("done", code=2), "DONE"),
        (status("running"), "ERROR"),
        (status("error", code=1), "ERROR"),
        (NO_SUBCOMMAND, "ERROR"),
    ],
)
def test_command_decides_about_a_failed_unit(ended: Machine, says: str, verdict: str) -> None:
    ended.units(cloud_final="failed failed")
    ended.program("cloud-init", says)
    assert ended.wait().verdict is CloudInitVerdict[verdict]


# Where it does not run


@pytest.mark.parametrize("says", [STATUS_DISABLED, status("not run"), status("not started"), NO_SUBCOMMAND])
def test_disabled_cloud_init_is_not_awaited(machine: Machine, says: str) -> None:
    machine.program("cloud-init", says)
    machine.units(**dict.fromkeys(("cloud_final", "cloud_config", "cloud_init", "cloud_init_local"), "inactive dead"))
    assert machine.wait().verdict is CloudInitVerdict.ABSENT


def test_usage_text_is_not_a_recoverable_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_init, "UNCLEAR_LOOKS", 2)
    machine.program("cloud-init", NO_SUBCOMMAND)
    machine.program("systemctl", "exit 1")
    machine.then(":", after=16)
    assert machine.wait(seconds=60) == CloudInitOutcome(CloudInitVerdict.ABSENT)


def test_systemd_is_awaited_without_cloud_init(machine: Machine) -> None:
    machine.program("cloud-init", "exit 127")
    machine.system("starting")
    machine.then(f"echo degraded >{machine.directory.parent}/system", after=3)
    assert machine.wait().verdict is CloudInitVerdict.ABSENT
    assert machine.notes == ["cloud-init does not run; systemd is still booting"]


def test_result_in_another_directory_is_read_by_the_command(machine: Machine) -> None:
    machine.program("cloud-init", STATUS_24_RECOVERABLE)
    outcome = machine.wait()
    assert outcome.verdict is CloudInitVerdict.RECOVERABLE
    assert "a key is deprecated" in outcome.text


def test_unit_that_failed_without_files_raises(machine: Machine) -> None:
    machine.program("cloud-init", status("not run"))
    machine.units(cloud_init_local="failed failed")
    assert machine.wait() == CloudInitOutcome(
        CloudInitVerdict.ERROR, "cloud-init-local.service failed; status: not run"
    )


# Without systemd


@pytest.fixture
def other_init(machine: Machine) -> Machine:
    machine.program("systemctl", "echo 'System has not been booted with systemd as init system' >&2; exit 1")
    return machine


def test_result_decides_without_systemd(other_init: Machine) -> None:
    other_init.program("cloud-init", status("running"))
    write_status(other_init.directory)
    other_init.then_result(after=3)
    assert other_init.wait() == DONE


def test_early_error_does_not_end_the_wait_without_systemd(other_init: Machine) -> None:
    broken = STAGE | {"errors": ["broken"]}
    write_status(other_init.directory, stage="modules-final", **{"modules-config": broken, "modules-final": KILLED})
    other_init.program("cloud-init", STATUS_18_TO_23)
    final = json.dumps({"v1": STAGES | {"modules-config": broken}})
    other_init.then(f"cat >{other_init.directory}/status.json <<END\n{final}\nEND", after=60)
    other_init.then_result("broken")
    assert other_init.wait() == CloudInitOutcome(CloudInitVerdict.ERROR, "broken")


@pytest.mark.parametrize(
    ("says", "verdict"),
    [(STATUS_DISABLED, "ABSENT"), (status("done"), "DONE"), (STATUS_18_TO_23, "ERROR"), ("exit 127", "ABSENT")],
)
def test_command_decides_without_systemd_and_files(other_init: Machine, says: str, verdict: str) -> None:
    other_init.program("cloud-init", says)
    assert other_init.wait().verdict is CloudInitVerdict[verdict]


# Reboots


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process such as power_state leaves behind: a python whose arguments name cloud-init."""
    program = tmp_path / "cloud-init"
    program.write_text("import time\ntime.sleep(600)\n")
    process = subprocess.Popen([sys.executable, str(program), "modules", "--mode=final"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("hierarchy", ["", "systemd/"])
@pytest.mark.parametrize("unit", ["cloud-final.service", "cloud-init-main.service"])
def test_pending_power_state_is_awaited(
    ended: Machine,
    left_behind: subprocess.Popen[bytes],
    hierarchy: str,
    unit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloud_init, "SETTLING_LOOKS", 2)
    group = ended.cgroups / f"{hierarchy}system.slice/{unit}"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{os.getppid()}\n{left_behind.pid}\n")
    ended.then(f"kill -KILL {left_behind.pid}; rm {group}/cgroup.procs", after=3)
    ended.then(":", after=3)
    assert ended.wait() == DONE
    assert ended.notes == ["cloud-init is about to change the power state"]


def test_accepted_reboot_is_awaited(ended: Machine, left_behind: subprocess.Popen[bytes]) -> None:
    group = ended.cgroups / "system.slice/cloud-final.service"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{left_behind.pid}\n")
    ended.jobs("Job=321")
    ended.then(f"kill -KILL {left_behind.pid}; rm {group}/cgroup.procs", after=2)
    ended.then(f"echo stopping >{ended.state_file}", after=3)
    ended.then(":", after=3)
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED
    assert ended.notes == ["cloud-init is about to change the power state", "the machine is about to reboot"]


def test_remaining_process_of_cloud_init_does_not_delay_the_boot(
    ended: Machine, left_behind: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_init, "PENDING_LOOKS", 5)
    monkeypatch.setattr(cloud_init, "SETTLING_LOOKS", 0)
    group = ended.cgroups / "system.slice/cloud-final.service"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(f"{left_behind.pid}\n")
    ended.then(":", after=5)
    assert ended.wait() == DONE


def test_daemon_of_user_data_does_not_delay_the_boot(ended: Machine) -> None:
    group = ended.cgroups / "system.slice/cloud-final.service"
    group.mkdir(parents=True)
    log = subprocess.Popen(["tail", "-f", "/dev/null", "/var/log/cloud-init-output.log"], stderr=subprocess.DEVNULL)
    try:
        (group / "cgroup.procs").write_text(f"{log.pid}\n999999999\n")
        assert ended.wait() == DONE
    finally:
        log.kill()
        log.wait()


@pytest.mark.parametrize("job", ["Job=321", "\nJob=321\n"])
def test_rebooting_guest_is_not_ready(ended: Machine, job: str) -> None:
    ended.system("stopping")
    ended.jobs(job)
    ended.then(":", after=3)
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED
    assert ended.notes == ["the machine is about to reboot"]


def test_guest_with_an_unknown_shutdown_is_not_ready(ended: Machine) -> None:
    ended.system("stopping")
    ended.jobs(None)
    ended.then(":", after=3)
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED
    assert ended.notes == ["the machine is about to reboot"]


def test_guest_whose_bus_has_ended_is_not_ready(ended: Machine) -> None:
    ended.system("")
    ended.then(":", after=3)
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED
    assert ended.notes == ["the machine is about to go down"]


def test_late_reboot_is_awaited(ended: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_init, "ENDING_LOOKS", 6)
    ended.units(cloud_final="activating start 85")
    ended.jobs("Job=321")
    ended.then_units(cloud_final="active exited")
    ended.then(f"echo stopping >{ended.state_file}", after=3)
    ended.then(":", after=3)
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED
    assert ended.notes[-1] == "the machine is about to reboot"


def test_guest_whose_bus_ended_before_the_wait_is_not_ready(ended: Machine) -> None:
    ended.program("systemctl", "exit 1")
    ended.nologin.write_text("System is going down. Unprivileged users are not permitted to log in anymore.\n")
    ended.then(":", after=12)
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED
    assert ended.notes == ["the machine is about to go down"]


def test_booting_guest_may_reject_other_users(ended: Machine) -> None:
    ended.nologin.write_text("System is booting up. Unprivileged users are not permitted to log in yet.\n")
    assert ended.wait() == DONE


def test_unreachable_bus_does_not_delay_the_boot(ended: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_init, "PENDING_LOOKS", 5)
    ended.system("")
    ended.then(":", after=8)
    assert ended.wait() == DONE


def test_accepted_shutdown_is_awaited(ended: Machine) -> None:
    ended.program("busctl", '[ "$5" = PreparingForShutdown ] && echo "b true"')
    ended.jobs("Job=321")
    ended.then(f"echo stopping >{ended.state_file}", after=3)
    ended.then(":", after=3)
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED
    assert ended.notes == ["the machine is about to go down", "the machine is about to reboot"]


def test_guest_that_powers_off_is_done(ended: Machine) -> None:
    ended.system("stopping")
    assert ended.wait() == DONE


def test_errors_of_a_stage_killed_by_the_shutdown_do_not_count(ended: Machine) -> None:
    ended.system("stopping")
    write_result(ended.directory, "sys.exit(1) called")
    assert ended.wait().verdict is CloudInitVerdict.INTERRUPTED


@pytest.mark.parametrize(
    ("mode", "seconds", "verdict"),
    [("reboot", 10, "INTERRUPTED"), ("reboot", 3600, "DONE"), ("poweroff", 10, "DONE")],
)
def test_reboot_scheduled_before_the_deadline_is_awaited(ended: Machine, mode: str, seconds: int, verdict: str) -> None:
    ended.schedule.write_text(f"USEC={int(time.time()) + seconds}123456\nWARN_WALL=1\nMODE={mode}\n")
    ended.then(":", after=3)
    assert ended.wait(seconds=60).verdict is CloudInitVerdict[verdict]


# Login shells


def test_output_of_the_login_shell_is_ignored(ended: Machine) -> None:
    noisy = ended.run

    def run(command: str, **options: object) -> object:
        return noisy(f"printf '=how\\nWelcome\\n=result\\n{{}}\\n'\n{command}", **options)

    write_result(ended.directory, "broken")
    ended.run = run
    assert ended.wait() == CloudInitOutcome(CloudInitVerdict.ERROR, "broken")


def test_login_that_runs_another_program_raises(ended: Machine) -> None:
    quiet = ended.run
    ended.run = lambda _, **options: quiet("echo This account is currently not available.; exit 1", **options)
    with pytest.raises(LoginShellError, match=r"exit status 1 and printed 'This account is currently not available\.'"):
        ended.wait()


def test_killed_wait_has_no_outcome(machine: Machine) -> None:
    machine.units(cloud_final="activating start")
    assert machine.wait().verdict is CloudInitVerdict.INTERRUPTED
