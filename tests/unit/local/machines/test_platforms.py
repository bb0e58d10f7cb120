from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from pycloudlib.local.machines.platforms import ARM64, PLATFORMS, X86_64, Platform, host_platform
from pycloudlib.local.prerequisites import DEBIAN_PACKAGES


@pytest.mark.parametrize(
    ("machine", "platform"), [("x86_64", X86_64), ("aarch64", ARM64), ("riscv64", X86_64)], ids=lambda one: str(one)[:8]
)
def test_the_host_has_a_platform(machine: str, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    assert host_platform() is platform
    assert [one.architecture for one in (X86_64, ARM64) if one.is_native] == [
        one.architecture for one in (X86_64, ARM64) if one.kernel_name == machine
    ]


def test_the_architectures_of_images_have_platforms() -> None:
    assert {name: platform.architecture for name, platform in PLATFORMS.items()} == {
        "x86_64": "x86_64",
        "i386": "x86_64",
        "arm64": "arm64",
    }


def test_each_qemu_has_a_package() -> None:
    assert {DEBIAN_PACKAGES[platform.qemu] for platform in PLATFORMS.values()} == {"qemu-system-x86", "qemu-system-arm"}
