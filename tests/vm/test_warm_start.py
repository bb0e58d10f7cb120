"""Machines that go on from where a boot of their like was saved; and those that do not."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from pycloudlib import EC2, EC2Instance
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.local import LocalEC2, paths
from pycloudlib.waiting import wait_until
from support.vm_release import IS_BOOKWORM

pytestmark = pytest.mark.vm

CLOCK_DIFFERENCE = 5.0
"""Seconds by which two clocks may differ that were set alike; the boot that was saved is older by far."""
UNITS = ["cloud-init-local", "cloud-init", "cloud-config", "cloud-final"] if IS_BOOKWORM else ["cloud-init-main"]
"""Those that start cloud-init's processes."""


def stages_were_preloaded(instance: EC2Instance) -> bool:
    commands = instance.execute(f"systemctl show -p ExecStart {' '.join(UNITS)}").check()
    preloaded = commands.count("preloaded-cloud-init/stage")
    assert preloaded in (0, len(UNITS))
    return preloaded > 0


def test_what_udev_did_before_need_not_be_done_again(instance: EC2Instance) -> None:
    """Devices that were there are known by all of the disk's rules; the interface, which came later, is too."""
    assert "--subsystem-match=net" in instance.execute("systemctl show -p ExecStart systemd-udev-trigger").check()
    assert "ID_INPUT=1" in instance.execute("udevadm info /sys/class/input/event0").check()
    assert "TAGS=:systemd:" in instance.execute("udevadm info /sys/class/tty/ttyS0").check()
    assert "ID_SERIAL_SHORT=vol" in instance.execute("udevadm info /sys/class/block/nvme0n1").check()
    assert "ID_NET_DRIVER=virtio_net" in instance.execute("udevadm info /sys/class/net/en*").check()


def test_it_is_the_machine_that_it_would_have_been(instance: EC2Instance) -> None:
    """Whatever the firmware and the clock say is its own; what is saved is nobody's."""
    assert stages_were_preloaded(instance)
    assert instance.execute("systemctl is-system-running --wait") == "running"
    product = instance.execute("cat /sys/class/dmi/id/product_uuid", use_sudo=True).check()
    assert product.startswith("ec2")
    assert instance.execute("cat /etc/machine-id").check() == product.replace("-", "")
    before = time.time()
    guests_time = float(instance.execute("date +%s.%N").check())
    assert before - CLOCK_DIFFERENCE < guests_time < time.time() + CLOCK_DIFFERENCE
    console = instance.console_log()
    assert console.index("Linux version") < console.index("Cloud-init v.")


def test_a_restart_changes_the_boot_id_and_keeps_the_rest_even_another_cloud_init(instance: EC2Instance) -> None:
    boot_id, machine_id = instance.get_boot_id(), instance.execute("cat /etc/machine-id").check()
    instance.execute("echo kept >/var/tmp/over-the-restart").check()
    changed = "/usr/lib/python3/dist-packages/cloudinit/version.py"
    instance.execute(f"echo '# changed' >>{changed}", use_sudo=True).check()
    instance.restart()
    assert instance.get_boot_id() != boot_id
    assert instance.execute("cat /etc/machine-id").check() == machine_id
    assert instance.execute("cat /var/tmp/over-the-restart").check() == "kept"
    assert not stages_were_preloaded(instance)
    assert instance.execute("cloud-init status").check() == "status: done"
    instance.execute(f"sed -i '$d' {changed}", use_sudo=True).check()


def test_a_machine_boots_from_the_beginning_when_told_so(settings_file: Path, image_id: str) -> None:
    with LocalEC2(warm_start=False) as local, _connected(local, settings_file) as ec2:
        with ec2.launch(image_id, wait=False) as instance:
            _wait_until_running(instance)
        log = (local.directory / "server.log").read_text()
        assert f"{instance.id}: starting qemu-system-x86_64" in log
        assert "-incoming" not in log


def test_a_saved_boot_that_is_damaged_is_not_gone_on_from(
    instance: EC2Instance, settings_file: Path, image_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`instance` has saved one, or found one."""
    shutil.copytree(paths.cache_dir(), tmp_path / "cache" / "pycloudlib", ignore=shutil.ignore_patterns("state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for console in (paths.cache_dir() / "boot-snapshots").glob("*/console.log"):
        console.with_name("state").write_bytes(b"damaged")
    with LocalEC2() as local, _connected(local, settings_file) as ec2:
        with ec2.launch(image_id, wait=False) as other:
            _wait_until_running(other)
            # The console of the saved boot has it once; the second time it is from the beginning.
            wait_until(
                lambda: other.console_log().count("Linux version") == 2,
                what="the kernel to start",
                deadline=Deadline.after(600),
                interval=0.5,
            )
        assert f"{other.id} boots from the beginning" in (local.directory / "server.log").read_text()


def _connected(local: LocalEC2, settings_file: Path) -> EC2:
    """EC2 with the key of the settings, at another local EC2."""
    ec2 = EC2(
        "warm",
        region=local.region,
        endpoint_url=local.endpoint_url,
        access_key_id=local.access_key_id,
        secret_access_key=local.secret_access_key,
    )
    (public_key,) = settings_file.parent.glob("*.pub")
    ec2.use_key(public_key)
    return ec2


def _wait_until_running(instance: EC2Instance) -> None:
    wait_until(
        lambda: instance.state is InstanceState.RUNNING,
        what=f"{instance.id} to run",
        deadline=Deadline.after(600),
        interval=0.5,
    )
