"""What goes wrong inside a guest while it is used. A panic under wait() is in test_life_cycle.py."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib import EC2Instance
from pycloudlib.errors import CommandTimeoutError, SSHConnectionError, TransferError
from pycloudlib.local import LocalEC2, paths

pytestmark = pytest.mark.vm

SMALL = "/run/small"
MIB = 1024 * 1024


def is_usable(instance: EC2Instance) -> bool:
    return instance.execute("echo alive") == "alive"


@pytest.fixture
def small_disk(instance: EC2Instance) -> Iterator[str]:
    """A directory of the guest in which there is room for a MiB."""
    instance.execute(f"mkdir {SMALL} && mount -t tmpfs -o size=1m,mode=1777 tmpfs {SMALL}", use_sudo=True).check()
    yield SMALL
    instance.execute(f"umount {SMALL} && rmdir {SMALL}", use_sudo=True).check()


def test_a_command_outlives_a_restart_of_sshd(instance: EC2Instance) -> None:
    before = instance.execute("systemctl show --property MainPID ssh").check()
    result = instance.execute("echo begun; systemctl restart ssh; echo ended", use_sudo=True)
    assert (result.return_code, result.stdout.split()) == (0, ["begun", "ended"])
    assert instance.execute("systemctl show --property MainPID ssh") != before


def test_a_connection_that_is_cut_is_told_and_made_anew(instance: EC2Instance) -> None:
    # Its parent is the part of sshd that this connection has for itself.
    with pytest.raises(SSHConnectionError, match="lost while a command ran"):
        instance.execute("kill -KILL $(ps -o ppid= -p $PPID) $PPID; sleep 600", use_sudo=True)
    assert is_usable(instance)


def test_a_guest_that_reboots_under_a_command_is_told_and_can_be_waited_for(instance: EC2Instance) -> None:
    boot_id = instance.get_boot_id()
    with pytest.raises(SSHConnectionError, match="lost while a command ran"):
        instance.execute("systemctl reboot; sleep 600", use_sudo=True)
    instance.wait_for_restart(boot_id)
    assert instance.get_boot_id() != boot_id
    assert is_usable(instance)


def test_a_full_disk_under_a_push_is_told_and_leaves_nothing(
    instance: EC2Instance, small_disk: str, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(4 * MIB))
    with pytest.raises(TransferError) as caught:
        instance.push_file(big, f"{small_disk}/big")
    assert f"{small_disk}/big" in str(caught.value)
    assert instance.execute(f"ls -A {small_disk}").check() == ""
    assert is_usable(instance)


def test_64_mib_on_stderr_come_whole(instance: EC2Instance) -> None:
    result = instance.execute(f"head -c {64 * MIB} /dev/zero >&2; echo end")
    assert (result.stdout, len(result.raw_stderr)) == ("end", 64 * MIB)


def test_a_command_that_never_ends_does_with_a_timeout(instance: EC2Instance) -> None:
    with pytest.raises(CommandTimeoutError) as caught:
        instance.execute("echo begun; exec sleep 601", timeout=20)
    assert (caught.value.seconds, caught.value.last_seen) == (20, "begun")
    assert is_usable(instance)
    instance.execute("pkill -f 'sleep 601'")


def test_output_that_is_not_utf_8_comes_as_it_is(instance: EC2Instance) -> None:
    result = instance.execute(r"printf '\377\376\0ok'; printf '\200' >&2")
    assert (result.raw_stdout, result.raw_stderr) == (b"\xff\xfe\x00ok", b"\x80")
    assert result.stdout.endswith("ok")


def test_no_other_user_reaches_its_disks_keys_and_sockets(instance: EC2Instance, local: LocalEC2) -> None:
    below = list(local.directory.rglob("*"))
    if local.info.network == "user":
        assert [path for path in below if path.is_socket()]
    assert [path for path in below if path.suffix == ".qcow2"]
    assert is_usable(instance)
    for directory in (local.directory, paths.images_dir()):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
