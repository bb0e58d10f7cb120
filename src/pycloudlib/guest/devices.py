"""What is asked of the guest about its disks: under which path a volume appears."""

from __future__ import annotations

from pycloudlib.guest.boot import Run

QUESTION_TIMEOUT = 30.0
"""Seconds for one look at the guest's disks."""

# An NVMe disk says as its serial number which volume it is. On Xen there is none, and the disk has the name that the
# volume was attached under, with xvd for sd.
# https://docs.aws.amazon.com/ebs/latest/userguide/nvme-ebs-volumes.html
_BY_SERIAL = """
for file in /sys/block/*/device/serial /sys/block/*/serial; do
  [ -r "$file" ] || continue
  disk=${file#/sys/block/}; disk=/dev/${disk%%/*}
  if [ "$(tr -d ' \\n-' <"$file")" = "$SERIAL" ] && [ -b "$disk" ]; then echo "$disk"; exit 0; fi
done
"""
_BY_NAME = """
for disk in $NAMES; do
  if [ -b "$disk" ]; then readlink -f "$disk"; exit 0; fi
done
"""


def device_of_volume(run: Run, volume_id: str, device_name: str) -> str | None:
    """Ask under which path a volume appears in the guest; None as long as it does not.

    Args:
        run: runs a command in the guest.
        volume_id: such as "vol-0123456789abcdef0".
        device_name: what it was attached as, such as "/dev/sdf".

    Raises:
        SSHError: the guest could not be asked.
    """
    serial = volume_id.replace("-", "")
    script = f"SERIAL={serial}; NAMES='{' '.join(_names(device_name))}'\n{_BY_SERIAL}{_BY_NAME}exit 1"
    found = run(script, timeout=QUESTION_TIMEOUT)
    return found.stdout if found.ok and found.stdout else None


def _names(device_name: str) -> list[str]:
    """What the disk may be called, if it has no serial number."""
    name = device_name.removeprefix("/dev/")
    as_on_xen = f"/dev/xvd{name[2:]}" if name.startswith("sd") else f"/dev/{name}"
    return list(dict.fromkeys([as_on_xen, f"/dev/{name}"]))
