"""UEFI Secure Boot: signed loaders and kernels boot, and others do not."""

from __future__ import annotations

import pytest

from pycloudlib import EC2, EC2Instance
from pycloudlib.deadline import Deadline
from pycloudlib.local.machines.firmware import microsoft_keys
from pycloudlib.local.machines.platforms import X86_64
from pycloudlib.releases import DEFAULT_RELEASE
from pycloudlib.waiting import wait_until
from support.uefi import key_names
from support.vm_release import RELEASE

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(RELEASE != DEFAULT_RELEASE, reason="one release is enough: the firmware is the same"),
    pytest.mark.skipif(X86_64.find_secure_uefi() is None, reason="needs a UEFI with Secure Boot: install ovmf"),
]

SECONDS_TO_LOADER = 300.0

ENABLED = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

# One byte of the code: the file remains a kernel, but its signature is invalid.
ALTER_KERNEL = "printf x | dd of=/boot/vmlinuz-$(uname -r) bs=1 seek=3000000 conv=notrunc status=none && sync"


def with_microsoft_keys(ec2: EC2) -> str:
    """Register the disk of the default image again, with Microsoft's keys."""
    snapshot_id = ec2.image(ec2.daily_image(RELEASE)).snapshot_ids[0]
    return ec2.register_image(snapshot_id, f"{ec2.tag}-secure", boot_mode="uefi", uefi_data=microsoft_keys(X86_64))


def uefi_data(ec2: EC2, instance: EC2Instance) -> str:
    return ec2.client.get_instance_uefi_data(InstanceId=instance.id)["UefiData"]


def test_secure_boot_starts_signed_kernels_only(ec2: EC2) -> None:
    with ec2.launch(with_microsoft_keys(ec2), username="admin") as instance:
        assert instance.execute(f"od -An -tu1 -j4 -N1 {ENABLED}").check().strip() == "1"
        assert "[integrity]" in instance.execute("cat /sys/kernel/security/lockdown", use_sudo=True).check()
        assert "Secure boot enabled" in instance.console_log()
        assert key_names(uefi_data(ec2, instance)) == {"PK", "KEK", "db", "dbx"}

        instance.execute(ALTER_KERNEL, use_sudo=True).check()
        printed = len(instance.console_log())
        instance.restart(wait=False)
        wait_until(
            lambda: "bad shim signature" in instance.console_log()[printed:],
            what="GRUB to refuse the kernel",
            deadline=Deadline.after(SECONDS_TO_LOADER),
            interval=1.0,
        )
        assert "Linux version" not in instance.console_log()[printed:]
