"""An arm64 guest, which a host of another architecture emulates."""

from __future__ import annotations

import pytest

from pycloudlib import EC2
from pycloudlib.errors import ImageNotFoundError
from pycloudlib.local.prerequisites import find

SECONDS = 3000.0

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(find("qemu-system-aarch64") is None, reason="needs QEMU for arm64"),
]


@pytest.fixture
def arm64_image_id(ec2: EC2) -> str:
    try:
        return ec2.daily_image("trixie", arch="arm64")
    except ImageNotFoundError:
        pytest.skip("needs an image: pycloudlib local image build --release trixie --arch arm64")


def test_an_arm64_guest_answers(ec2: EC2, arm64_image_id: str) -> None:
    with ec2.launch(arm64_image_id, "t4g.small", wait=False) as instance:
        instance.wait(timeout=SECONDS)
        assert instance.execute("uname -m").check() == "aarch64"
        assert instance.execute("findmnt -no SOURCE /").check() == "/dev/nvme0n1p1"
        assert instance.execute("test -d /sys/firmware/efi").ok
        assert instance.execute("cat /sys/class/dmi/id/product_name").check() == "t4g.small"
        assert "console=ttyAMA0" in instance.execute("cat /proc/cmdline").check().split()
        (described,) = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"]
        assert (described["Architecture"], described["CurrentInstanceBootMode"]) == ("arm64", "uefi")
        assert instance.add_volume(1).guest_device(timeout=SECONDS) == "/dev/nvme1n1"
        instance.shutdown()
        # The guest has handled the power button, and its console is the instance's.
        assert "reboot: Power down" in instance.console_log()
