from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.errors import CommandError
from pycloudlib.guest.clean import clean

MACHINE_ID = "0123456789abcdef0123456789abcdef\n"

LEFT_OVERS = [
    "var/lib/cloud/instances/i-1/user-data.txt",
    "var/lib/cloud/data/instance-id",
    "var/lib/cloud/sem/config_scripts_per_once.once",
    "var/lib/cloud/.hidden",
    "var/log/cloud-init.log",
    "var/log/cloud-init-output.log",
    "var/lib/dbus/machine-id",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_ed25519_key-cert.pub",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/log/journal/0123/system.journal",
    "var/lib/dhcp/dhclient.eth0.leases",
    "var/lib/NetworkManager/internal-eth0.lease",
]

KEPT = [
    "var/lib/cloud/seed/nocloud/meta-data",
    "etc/ssh/sshd_config",
    "etc/ssh/ssh_config",
    "home/admin/.ssh/authorized_keys",
    "var/log/syslog",
    "var/lib/dhcp/other",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root directory of a guest that has been used."""
    root = tmp_path / "a guest's root"
    for name in [*LEFT_OVERS, *KEPT]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("used")
    (root / "etc/machine-id").write_text(MACHINE_ID)
    return root


@pytest.fixture
def guest(run, tool, program, tmp_path: Path):
    """A guest with the programs that a Debian of today has."""
    tool("rm", "find", "grep")
    calls = tmp_path / "calls"
    calls.touch()
    for name in ("cloud-init", "systemctl", "journalctl"):
        program(
            name,
            f'[ "$*" != --help ] || echo "--relinquish-var"\necho "{name} $* $IS_ROOT" >>"{calls}"',
        )
    program("sync", f'echo "sync $IS_ROOT" >>"{calls}"')
    return run


def calls_of(tmp_path: Path) -> list[str]:
    return [line for line in (tmp_path / "calls").read_text().splitlines() if "help" not in line]


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_clean_removes_the_identity_only(guest, root: Path) -> None:
    clean(guest, root=str(root))
    assert files_in(root) == sorted([*KEPT, "etc/machine-id"])


def test_machine_id_marks_the_next_boot_as_first(guest, root: Path) -> None:
    (root / "etc/machine-id").chmod(0o644)
    clean(guest, root=str(root))
    assert (root / "etc/machine-id").read_text() == "uninitialized\n"


def test_missing_machine_id_is_written_for_systemd_only(guest, tmp_path: Path, root: Path) -> None:
    (root / "etc/machine-id").unlink()
    clean(guest, root=str(root))
    assert (root / "etc/machine-id").read_text() == "uninitialized\n"
    (root / "etc/machine-id").unlink()
    (tmp_path / "bin/systemctl").unlink()
    clean(guest, root=str(root))
    assert not (root / "etc/machine-id").exists()


def test_link_to_the_machine_id_remains(guest, root: Path) -> None:
    link = root / "var/lib/dbus/machine-id"
    link.unlink()
    link.symlink_to("/etc/machine-id")
    clean(guest, root=str(root))
    assert link.is_symlink()


def test_clean_runs_the_guests_programs_as_root(guest, root: Path, tmp_path: Path) -> None:
    clean(guest, root=str(root))
    assert calls_of(tmp_path) == [
        "cloud-init clean --logs yes",
        "systemctl is-active --quiet systemd-random-seed.service yes",
        "systemctl stop systemd-random-seed.service yes",
        "journalctl --relinquish-var yes",
        "sync yes",
    ]


def test_older_journalctl_gets_no_unknown_option(guest, program, root: Path, tmp_path: Path) -> None:
    program("journalctl", f'echo "journalctl $*" >>"{tmp_path}/calls"')
    clean(guest, root=str(root))
    assert "journalctl --relinquish-var" not in calls_of(tmp_path)
    assert not (root / "var/log/journal/0123").exists()


def test_random_seed_without_a_service_is_removed(guest, program, root: Path) -> None:
    program("systemctl", '[ "$1" = is-active ] && exit 3; echo "no such unit" >&2; exit 5')
    clean(guest, root=str(root))
    assert not (root / "var/lib/systemd/random-seed").exists()


NAMES = ("etc/resolv.conf", "etc/hostname")


@pytest.fixture
def named(root: Path) -> Path:
    """The root directory of a guest that wrote a name server and its name into files of their own."""
    (root / "etc/resolv.conf").write_text("nameserver 172.31.0.2\n")
    (root / "etc/hostname").write_text("ip-172-31-0-4\n")
    (root / "etc/cloud/cloud.cfg.d").mkdir(parents=True)
    (root / "etc/cloud/cloud.cfg").write_text("preserve_hostname: false\n")
    return root


@pytest.mark.parametrize("writer", ["dhclient", "dhcpcd", "NetworkManager"])
def test_name_server_and_host_name_are_removed(guest, program, named: Path, writer: str) -> None:
    program(writer, "")
    clean(guest, root=str(named))
    assert not [name for name in NAMES if (named / name).exists()]


def test_links_for_name_server_and_host_name_remain(guest, program, named: Path) -> None:
    program("dhclient", "")
    for name in NAMES:
        (named / name).rename(named / f"{name}.real")
        (named / name).symlink_to(f"{Path(name).name}.real")
    clean(guest, root=str(named))
    assert [name for name in NAMES if (named / name).is_symlink()] == list(NAMES)


def test_name_server_without_a_writer_remains(guest, named: Path) -> None:
    clean(guest, root=str(named))
    assert (named / "etc/resolv.conf").exists()


def test_name_server_with_systemd_resolved_remains(guest, program, named: Path) -> None:
    program("dhclient", "")
    (named / "run/systemd/resolve").mkdir(parents=True)
    (named / "run/systemd/resolve/resolv.conf").touch()
    clean(guest, root=str(named))
    assert (named / "etc/resolv.conf").exists()


def test_immutable_name_server_remains(guest, program, named: Path) -> None:
    program("dhclient", "")
    program("lsattr", 'echo "----i---------e------- $1"')
    clean(guest, root=str(named))
    assert (named / "etc/resolv.conf").exists()


def test_preserved_host_name_remains(guest, named: Path) -> None:
    (named / "etc/cloud/cloud.cfg.d/90_name.cfg").write_text("# comment\npreserve_hostname: true\n")
    clean(guest, root=str(named))
    assert (named / "etc/hostname").exists()


def test_host_name_remains_without_cloud_init(guest_without_cloud_init, named: Path) -> None:
    clean(guest_without_cloud_init, root=str(named))
    assert (named / "etc/hostname").exists()


@pytest.fixture
def guest_without_cloud_init(run, tool, program):
    tool("rm", "find", "grep")
    program("sync", "")
    return run


def test_host_keys_remain_without_a_generator(guest_without_cloud_init, root: Path) -> None:
    clean(guest_without_cloud_init, root=str(root))
    kept = [*KEPT, "etc/machine-id", *(name for name in LEFT_OVERS if "ssh_host" in name)]
    assert files_in(root) == sorted(kept)


def test_host_keys_are_removed_if_systemd_generates_new_ones(guest_without_cloud_init, root: Path) -> None:
    target = root / "usr/lib/systemd/system/sshd-keygen.target"
    target.parent.mkdir(parents=True)
    target.touch()
    clean(guest_without_cloud_init, root=str(root))
    assert list((root / "etc/ssh").glob("ssh_host*")) == []


def test_unused_guest_is_clean(guest_without_cloud_init, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    clean(guest_without_cloud_init, root=str(tmp_path / "empty"))
    assert list((tmp_path / "empty").iterdir()) == []


def test_failed_step_is_reported_and_the_others_run(guest, program, root: Path) -> None:
    program("cloud-init", 'echo "no space left" >&2; exit 1')
    (root / "etc/machine-id").unlink()
    (root / "etc/machine-id").mkdir()
    with pytest.raises(CommandError) as raised:
        clean(guest, root=str(root))
    message = str(raised.value)
    assert message.startswith("the guest could not be cleaned: ")
    assert "no space left; failed: cloud-init clean --logs" in message
    assert "failed: uninitialize_machine_id" in message
    assert "\n" not in message
    assert raised.value.result.return_code == 1
    assert files_in(root) == sorted(KEPT)


def test_guest_without_sudo_raises(guest, program, root: Path) -> None:
    program("sudo", 'echo "sudo: a password is required" >&2; exit 1')
    with pytest.raises(CommandError, match="could not be cleaned: sudo: a password is required"):
        clean(guest, root=str(root))
    assert (root / "etc/machine-id").read_text() == MACHINE_ID
