"""The guest's disks: the device paths of volumes."""

from __future__ import annotations

from pycloudlib.deadline import Deadline
from pycloudlib.guest.run import Run

QUESTION_TIMEOUT = 30.0
"""Seconds for one query of the guest's disks."""

NEVER = Deadline.never()

LAST_LOOK = 2.0
"""Minimum seconds for the guest to respond, even at the deadline."""

# The serial number of an NVMe disk is the volume id. On Xen there is none, and the disk has the name under which the
# volume was attached, with xvd for sd.
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


def device_of_volume(run: Run, volume_id: str, device_name: str, deadline: Deadline = NEVER) -> str | None:
    """Return the device path of a volume in the guest; None until it appears.

    Args:
        run: runs a command in the guest.
        volume_id: the volume id, such as "vol-0123456789abcdef0".
        device_name: the device name of the attachment, such as "/dev/sdf".
        deadline: when to stop waiting for the guest; default never.

    Raises:
        CommandTimeoutError: the guest did not respond in time.
        SSHError: the connection failed or was lost.
    """
    serial = volume_id.replace("-", "")
    script = f"SERIAL={serial}; NAMES='{' '.join(_names(device_name))}'\n{_BY_SERIAL}{_BY_NAME}exit 1"
    result = run(script, timeout=deadline.at_most(QUESTION_TIMEOUT).at_least(LAST_LOOK).remaining)
    # Startup files of the login shell may print lines before it.
    return result.stdout.splitlines()[-1] if result.ok and result.stdout else None


def _names(device_name: str) -> list[str]:
    """Return the possible names of a disk without a serial number."""
    name = device_name.removeprefix("/dev/")
    as_on_xen = f"/dev/xvd{name[2:]}" if name.startswith("sd") else f"/dev/{name}"
    return list(dict.fromkeys([as_on_xen, f"/dev/{name}"]))
