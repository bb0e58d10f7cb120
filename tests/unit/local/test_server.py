"""What a server decides by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.machines.accelerator import Accelerator, ProbeKernel
from pycloudlib.local.machines.platforms import host_platform
from pycloudlib.local.options import ServerOptions
from pycloudlib.local.prerequisites import find
from pycloudlib.local.server import _probe_kernel, cpu_limit, serving

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
def test_cpu_limit_defaults_to_host_cpus_or_one_under_emulation(wanted: int, accelerator: str, limit: int) -> None:
    assert cpu_limit(wanted, Accelerator(accelerator, "")) == limit


@pytest.mark.skipif(find("qemu-img") is None, reason="needs qemu-img to look at disks")
def test_kvm_is_probed_with_a_kernel_of_the_hosts_own_architecture(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(510) + b"\x55\xaa")
    catalog = Catalog(tmp_path / "images")
    foreign = next(name for name in ("x86_64", "arm64") if name != host_platform().architecture)
    catalog.add(disk, release="foreign", architecture=foreign, kernel=disk)
    assert _probe_kernel(catalog) is None
    image = catalog.add(disk, release="native", architecture=host_platform().architecture, kernel=disk)
    assert _probe_kernel(catalog) == ProbeKernel(image.disk.parent / "vmlinuz", None)


@pytest.mark.parametrize("port", [0, 53, 65536])
def test_port_of_the_host_that_cannot_be_opened_is_refused(tmp_path: Path, port: int) -> None:
    options = ServerOptions(driver="simulated", host_ports=[port])
    with pytest.raises(LocalEC2Error, match=f"port {port} of this host: give one"), serving(tmp_path, options):
        pass


def test_all_ports_need_the_namespaces_network(tmp_path: Path) -> None:
    options = ServerOptions(driver="simulated", all_ports=True)
    with pytest.raises(LocalEC2Error, match="requires root and the namespaces network"), serving(tmp_path, options):
        pass


def test_public_addresses_that_are_not_the_hosts_are_refused_at_the_start(tmp_path: Path) -> None:
    options = ServerOptions(driver="simulated", public_cidr="203.0.113.0/24")
    with pytest.raises(LocalEC2Error, match="run `sudo ip route add local"), serving(tmp_path, options):
        pass
