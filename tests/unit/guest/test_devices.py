from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pycloudlib.guest import devices
from pycloudlib.guest.devices import device_of_volume
from pycloudlib.result import Result

VOLUME = "vol-0123456789abcdef0"
SERIAL = "vol0123456789abcdef0"


class GuestWithDisks:
    """A shell in which /sys/block and /dev are directories of the test's own, and any file there is a disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev").mkdir()
        (root / "sys/block").mkdir(parents=True)

    def disk(self, name: str, serial: str | None = None, *, folder: str = "device") -> None:
        (self.root / "dev" / name).touch()
        if serial is not None:
            path = self.root / "sys/block" / name / folder / "serial"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(serial)

    def run(self, command: str, *, timeout: float | None = None) -> Result:
        script = command.replace("/sys/block", f"{self.root}/sys/block").replace("/dev/", f"{self.root}/dev/")
        done = subprocess.run(["sh", "-c", script.replace("[ -b ", "[ -f ")], capture_output=True, timeout=timeout)  # noqa: PLW1510
        return Result(done.stdout.decode().replace(str(self.root), ""), done.stderr, done.returncode)


@pytest.fixture
def guest(tmp_path: Path) -> GuestWithDisks:
    return GuestWithDisks(tmp_path)


def test_nvme_disk_is_found_by_its_serial_number(guest: GuestWithDisks) -> None:
    guest.disk("nvme0n1", "vol0aaaaaaaaaaaaaaaa\n")
    guest.disk("nvme1n1", f"{SERIAL}   \n")
    guest.disk("xvdf")
    assert device_of_volume(guest.run, VOLUME, "/dev/sdf") == "/dev/nvme1n1"


def test_serial_number_of_the_disk_itself_may_have_a_dash(guest: GuestWithDisks) -> None:
    guest.disk("vdb", VOLUME[:20], folder="")
    guest.disk("vdc", VOLUME, folder="")
    assert device_of_volume(guest.run, VOLUME, "/dev/sdf") == "/dev/vdc"


def test_hidden_path_is_not_a_disk(guest: GuestWithDisks) -> None:
    guest.disk("nvme1c1n1", SERIAL)
    (guest.root / "dev/nvme1c1n1").unlink()
    guest.disk("nvme1n1", SERIAL)
    assert device_of_volume(guest.run, VOLUME, "/dev/sdf") == "/dev/nvme1n1"


@pytest.mark.parametrize(("attached_as", "found"), [("/dev/sdf", "/dev/xvdf"), ("xvdg", "/dev/xvdg")])
def test_xen_disk_is_found_by_its_name(guest: GuestWithDisks, attached_as: str, found: str) -> None:
    guest.disk("xvdf")
    guest.disk("xvdg")
    assert device_of_volume(guest.run, VOLUME, attached_as) == found


def test_link_is_resolved_to_the_disk(guest: GuestWithDisks) -> None:
    guest.disk("nvme7n1")
    (guest.root / "dev/sdf").symlink_to(guest.root / "dev/nvme7n1")
    assert device_of_volume(guest.run, VOLUME, "/dev/sdf") == "/dev/nvme7n1"


def test_missing_disk_is_none(guest: GuestWithDisks) -> None:
    guest.disk("nvme0n1", "vol0aaaaaaaaaaaaaaaa")
    guest.disk("sda")
    assert device_of_volume(guest.run, VOLUME, "/dev/sdf") is None


def test_output_of_the_login_shell_is_ignored(guest: GuestWithDisks) -> None:
    guest.disk("nvme1n1", SERIAL)

    def run(command: str, *, timeout: float | None = None) -> Result:
        return guest.run(f"echo Welcome\n{command}", timeout=timeout)

    assert device_of_volume(run, VOLUME, "/dev/sdf") == "/dev/nvme1n1"


def test_lookup_has_a_timeout() -> None:
    asked: list[float | None] = []

    def run(_: str, *, timeout: float | None = None) -> Result:
        asked.append(timeout)
        return Result("", return_code=1)

    assert device_of_volume(run, VOLUME, "/dev/sdf") is None
    (timeout,) = asked
    assert timeout is not None
    assert 0 < timeout <= devices.QUESTION_TIMEOUT
