"""The contents of the default image besides Debian's packages: the settings that make it a cloud image."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from pycloudlib.local.images import guest_network
from pycloudlib.local.images.guest_file import GuestFile

PACKAGES = (
    "ca-certificates",
    "chrony",  # as in Debian's own AMIs; systemd-timesyncd would delay the boot
    "cloud-guest-utils",  # growpart
    "cloud-init",
    "dbus",  # without it, reboot and poweroff fail in the guest
    "initramfs-tools",
    "iproute2",
    "less",
    "locales",  # without it, cloud-init's status is "error"
    "netbase",
    "openssh-server",
    "python3",
    "sudo",
    "systemd-sysv",
    "udev",
)

IFUPDOWN = ("ifupdown", "isc-dhcp-client")
"""The network packages of Debian 12's images: a first boot takes 25 s with them, 44 s with systemd-networkd."""

NETPLAN = ("netplan.io", "systemd-resolved")
"""The network packages of later images, as in Debian's own."""

NETWORKD_FILES = tuple(
    GuestFile(f"etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}", link=True)
    for target, unit in (
        ("multi-user.target", "systemd-networkd.service"),
        ("network-online.target", "systemd-networkd-wait-online.service"),
    )
)
"""The netplan of sid does not start systemd-networkd for a configuration that cloud-init writes during the boot."""

COMPILE_NETPLAN = 'chroot "$1" python3 -m compileall -q /usr/share/netplan'
"""The shell command that compiles netplan's modules, which its package leaves to every start of the program."""


def masked(unit: str) -> GuestFile:
    """Return the link that masks a systemd unit."""
    return GuestFile(f"etc/systemd/system/{unit}", "/dev/null", link=True)


CLOUD_INIT = GuestFile(
    "etc/cloud/cloud.cfg.d/10_pycloudlib.cfg",
    """\
# As in Debian's AMIs: the login user, and a host name that resolves.
system_info:
  default_user:
    name: admin
manage_etc_hosts: true
# Generating an RSA key takes seconds under software emulation, and clients reject DSA keys.
ssh_genkeytypes: [ed25519, ecdsa]
# The built image has GRUB without the package that this would configure.
grub_dpkg:
  enabled: false
""",
)

NETWORK = (
    GuestFile(guest_network.PROGRAM_PATH, guest_network.PROGRAM, mode=0o755),
    # Before ifupdown's own rule (80), which looks for the stanza that this one writes.
    GuestFile("etc/udev/rules.d/75-ec2-interface.rules", guest_network.UDEV_RULES),
    GuestFile("etc/network/interfaces.d/ec2-interface", guest_network.INTERFACES),
    GuestFile("etc/dhcp/dhclient-exit-hooks.d/ec2-interface", guest_network.DHCLIENT_HOOK),
)

NETPLAN_FILES = (
    GuestFile(
        "etc/initramfs-tools/scripts/init-bottom/udev",
        """\
#!/bin/sh
# Instead of udev's own script, which ends the boot when udevd exits before it has answered `udevadm control`.
[ "$1" = prereqs ] && exit 0
udevadm settle --timeout=60
udevadm control --exit || echo "udevd exited without an answer"
mount -n -o move /dev "${rootmnt:?}/dev"
nuke /dev
ln -s "${rootmnt}/dev" /dev
""",
        mode=0o755,
    ),
    GuestFile(
        "etc/udev/rules.d/91-hotplug-virtio.rules",
        """\
# cloud-init configures plugged interfaces where its own rules are installed, but on EC2 only those with drivers of EC2.
ACTION=="add|remove", SUBSYSTEM=="net", ENV{ID_NET_DRIVER}=="virtio_net", \\
  TEST=="/etc/udev/rules.d/90-cloud-init-hook-hotplug.rules", RUN+="/usr/lib/cloud-init/hook-hotplug"
""",
    ),
)
"""The further files of images with netplan."""

INITRD_SETTINGS = GuestFile(
    "etc/initramfs-tools/conf.d/pycloudlib",
    """\
# Include only the modules that the hook lists: a small initrd is unpacked faster.
MODULES=list
""",
)

INITRD_MODULES = GuestFile(
    "etc/initramfs-tools/hooks/pycloudlib",
    """\
#!/bin/sh
# The drivers of root disks and interfaces. udev loads all other modules from the root file system.
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules ext4 nvme virtio_blk virtio_pci virtio_net
""",
    mode=0o755,
)

UNUSED_MODULES = GuestFile(
    "etc/modprobe.d/pycloudlib.conf",
    """\
# udev loads these modules on every boot because they match the processor, but nothing uses them.
blacklist kvm_amd
blacklist kvm_intel
blacklist powernow_k8
blacklist acpi_cpufreq
# The kernel tests each of these ciphers and digests when it loads them. The portable implementations remain.
blacklist aesni_intel
blacklist crc32_pclmul
blacklist crct10dif_pclmul
blacklist ghash_clmulni_intel
blacklist sha1_ssse3
blacklist sha256_ssse3
blacklist sha512_ssse3
""",
)

SSHD = GuestFile(
    "etc/ssh/sshd_config.d/pycloudlib.conf",
    """\
# As in Debian's AMIs: no passwords.
PasswordAuthentication no
""",
)

FSTAB = GuestFile(
    "etc/fstab",
    # No fsck at boot (the last 0): mounting replays the journal.
    # /boot is mounted on access: an unmounted file system stays as it is.
    """\
LABEL=root / ext4 defaults,errors=remount-ro 0 0
LABEL=boot /boot ext4 noauto,x-systemd.automount 0 0
LABEL=EFI /boot/efi vfat noauto 0 0
""",
)

LOCALE = GuestFile("etc/default/locale", "LANG=C.UTF-8\n")  # any other locale must be generated at the first boot

QUIET_UNITS = (
    # These timers would run during a test, and hold apt's lock when the test installs packages.
    masked("apt-daily.timer"),
    masked("apt-daily-upgrade.timer"),
    masked("dpkg-db-backup.timer"),
    # It searches for LVM snapshots, which takes 1.7 s of the first boot, though there is no LVM.
    masked("e2scrub_all.timer"),
    masked("e2scrub_reap.service"),
    # It clears a mark of GRUB's menu, which has no time-out here.
    masked("grub-common.service"),
    # It only registers compiled Python files as executables.
    masked("systemd-binfmt.service"),
    # The kernel loads these modules on demand, when their device is opened or their file system mounted.
    *(masked(f"modprobe@{module}.service") for module in ("configfs", "dm_mod", "drm", "efi_pstore", "fuse", "loop")),
)

QUIET_GENERATORS = tuple(
    # Each generator runs before the first unit starts, and searches for features that no machine here has.
    GuestFile(f"etc/systemd/system-generators/systemd-{name}-generator", "/dev/null", link=True)
    for name in (
        "cryptsetup",
        "gpt-auto",
        "hibernate-resume",
        "integritysetup",
        "run",
        "system-update",
        "veritysetup",
    )
)

GUEST_FILES: tuple[GuestFile, ...] = (
    CLOUD_INIT,
    INITRD_SETTINGS,
    INITRD_MODULES,
    UNUSED_MODULES,
    SSHD,
    FSTAB,
    LOCALE,
    *QUIET_UNITS,
    *QUIET_GENERATORS,
)

TIDY_UP = "; ".join(
    (
        "set -e",
        'cd "$1"',
        # The guest uses the build host's mirror, but must not contain its proxy or passwords.
        "rm -f etc/apt/apt.conf.d/99mmdebstrap",
        "find etc/apt/sources.list* -type f -exec sed -i 's|://[^/@ ]*@|://|' {} +",
        # Every instance has its own; cloud-init generates the host keys. With an empty machine id, unlike
        # "uninitialized", systemd generates one without applying all unit presets.
        "rm -f etc/ssh/ssh_host_*_key* etc/hostname etc/resolv.conf var/lib/dbus/machine-id etc/machine-id",
        ": > etc/machine-id",
        "chmod 444 etc/machine-id",
        # On every interface change it queries systemd for systemd-resolved, which is not installed.
        "rm -f etc/network/if-up.d/resolved etc/network/if-down.d/resolved",
        "rm -rf var/log/apt/* var/log/dpkg.log var/log/bootstrap.log var/log/alternatives.log var/cache/debconf/*-old",
    )
)
"""The shell command that cleans up the root directory ($1) after the installation of the packages.

It is a single line, because mmdebstrap repeats it in its messages.
"""


def write_archive(path: Path, files: Sequence[GuestFile]) -> None:
    """Write files of the guest to a tar archive, with root as their owner.

    Args:
        path: the archive to create.
        files: the files to write.
    """
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.addfile(_member(file), io.BytesIO(b"" if file.link else file.text.encode()))


def _member(file: GuestFile) -> tarfile.TarInfo:
    member = tarfile.TarInfo(file.path)
    member.uname = member.gname = "root"
    if file.link:
        member.type, member.linkname = tarfile.SYMTYPE, file.text
    else:
        member.size, member.mode = len(file.text.encode()), file.mode
    return member
