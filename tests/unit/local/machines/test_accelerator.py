"""The choice of what runs the guests, with a stand-in for QEMU and for /dev/kvm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycloudlib.errors import InvalidArgumentError, LocalEC2Error
from pycloudlib.local.machines import accelerator
from pycloudlib.local.machines.accelerator import Accelerator, ProbeKernel, choose_accelerator
from pycloudlib.local.machines.platforms import ARM64, X86_64, host_platform

CAME_UP = "echo 'Kernel panic - not syncing: Attempted to kill init!'"
DIED = "echo 'failed to set MSR 0x10a' >&2; exit 1"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the answer is remembered, on a machine with a /dev/kvm."""
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accelerator, "KVM_DEVICE", tmp_path / "kvm")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "cache" / "accelerator.json"


@pytest.fixture
def kernel(tmp_path: Path) -> ProbeKernel:
    return ProbeKernel(tmp_path / "image" / "vmlinuz", None)


def qemu(memory: Path, probe: str) -> Path:
    """A stand-in that does this when it is to boot; the file that is given grows with every boot."""
    program, boots = memory.parent.parent / host_platform().qemu, memory.parent.parent / "boots"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo QEMU 1\necho >>"{boots}"\n{probe}\n')
    program.chmod(0o755)
    return boots


def test_working_kvm_is_used_and_probed_once(memory: Path, kernel: ProbeKernel) -> None:
    boots = qemu(memory, CAME_UP)
    assert [choose_accelerator("auto", kernel, memory).name for _ in range(2)] == ["kvm", "kvm"]
    assert boots.read_text() == "\n"


def test_broken_kvm_is_reported_once(memory: Path, kernel: ProbeKernel) -> None:
    boots = qemu(memory, DIED)
    told: list[str] = []
    chosen = [choose_accelerator("auto", kernel, memory, notify=told.append) for _ in range(2)]
    assert [(one.name, one.reason) for one in chosen] == [("tcg", "failed to set MSR 0x10a")] * 2
    (line,) = told
    assert line.endswith("exists but does not work, so instances run under software emulation: failed to set MSR 0x10a")
    assert boots.read_text() == "\n"


def test_another_kernel_is_tried_anew(memory: Path, kernel: ProbeKernel) -> None:
    qemu(memory, DIED)
    choose_accelerator("auto", kernel, memory)
    qemu(memory, CAME_UP)
    other = ProbeKernel(kernel.kernel.parent.with_name("another-image") / "vmlinuz", None)
    assert choose_accelerator("auto", other, memory).name == "kvm"


@pytest.mark.parametrize("garbage", ["", "[]", "{}", '{"question": 1', "\udcff"])
def test_a_memory_of_garbage_is_no_memory(garbage: str, memory: Path, kernel: ProbeKernel) -> None:
    qemu(memory, CAME_UP)
    memory.parent.mkdir()
    memory.write_text(garbage, errors="surrogateescape")
    assert choose_accelerator("auto", kernel, memory).name == "kvm"


def test_an_answer_that_cannot_be_remembered_is_one_all_the_same(memory: Path, kernel: ProbeKernel) -> None:
    qemu(memory, CAME_UP)
    memory.parent.write_text("a file in the way")
    assert choose_accelerator("auto", kernel, memory).name == "kvm"


def test_without_a_kernel_kvm_is_not_tried(memory: Path) -> None:
    assert "was not tested" in choose_accelerator("auto", None, memory).reason


def test_without_a_device_emulation_is_used_and_kvm_refused(memory: Path, kernel: ProbeKernel) -> None:
    accelerator.KVM_DEVICE.unlink()
    chosen = choose_accelerator("auto", kernel, memory)
    assert (chosen.name, chosen.reason) == ("tcg", f"{accelerator.KVM_DEVICE} does not exist")
    with pytest.raises(LocalEC2Error, match=r"kvm does not exist: choose the accelerator auto or tcg"):
        choose_accelerator("kvm", kernel, memory)


def test_what_is_demanded_is_not_tried(memory: Path, kernel: ProbeKernel) -> None:
    boots = qemu(memory, DIED)
    assert choose_accelerator("tcg", kernel, memory).name == "tcg"
    assert choose_accelerator("kvm", kernel, memory).name == "kvm"
    assert not boots.exists()


def test_an_unknown_one_is_refused_with_the_known(memory: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="unknown accelerator 'hvf': choose one of auto, kvm, tcg"):
        choose_accelerator("hvf", None, memory)


def test_only_an_emulated_guest_does_without_mitigations_and_could_have_a_second_cpu() -> None:
    emulated, virtual = Accelerator("tcg", "the test"), Accelerator("kvm", "the test")
    for platform in (X86_64, ARM64):
        assert "mitigations=off" in emulated.kernel_arguments(platform)
        assert virtual.kernel_arguments(platform) == ""
    assert [emulated.smp(cpus) for cpus in (1, 4)] == ["1,maxcpus=2", "4,maxcpus=4"]
    assert [virtual.smp(cpus) for cpus in (1, 4)] == ["1", "4"]


def test_kvm_runs_the_hosts_own_architecture_only() -> None:
    virtual = Accelerator("kvm", "the test")
    native = host_platform()
    foreign = ARM64 if native is X86_64 else X86_64
    assert virtual.for_platform(native) is virtual
    assert virtual.cpu(native) == "host"
    emulated = virtual.for_platform(foreign)
    assert (emulated.name, emulated.reason) == ("tcg", f"the host is not {foreign.architecture}")
    assert emulated.cpu(foreign) == foreign.emulated_cpu
