"""What the default image's guest configures its interfaces with. Whether it does is seen in real machines only."""

from __future__ import annotations

import subprocess

from pycloudlib.local.images import guest_network
from pycloudlib.local.images.builder import VARIANTS
from pycloudlib.local.images.guest_files import NETWORK


def test_bash_parses_the_program() -> None:
    checked = subprocess.run(["bash", "-n"], input=guest_network.PROGRAM, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_wrong_usage_is_reported() -> None:
    used = subprocess.run(
        ["bash", "-s", "nonsense"], input=guest_network.PROGRAM, capture_output=True, text=True, check=False
    )
    assert used.returncode == 2
    assert used.stderr.startswith("usage: ")


def test_image_contains_the_program_and_its_hooks() -> None:
    files = {file.path: file for file in VARIANTS["bookworm"].files}
    assert files[guest_network.PROGRAM_PATH].mode == 0o755
    callers = [file.path for file in NETWORK if f"/{guest_network.PROGRAM_PATH}" in file.text]
    assert callers == ["etc/udev/rules.d/75-ec2-interface.rules", "etc/dhcp/dhclient-exit-hooks.d/ec2-interface"]
