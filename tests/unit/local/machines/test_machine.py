"""A machine as a queue of commands, on hardware that does what the test says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.commands import (
    ChangeInterface,
    Command,
    Destroy,
    Freeze,
    Grow,
    Plug,
    Reboot,
    Request,
    Stop,
    Unplug,
)
from pycloudlib.local.machines.hardware import HardwareOffError
from pycloudlib.local.machines.machine import MachineState
from support.scripted_hardware import START, Bench, NamedDisk, interface

DATA = NamedDisk("vol-data")
PLUG = Plug(DATA)
UNPLUG = Unplug("vol-data")
FREEZE = Freeze(DATA, Path("/overlay"))
GROW = Grow(DATA, 9)
CHANGE = ChangeInterface(interface())


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def running(bench: Bench) -> Bench:
    bench.submit("start", START)
    bench.hardware.signal_ready()
    bench.hardware.take_done()
    bench.told.clear()
    bench.ends.clear()
    return bench


def reboot_with_freeze(bench: Bench, name: str) -> None:
    bench.submit(name, Reboot((Request(FREEZE, bench.noting(f"{name}'s freeze")),)))


def test_start_ends_when_machine_runs(bench: Bench) -> None:
    bench.submit("start", START)
    assert (bench.machine.state, bench.ends) == (MachineState.STARTING, {})
    bench.hardware.signal_ready()
    assert (bench.machine.state, bench.outcomes()) == (MachineState.RUNNING, {"start": "done"})
    assert bench.told == ["running"]


def test_start_fails_with_hardware_error(bench: Bench) -> None:
    bench.hardware.faults["on"] = MachineError("no room")
    bench.submit("start", START)
    assert bench.ends["start"].detail == "no room"
    assert bench.told == ["off: no room"]
    assert bench.machine.state is MachineState.OFF


def test_start_of_running_machine_is_refused_by_name(running: Bench) -> None:
    running.submit("again", START)
    assert running.ends["again"].detail == "machine of i-1 is running: it cannot be started"


def test_reboot_of_machine_that_is_off_is_refused_by_name_and_freezes_all_the_same(bench: Bench) -> None:
    reboot_with_freeze(bench, "reboot")
    assert bench.outcomes() == {"reboot's freeze": "done", "reboot": "failed"}
    assert bench.ends["reboot"].detail == "machine of i-1 is off: it cannot be rebooted"


def test_illegal_move_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(MachineError, match="machine of i-1 is off: it cannot be shutting down next"):
        bench.machine._move(MachineState.SHUTTING_DOWN)


def test_stop_lets_guest_shut_down(running: Bench) -> None:
    running.submit("stop", Stop())
    assert running.hardware.take_done() == ["press"]
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    assert running.outcomes() == {"stop": "done"}
    assert running.told == ["off: requested"]


def test_stop_cuts_power_when_guest_does_not_react(running: Bench) -> None:
    running.submit("stop", Stop())
    running.mailbox.pass_time()
    assert running.hardware.take_done() == ["press", "cut"]
    running.hardware.signal_power_off()
    assert running.told == ["off: requested"]


def test_forced_stop_overtakes_graceful_one(running: Bench) -> None:
    running.submit("stop", Stop())
    running.submit("force", Stop(force=True))
    assert running.hardware.take_done() == ["press", "cut"]
    running.hardware.signal_power_off()
    assert running.outcomes() == {"stop": "done", "force": "done"}
    assert running.told == ["off: requested"]


@pytest.mark.parametrize("end", [Stop(), Stop(force=True), Destroy()])
def test_machine_that_starts_is_cut_off(bench: Bench, end: Command) -> None:
    bench.submit("start", START)
    bench.submit("end", end)
    bench.hardware.signal_ready()
    bench.hardware.signal_power_off()
    assert bench.outcomes() == {"start": "overtaken", "end": "done"}
    assert "running" not in bench.told


def test_overdue_shutdown_of_previous_run_is_ignored(running: Bench) -> None:
    running.submit("stop", Stop())
    overdue = running.mailbox.later[-1]
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    running.submit("start", START)
    running.hardware.signal_ready()
    running.submit("stop again", Stop())
    running.mailbox.put(overdue)
    running.mailbox.run()
    assert running.machine.state is MachineState.SHUTTING_DOWN


def test_guest_that_powers_itself_off_is_reported(running: Bench) -> None:
    running.hardware.signal_guest_shutdown()
    assert running.hardware.take_done() == ["finish"]
    running.hardware.signal_power_off()
    assert running.told == ["off: the guest powered itself off"]


def test_guest_that_resets_itself_is_started_again_without_report(running: Bench) -> None:
    running.hardware.signal_guest_shutdown(reset=True)
    running.hardware.signal_power_off()
    assert running.hardware.take_done() == ["finish", "on again"]
    running.hardware.signal_ready()
    assert running.told == ["running"]


def test_hardware_that_does_not_get_ready_is_cut_off(bench: Bench) -> None:
    bench.submit("start", START)
    bench.mailbox.pass_time()
    assert bench.hardware.take_done() == ["on", "cut"]
    bench.hardware.signal_power_off("killed")
    assert bench.told == ["off: killed"]
    assert bench.outcomes() == {"start": "failed"}


def test_hardware_that_does_not_end_after_its_guest_is_cut_off(running: Bench) -> None:
    running.hardware.signal_guest_shutdown()
    running.mailbox.pass_time()
    assert running.hardware.take_done() == ["finish", "cut"]
    running.hardware.signal_power_off()
    assert running.told == ["off: the guest powered itself off"]


def test_hardware_that_dies_is_reported_with_its_last_words(running: Bench) -> None:
    running.hardware.signal_power_off("killed")
    assert running.told == ["off: killed"]


def test_failed_boot_snapshot_is_followed_by_boot_from_beginning(bench: Bench) -> None:
    bench.hardware.faults["complete"] = MachineError("no state")
    bench.hardware.retries = True
    bench.submit("start", START)
    bench.hardware.signal_ready()
    assert bench.hardware.take_done() == ["on", "complete", "cut"]
    bench.hardware.faults.clear()
    bench.hardware.signal_power_off()
    bench.hardware.signal_ready()
    assert bench.hardware.take_done() == ["on again", "complete"]
    assert bench.outcomes() == {"start": "done"}


def test_reboot_freezes_while_off(running: Bench) -> None:
    reboot_with_freeze(running, "reboot")
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    running.hardware.signal_ready()
    assert running.hardware.take_done() == ["press", "finish", "freeze vol-data off", "on again", "complete"]
    assert running.outcomes() == {"reboot's freeze": "done", "reboot": "done"}


def test_reboot_before_guest_is_down_joins_the_one_under_way(running: Bench) -> None:
    """The image of a CreateImage that was followed by RebootInstances stayed pending for ever."""
    reboot_with_freeze(running, "image")
    running.submit("reboot", Reboot())
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    running.hardware.signal_ready()
    assert running.hardware.take_done() == ["press", "finish", "freeze vol-data off", "on again", "complete"]
    assert running.outcomes() == {"image's freeze": "done", "image": "done", "reboot": "done"}


def test_two_reboots_at_once_both_freeze(running: Bench) -> None:
    reboot_with_freeze(running, "one")
    reboot_with_freeze(running, "two")
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    running.hardware.signal_ready()
    assert running.outcomes() == dict.fromkeys(["one's freeze", "two's freeze", "one", "two"], "done")


def test_reboot_of_machine_that_starts_again_freezes_before_the_guest_begins(running: Bench) -> None:
    running.submit("reboot", Reboot())
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    reboot_with_freeze(running, "image")
    running.hardware.signal_power_off()
    running.hardware.signal_ready()
    assert running.hardware.take_done()[-4:] == ["cut", "freeze vol-data off", "on again", "complete"]
    assert set(running.outcomes().values()) == {"done"}


def test_hardware_that_dies_after_the_freeze_of_a_reboot_freezes_once(running: Bench) -> None:
    reboot_with_freeze(running, "image")
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    running.hardware.signal_power_off("killed")
    assert running.outcomes() == {"image's freeze": "done", "image": "failed"}
    assert running.told == ["off: killed"]


def test_guest_that_does_not_react_is_reset(running: Bench) -> None:
    running.submit("reboot", Reboot())
    running.mailbox.pass_time()
    running.hardware.signal_power_off()
    assert running.hardware.take_done() == ["press", "cut", "on again"]


def test_stop_during_reboot_leaves_machine_off(running: Bench) -> None:
    reboot_with_freeze(running, "image")
    running.submit("stop", Stop())
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    assert running.outcomes() == {"image's freeze": "done", "image": "overtaken", "stop": "done"}
    assert running.machine.state is MachineState.OFF


def test_hardware_that_dies_during_reboot_is_frozen_and_reported(running: Bench) -> None:
    reboot_with_freeze(running, "image")
    running.hardware.signal_power_off("killed")
    assert running.outcomes() == {"image's freeze": "done", "image": "failed"}
    assert running.told == ["off: killed"]


@pytest.mark.parametrize("command", [PLUG, FREEZE, GROW, CHANGE])
def test_device_command_waits_until_machine_runs(bench: Bench, command: Command) -> None:
    bench.submit("start", START)
    bench.submit("command", command)
    assert bench.hardware.take_done() == ["on"]
    bench.hardware.signal_ready()
    assert bench.outcomes() == {"start": "done", "command": "done"}


def test_device_commands_that_waited_are_served_in_order(bench: Bench) -> None:
    bench.submit("start", START)
    for number, command in enumerate([PLUG, FREEZE, UNPLUG]):
        bench.submit(f"{number}", command)
    bench.hardware.signal_ready()
    assert bench.hardware.take_done() == ["on", "complete", "plug vol-data", "freeze vol-data", "unplug vol-data"]


def test_device_command_during_shutdown_is_served_when_off(running: Bench) -> None:
    running.submit("stop", Stop())
    running.submit("plug", PLUG)
    assert running.ends == {}
    running.hardware.signal_guest_shutdown()
    running.hardware.signal_power_off()
    assert running.outcomes() == {"plug": "done", "stop": "done"}


def test_device_command_fails_with_reason(running: Bench) -> None:
    running.hardware.faults["plug"] = MachineError("no slot is free")
    running.submit("plug", PLUG)
    assert running.ends["plug"].detail == "no slot is free"


def test_program_fault_in_command_does_not_stop_the_next_one(running: Bench) -> None:
    running.hardware.faults["plug"] = ZeroDivisionError()
    running.submit("plug", PLUG)
    running.submit("freeze", FREEZE)
    assert running.outcomes() == {"plug": "failed", "freeze": "done"}


def test_requester_fault_does_not_stop_the_next_command(running: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    running.machine.submit(PLUG, fail)
    running.submit("freeze", FREEZE)
    assert running.outcomes() == {"freeze": "done"}
    assert "could not be reported" in caplog.text


def test_command_that_hardware_went_off_under_is_served_when_off(running: Bench) -> None:
    running.hardware.faults["freeze"] = HardwareOffError("the machine is gone")
    running.submit("freeze", FREEZE)
    running.submit("grow", GROW)
    assert running.ends == {}
    running.hardware.faults.clear()
    running.hardware.signal_power_off("killed")
    assert running.outcomes() == {"freeze": "done", "grow": "done"}


def test_unplug_ends_when_guest_releases_device(running: Bench) -> None:
    running.submit("unplug", UNPLUG)
    running.hardware.signal_released("vol-other")
    assert running.ends == {}
    running.hardware.signal_released("vol-data")
    assert running.outcomes() == {"unplug": "done"}


def test_forced_unplug_ends_without_the_guest(running: Bench) -> None:
    running.submit("unplug", UNPLUG)
    running.submit("forced", Unplug("vol-data", force=True))
    assert running.outcomes() == {"unplug": "done", "forced": "done"}
    running.hardware.signal_released("vol-data")
    assert running.outcomes() == {"unplug": "done", "forced": "done"}


def test_unplug_ends_when_machine_goes_off(running: Bench) -> None:
    running.submit("unplug", UNPLUG)
    running.hardware.signal_guest_shutdown(reset=True)
    running.hardware.signal_power_off()
    assert running.outcomes() == {"unplug": "done"}


def test_disk_is_free_only_when_commands_for_it_are_served(running: Bench) -> None:
    running.submit("unplug", UNPLUG)
    running.submit("stop", Stop())
    running.submit("freeze", FREEZE)
    running.hardware.signal_power_off()
    assert list(running.ends) == ["freeze", "unplug", "stop"]


def test_destroy_overtakes_everything_but_commands_for_disks(bench: Bench) -> None:
    bench.submit("start", START)
    bench.submit("plug", PLUG)
    bench.submit("freeze", FREEZE)
    bench.submit("destroy", Destroy())
    bench.hardware.signal_power_off()
    assert bench.outcomes() == {"freeze": "done", "plug": "overtaken", "start": "overtaken", "destroy": "done"}
    assert bench.hardware.take_done() == ["on", "cut for good", "freeze vol-data off", "delete"]
    assert bench.machine.state is MachineState.GONE


def test_destroy_during_reboot_freezes_first(running: Bench) -> None:
    reboot_with_freeze(running, "image")
    running.submit("destroy", Destroy())
    running.hardware.signal_power_off()
    assert running.outcomes() == {"image's freeze": "done", "image": "overtaken", "destroy": "done"}
    assert running.told == []


def test_command_behind_destroy_is_overtaken(bench: Bench) -> None:
    for name, command in (("destroy", Destroy()), ("start", START), ("grow", GROW), ("again", Destroy())):
        bench.machine.submit(command, bench.noting(name))
    bench.mailbox.run()
    assert bench.outcomes() == {"destroy": "done", "start": "overtaken", "grow": "done", "again": "done"}


def test_command_for_destroyed_machine_is_overtaken(bench: Bench) -> None:
    bench.submit("destroy", Destroy())
    reboot_with_freeze(bench, "image")
    bench.submit("plug", PLUG)
    assert bench.outcomes() == {
        "destroy": "done",
        "image's freeze": "overtaken",
        "image": "overtaken",
        "plug": "overtaken",
    }
