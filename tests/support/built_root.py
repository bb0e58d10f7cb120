"""What an image build expects of the packages besides a kernel: the files of the boot loader."""

from __future__ import annotations

from pycloudlib.local.images.guest_file import GuestFile

_PATHS = (
    "boot/grub/i386-pc/boot.img",
    "boot/grub/i386-pc/core.img",
    "usr/lib/grub/arm64-efi/monolithic/grubaa64.efi",
    "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    "usr/lib/shim/shimx64.efi.signed",
)

LOADER_FILES = tuple(GuestFile(path, f"content of {path}".ljust(1024)) for path in _PATHS)
