"""The serial console, the only source of information about an instance that does not boot."""

import re

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.verdicts import check, fail, listed

TROUBLE = re.compile(
    r"Kernel panic - not syncing"
    r"|\bOops:"
    r"|general protection fault"
    r"|\bBUG: "
    r"|kernel BUG at "
    r"|blocked for more than \d+ seconds"
    r"|detected stall"
    r"|self-detected stall"
    r"|soft lockup"
    r"|hard LOCKUP"
    r"|Call Trace:"
)
"""The kernel's messages about severe errors."""


@check(
    reason="A kernel with errors during boot may have lost a device, and is likely to fail under load.",
    remedy="Look up the message for this kernel version, and update or replace the kernel or the module that the "
    "message names.",
)
def test_no_kernel_trouble(facts: Facts) -> None:
    """The console shows no panic, oops, BUG, stall, or hung task."""
    lines = [line.strip() for line in facts.console_text().splitlines() if TROUBLE.search(line)]
    if lines:
        fail(f"the kernel reported errors:\n{listed(lines)}")


@check(
    reason="EC2's console log is the output on ttyS0, and its serial console is a login there. Without them, a "
    "failed boot cannot be investigated.",
    remedy="Add console=ttyS0 to the kernel's command line (with GRUB: to GRUB_CMDLINE_LINUX, then run update-grub).",
)
def test_console_is_on_ttys0(facts: Facts) -> None:
    """The kernel's console is ttyS0 (on arm64 also ttyAMA0), with a login prompt."""
    devices = facts.text("console_devices").split()
    if not {"ttyS0", "ttyAMA0"} & set(devices):
        fail(f"the console is on {' '.join(devices) or 'no device'}, not on ttyS0")
    if "ttyS0" in devices and facts.text("console_getty") != "active":
        fail(f"no login on ttyS0: serial-getty@ttyS0.service is {facts.text('console_getty')}")
