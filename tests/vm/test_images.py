"""Images that are not the default one: whole disks with a boot loader of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib import EC2
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.local import LocalEC2
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.waiting import wait_until

pytestmark = pytest.mark.vm

GREETING = b"booted from its own boot sector\r\n"


def bootable_disk(path: Path) -> Path:
    """Write a disk whose boot sector prints a greeting on the serial line and halts."""
    # mov si, text; cld; mov dx, 0x3f8; next: lodsb; test al, al; jz end; out dx, al; jmp next; end: hlt; jmp end
    code = bytes.fromhex("be 14 7c fc ba f8 03 ac 84 c0 74 03 ee eb f8 f4 eb fd 90 90")
    sector = (code + GREETING + b"\0").ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(sector.ljust(1 << 20, b"\0"))
    return path


def test_a_whole_disk_boots_with_its_own_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    from pycloudlib.local import paths

    Catalog(paths.images_dir()).add(bootable_disk(tmp_path / "disk.raw"), release="noble")
    with LocalEC2(shutdown_seconds=1.0) as local:
        settings = {"region": local.region, "endpoint_url": local.endpoint_url}
        with EC2("disk", **settings, access_key_id="a", secret_access_key="b") as ec2:
            image_id = ec2.daily_image("noble")
            assert image_id == ec2.daily_image("24.04")
            instance = ec2.get_instance(
                ec2.client.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
            )
            text = GREETING.decode().strip()
            wait_until(lambda: text in console(ec2, instance.id), what="the greeting", deadline=Deadline.after(240))
            assert instance.username == "ubuntu"
            assert instance.state is InstanceState.RUNNING
            # Nothing in it heeds the power button, so it is reset when the time for that is over.
            ec2.client.reboot_instances(InstanceIds=[instance.id])
            wait_until(
                lambda: console(ec2, instance.id).count(text) == 2,
                what="the greeting again",
                deadline=Deadline.after(240),
            )
            assert instance.state is InstanceState.RUNNING
            assert instance.delete() == []


def console(ec2: EC2, instance_id: str) -> str:
    return ec2.client.get_console_output(InstanceId=instance_id).get("Output", "")
