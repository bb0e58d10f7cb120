"""Kernels that a guest installs or configures, booted by the boot loader on its disk."""

from __future__ import annotations

import pytest

from pycloudlib import EC2, EC2Instance
from support.vm_release import RELEASE

pytestmark = pytest.mark.vm

NEWER_KERNEL = """\
set -eu
release=$(uname -r)
newer=$(echo "$release" | sed 's/-cloud/.9-cloud/')
sudo cp "/boot/vmlinuz-$release" "/boot/vmlinuz-$newer"
sudo cp "/boot/initrd.img-$release" "/boot/initrd.img-$newer"
echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX marked=yes"' | sudo tee /etc/default/grub.d/zz-test.cfg
sudo update-grub
echo "$newer"
"""


GIGABYTES_OF_THE_IMAGE = 9


def arguments(instance: EC2Instance) -> list[str]:
    return instance.execute("cat /proc/cmdline").check().split()


def test_a_kernel_installed_in_the_guest_boots_from_then_on(ec2: EC2) -> None:
    with ec2.launch(ec2.daily_image(RELEASE)) as instance:
        before = arguments(instance)
        assert instance.execute("findmnt -no SOURCE /").check() == "/dev/nvme0n1p1"
        newer = instance.execute(NEWER_KERNEL).check().splitlines()[-1]
        instance.restart()
        after = arguments(instance)
        assert after[0] == f"BOOT_IMAGE=/vmlinuz-{newer}"
        assert "marked=yes" in after
        # All other arguments are those of the direct boot, those of the machine included.
        same = [word for word in before if not word.startswith(("BOOT_IMAGE=", "root="))]
        assert [word for word in after if word in same] == same
        image_id = ec2.snapshot(instance, wait=False)
    uefi_image_id = _with_uefi(ec2, image_id)
    with ec2.launch(uefi_image_id, username=instance.username) as copy:
        assert arguments(copy)[0] == f"BOOT_IMAGE=/vmlinuz-{newer}"
        assert copy.execute("test -d /sys/firmware/efi").ok
        assert ec2.instances(current_instance_boot_mode="uefi", image=uefi_image_id) == [copy]
        assert ec2.instances(current_instance_boot_mode="legacy-bios", image=uefi_image_id) == []
        gigabytes = copy.execute("df --output=size --block-size=GB / | tail -1").check().strip("GB ")
        assert int(gigabytes) > GIGABYTES_OF_THE_IMAGE, "the partition did not grow"


def _with_uefi(ec2: EC2, image_id: str) -> str:
    """Register the root snapshot of an image again, with UEFI as its boot mode."""
    (image,) = ec2.client.describe_images(ImageIds=[image_id])["Images"]
    snapshot_id = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    return ec2.register_image(snapshot_id, f"{ec2.tag}-uefi", boot_mode="uefi")
