"""The initramfs for boot snapshots: the image's own initramfs plus Python and cloud-init.

Debian's mkinitramfs creates it during the image build, from a configuration that the build then removes.
"""

from __future__ import annotations

from importlib import resources

from pycloudlib.local.images.guest_file import GuestFile

INITRD = "boot/initrd-warm.img"
"""The path of the initramfs below the image's root directory."""

_CONFIGURATION = "usr/local/share/warm-start"

_FILES = {
    "hook.sh": "hooks/preloaded",
    "init-top.sh": "scripts/init-top/boot-id",
    "init-premount.sh": "scripts/init-premount/preloaded",
    "init-bottom.sh": "scripts/init-bottom/preloaded",
    "stage.sh": "preloaded/stage.sh",
    "preloaded_cloud_init.py": "preloaded/preloaded_cloud_init.py",
}
"""The programs next to this file, by name, and their paths in the configuration."""


def program(name: str) -> str:
    """Return the text of a program that runs in the guest."""
    return (resources.files("pycloudlib.local.warm_start") / "guest" / name).read_text(encoding="utf-8")


FILES = tuple(GuestFile(f"{_CONFIGURATION}/{path}", program(name), mode=0o755) for name, path in _FILES.items())

MAKE_INITRD = "; ".join(
    (
        "set -e",
        'cd "$1"',
        "cp -an etc/initramfs-tools/. " + _CONFIGURATION,
        # Preserve modification times: the guest compares them with the files on its disk. mmdebstrap's archive, from
        # which the disk is made, has none after the start of the build; packages contain older files, but not this one.
        "touch -r usr/sbin/update-ca-certificates etc/ssl/certs/ca-certificates.crt",
        f'chroot "$1" env -u SOURCE_DATE_EPOCH mkinitramfs -d /{_CONFIGURATION} -o /{INITRD} '
        f'"$(basename boot/vmlinuz-* | cut -d- -f2-)" || rm -f {INITRD}',
        f"rm -rf {_CONFIGURATION}",
    )
)
"""The shell command that creates the initramfs in the root directory ($1) after the installation of the packages.

If it fails, there is no initramfs, and machines boot from the beginning."""
