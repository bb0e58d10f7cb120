"""What a server decides by itself."""

from __future__ import annotations

import os

import pytest

from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.server import cpu_limit

AVAILABLE = os.cpu_count() or 1


@pytest.mark.parametrize(
    ("wanted", "accelerator", "limit"),
    [
        (0, "kvm", AVAILABLE),
        (0, "tcg", 1),
        (1, "kvm", 1),
        (AVAILABLE, "tcg", AVAILABLE),
        (AVAILABLE + 1, "kvm", AVAILABLE),
    ],
)
def test_no_machine_has_more_cpus_than_there_are_and_one_under_emulation_unless_told(
    wanted: int, accelerator: str, limit: int
) -> None:
    assert cpu_limit(wanted, Accelerator(accelerator, "")) == limit
