"""The root file system fills its volume and has free space, and all file systems of fstab are mounted."""

import re
from dataclasses import dataclass

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.verdicts import check, fail, listed, not_applicable

GIB = 1024**3
GROWN = 0.9
"""The minimum fraction of the volume: partitions, boot loaders, and the file system's metadata use the rest."""
FULL = 0.92
"""The maximum fraction of used space, not counting the blocks that are reserved for root."""
LONG_ENOUGH = 255
"""Seconds of NVMe time-out: the most that kernels before 4.15 take, https://docs.aws.amazon.com/ebs/latest/userguide/timeout-nvme-ebs-volumes.html"""
FIELDS = 3
NO_PLACE = ("none", "swap", "-")
UNSTABLE = re.compile(r"/dev/(sd|xvd|nvme|vd|hd)")


@dataclass(frozen=True)
class Entry:
    """An entry of fstab.

    Args:
        device: the device or label.
        place: the mount point.
        kind: the type of the file system.
        options: the mount options.
    """

    device: str
    place: str
    kind: str
    options: str


def fstab(facts: Facts) -> list[Entry]:
    """Return the entries that are mounted automatically."""
    lines = (line.split() for line in facts.lines("fstab") if not line.lstrip().startswith("#"))
    entries = [Entry(words[0], words[1], words[2], (*words, "")[FIELDS]) for words in lines if len(words) >= FIELDS]
    return [entry for entry in entries if "noauto" not in entry.options.split(",")]


@check(
    reason="The size of the volume is chosen at launch, and space that the file system does not use is still billed.",
    remedy="Install growpart (cloud-guest-utils, cloud-utils-growpart), enable cloud-init's modules growpart and "
    "resizefs, and make the root partition the last one.",
)
def test_root_fills_its_volume(facts: Facts) -> None:
    """The root file system has grown to the size of its volume."""
    size = int(facts.text("root").split()[0])
    if size < GROWN * facts.launch.volume_size_gb * GIB:
        fail(f"the root file system has {size / GIB:.1f} GiB, and its volume {facts.launch.volume_size_gb} GiB")


@check(
    reason="On a full file system, an instance cannot log, install, or update anything, and may not boot again.",
    remedy="Remove caches, downloads, old kernels, and logs, or make the image's volume larger.",
)
def test_root_has_room(facts: Facts) -> None:
    """The root file system has free space and inodes, and so had the image."""
    size, used, free, _, inodes = facts.text("root").replace("%", "").split()
    if int(used) > FULL * (int(used) + int(free)):
        fail(f"the root file system is full: {int(free) / GIB:.1f} of {int(size) / GIB:.1f} GiB are free")
    elsewhere = facts.launch.volume_size_gb * GIB - int(size)
    in_image = facts.launch.image_size_gb * GIB - elsewhere
    if facts.launch.image_size_gb and int(used) > FULL * in_image:
        fail(f"the image is full: {int(used) / GIB:.1f} of {in_image / GIB:.1f} GiB are used")
    if inodes.isdigit() and int(inodes) > FULL * 100:
        fail(f"the root file system has few free inodes: {inodes} % are used")


@check(
    reason="Programs expect the file systems of fstab, and without nofail a missing device stops the boot.",
    remedy="Remove the line from /etc/fstab, add nofail, or add the device to the image's block device mapping.",
)
def test_fstab_is_mounted(facts: Facts) -> None:
    """Every entry of fstab is mounted, and findmnt reports no error."""
    mounted = {line.split()[1] for line in facts.lines("mounts")}
    missing = [entry.place for entry in fstab(facts) if entry.place not in mounted and entry.place not in NO_PLACE]
    if missing:
        fail(f"in /etc/fstab, but not mounted: {', '.join(missing)}")
    errors = [line.strip() for line in facts.lines("fstab_verified") if "[E]" in line]
    if errors:
        fail(f"findmnt reports errors in /etc/fstab:\n{listed(errors)}")


@check(
    reason="Device names depend on the order of detection and on the hypervisor: /dev/xvda is /dev/nvme0n1 on "
    "current instance types.",
    remedy="Use LABEL= or UUID= in /etc/fstab.",
)
def test_fstab_names_no_devices(facts: Facts) -> None:
    """Entries of fstab use no unstable device names."""
    devices = [entry.device for entry in fstab(facts) if UNSTABLE.match(entry.device)]
    if devices:
        fail(f"unstable device names in /etc/fstab: {', '.join(devices)}")


@check(
    reason="Unintended swap is on a slow network disk that is billed; without the intended swap, the kernel "
    "kills programs.",
    remedy="Configure swap in /etc/fstab or in a .swap unit, and check it with `swapon --all`.",
)
def test_swap_is_as_configured(facts: Facts) -> None:
    """Swap is active if fstab has any; otherwise, only swap in memory (zram) is."""
    configured = [entry.device for entry in fstab(facts) if entry.kind == "swap"]
    active = [line.split()[0] for line in facts.lines("swaps") if "zram" not in line]
    if configured and not active:
        fail(f"the swap of /etc/fstab is not active: {', '.join(configured)}")
    if active and not configured:
        fail(f"swap is active that is not in /etc/fstab: {', '.join(active)}")


@check(
    reason="On current instance types, every volume is an NVMe device, including the root volume.",
    remedy="Install a kernel with the module nvme, and include the module in the initramfs.",
)
def test_nvme_driver_is_there(facts: Facts) -> None:
    """The kernel has the NVMe driver."""
    if not facts.answer("module_nvme").ok:
        fail(f"no module nvme: {facts.text('module_nvme')}")


@check(
    reason="EBS may respond late, for example while a volume is moved. After the kernel's default timeout of 30 "
    "s, the root file system becomes read-only.",
    remedy="Add nvme_core.io_timeout=4294967295 to the kernel's command line.",
)
def test_nvme_timeout_is_long(facts: Facts) -> None:
    """The NVMe I/O timeout is at least 255 s."""
    answer = facts.answer("nvme_timeout")
    if not answer.ok or not answer.text.isdigit():
        not_applicable("the kernel has no NVMe timeout")
    if int(answer.text) < LONG_ENOUGH:
        fail(f"nvme_core.io_timeout is {answer.text} s; the maximum is 4294967295")
