"""Any sequence of commands and signals: each command ends once, and nothing waits for ever."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.commands import (
    ChangeInterface,
    Command,
    Destroy,
    Freeze,
    Grow,
    Outcome,
    Plug,
    Reboot,
    Request,
    Stop,
    Unplug,
)
from pycloudlib.local.machines.machine import MachineState
from support.scripted_hardware import START, Bench, NamedDisk, interface

DISK = NamedDisk("vol-data")
COMMANDS = (
    START,
    Stop(),
    Stop(force=True),
    Destroy(),
    Plug(DISK),
    Unplug("vol-data"),
    Unplug("vol-data", force=True),
    ChangeInterface(interface()),
    Freeze(DISK, Path("/overlay")),
    Grow(DISK, 9),
)
FAULTS = st.sampled_from(["on", "complete", "plug", "unplug", "freeze", "grow", "change"])


class AnySequence(RuleBasedStateMachine):
    """Hardware that may do anything at any time that real hardware does."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.expected = 0

    @property
    def hardware_is_on(self) -> bool:
        return self.bench.hardware.is_on

    def submit(self, command: Command) -> None:
        self.expected += 1
        self.bench.submit(f"{self.expected}", command)

    @rule(command=st.sampled_from(COMMANDS))
    def command(self, command: Command) -> None:
        self.submit(command)

    @rule(freezes=st.integers(0, 2))
    def reboot(self, freezes: int) -> None:
        requests = []
        for _ in range(freezes):
            self.expected += 1
            requests.append(Request(Freeze(DISK, Path("/overlay")), self.bench.noting(f"{self.expected}")))
        self.submit(Reboot(tuple(requests)))

    @rule(what=FAULTS)
    def hardware_becomes_faulty(self, what: str) -> None:
        self.bench.hardware.faults[what] = MachineError("refused")
        if what == "on":
            self.bench.hardware.retries = False  # a start from the beginning is tried once

    @precondition(lambda self: self.hardware_is_on)
    @rule(command=st.sampled_from(COMMANDS))
    def hardware_goes_off_under_a_command(self, command: Command) -> None:
        self.bench.hardware.is_gone = True
        self.submit(command)
        self.bench.hardware.signal_power_off("killed")

    @rule()
    def hardware_is_mended(self) -> None:
        self.bench.hardware.faults.clear()

    @rule(retries=st.booleans())
    def boot_snapshot(self, retries: bool) -> None:
        self.bench.hardware.retries = retries

    @precondition(lambda self: self.hardware_is_on)
    @rule()
    def ready(self) -> None:
        self.bench.hardware.signal_ready()

    @precondition(lambda self: self.hardware_is_on)
    @rule(reset=st.booleans())
    def guest_shuts_down(self, reset: bool) -> None:
        self.bench.hardware.signal_guest_shutdown(reset=reset)

    @precondition(lambda self: self.hardware_is_on)
    @rule()
    def power_goes_off(self) -> None:
        self.bench.hardware.signal_power_off("killed")

    @rule()
    def guest_releases_device(self) -> None:
        self.bench.hardware.signal_released("vol-data")

    @rule()
    def time_passes(self) -> None:
        self.bench.mailbox.pass_time()

    @invariant()
    def nothing_waits_in_a_settled_state(self) -> None:
        if self.bench.machine.state in (MachineState.OFF, MachineState.RUNNING):
            assert not self.bench.machine._waiting
            assert not self.bench.machine._power

    @invariant()
    def machine_and_hardware_agree(self) -> None:
        off = self.bench.machine.state in (MachineState.OFF, MachineState.GONE)
        assert off == (not self.hardware_is_on)

    def teardown(self) -> None:
        """Let the guest react to nothing, and go off."""
        self.bench.hardware.faults.clear()
        self.bench.hardware.retries = False
        self.submit(Destroy())
        if self.hardware_is_on:
            self.bench.hardware.signal_power_off("killed")
        assert self.bench.machine.state is MachineState.GONE
        assert set(self.bench.ends) == {f"{number}" for number in range(1, self.expected + 1)}
        assert self.bench.ends[f"{self.expected}"].outcome is Outcome.DONE


def test_every_command_ends_once_in_any_sequence() -> None:
    run_state_machine_as_test(AnySequence, settings=settings(max_examples=300, stateful_step_count=30))
