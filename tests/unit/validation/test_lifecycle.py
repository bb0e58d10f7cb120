"""The checks of a machine's further life, on what came of each step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.life import AddedInterface, AddedVolume, Booted
from support.checks import all_checks, good_facts, outcome, told

GIB = 1024**3
BEFORE = {"boot_id": "b1", "machine_id": "m1", "host_public_keys": "k1", "user_data_runs": "b1"}
AFTER = {**BEFORE, "boot_id": "b2"}
VOLUME = AddedVolume("/dev/nvme1n1", GIB, GIB)
INTERFACE = AddedInterface("10.0.0.9", "3: ens6    inet 10.0.0.9/20 scope global ens6")
RESTARTED = Booted(BEFORE, AFTER)
STARTED = Booted(BEFORE, AFTER, "data", "data")


@dataclass(frozen=True)
class Lived:
    """A life that was lived already."""

    facts: Facts
    added_volume: AddedVolume = VOLUME
    added_interface: AddedInterface = INTERFACE
    restarted: Booted = RESTARTED
    stopped_and_started: Booted = STARTED
    copy: Facts | None = None


def other_machine(facts: Facts) -> Facts:
    """One that was launched from an image of the first."""
    return told(
        facts,
        boot_id="b9",
        machine_id="0123456789abcdef0123456789abcdef\n1",
        host_public_keys="ssh-ed25519 AAAAother root@other",
        hostname="ip-10-0-0-77\n10.0.0.77 ip-10-0-0-77",
        user_data_runs=f"{facts.text('user_data_runs')}\nb9",
    )


def lived() -> Lived:
    facts = good_facts()
    return Lived(facts, copy=other_machine(facts))


def failures(life: Lived) -> list[str]:
    found = {check.name: outcome(check, life) for check in all_checks() if check.takes == "life"}
    assert len(found) == 5
    return [name.removeprefix("lifecycle::") for name, text in found.items() if text]


def test_a_good_life_is_good() -> None:
    assert failures(lived()) == []


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (replace(lived(), added_volume=AddedVolume("", 0, GIB)), "added_volume_is_seen"),
        (replace(lived(), added_volume=AddedVolume("/dev/nvme1n1", 7, GIB)), "added_volume_is_seen"),
        (replace(lived(), added_interface=AddedInterface("10.0.0.9", "")), "added_interface_is_configured"),
        (replace(lived(), restarted=Booted(BEFORE, BEFORE)), "restart_changes_the_boot_id"),
        (replace(lived(), restarted=Booted(BEFORE, {**AFTER, "machine_id": "m2"})), "restart_changes_the_boot_id"),
        (
            replace(lived(), restarted=Booted(BEFORE, {**AFTER, "user_data_runs": "b1\nb2"})),
            "restart_changes_the_boot_id",
        ),
        (replace(lived(), stopped_and_started=Booted(BEFORE, AFTER, "data", "")), "stop_and_start_keep_data"),
        (replace(lived(), stopped_and_started=Booted(BEFORE, BEFORE, "data", "data")), "stop_and_start_keep_data"),
        (
            replace(lived(), stopped_and_started=Booted(BEFORE, {**AFTER, "host_public_keys": "k2"}, "data", "data")),
            "stop_and_start_keep_data",
        ),
    ],
)
def test_each_step_has_its_check(broken: Lived, check: str) -> None:
    assert failures(broken) == [check]


@pytest.mark.parametrize("same", ["machine_id", "host_public_keys", "hostname", "user_data_runs"])
def test_image_that_boots_as_the_same_machine_is_reported(same: str) -> None:
    life = lived()
    assert life.copy is not None
    broken = replace(life, copy=told(life.copy, **{same: life.facts.text(same)}))
    assert failures(broken) == ["an_image_of_it_boots_as_a_first_boot"]


def test_image_that_does_not_boot_is_reported() -> None:
    life = lived()
    assert life.copy is not None
    broken = replace(life, copy=replace(life.copy, boot_error="it cannot become ready"))
    assert failures(broken) == ["an_image_of_it_boots_as_a_first_boot"]
