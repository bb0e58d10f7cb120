"""The initramfs in which a machine is saved: the image's own one, with Python and cloud-init loaded in it.

Debian's mkinitramfs makes it while the image is built, from a configuration that is not left in the image.
"""

from __future__ import annotations

from importlib import resources

from pycloudlib.local.images.guest_file import GuestFile

INITRD = "boot/initrd-warm.img"
"""Where the image's build finds it, below its root."""

_CONFIGURATION = "usr/local/share/warm-start"

_FILES = {
    "hook.sh": "hooks/preloaded",
    "init-top.sh": "scripts/init-top/boot-id",
    "init-premount.sh": "scripts/init-premount/preloaded",
    "init-bottom.sh": "scripts/init-bottom/preloaded",
    "stage.sh": "preloaded/stage.sh",
    "preloaded_cloud_init.py": "preloaded/preloaded_cloud_init.py",
}
"""The programs beside this file, and where they are in the configuration."""


def program(name: str) -> str:
    """Read one of the programs that run in the guest."""
    return (resources.files("pycloudlib.local.warm_start") / "guest" / name).read_text(encoding="utf-8")


FILES = tuple(GuestFile(f"{_CONFIGURATION}/{path}", program(name), mode=0o755) for name, path in _FILES.items())

MAKE_INITRD = "; ".join(
    (
        "set -e",
        'cd "$1"',
        "cp -an etc/initramfs-tools/. " + _CONFIGURATION,
        # Files keep their times, by which they are compared with those of the disk.
        f'chroot "$1" env -u SOURCE_DATE_EPOCH mkinitramfs -d /{_CONFIGURATION} -o /{INITRD} '
        f'"$(basename boot/vmlinuz-* | cut -d- -f2-)" || rm -f {INITRD}',
        f"rm -rf {_CONFIGURATION}",
    )
)
"""Run by a shell, with the root directory as its argument, after the packages are installed. Where it fails, there is
none, and machines boot from the beginning."""
