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
    reason="A kernel that stumbles while it boots will stumble under load, or has lost a device already.",
    remedy="Look the message up for this kernel, and update or replace the kernel, or the module that it names.",
)
def test_no_kernel_trouble(facts: Facts) -> None:
    """The console shows no panic, oops, BUG, stall, or hung task."""
    found = [line.strip() for line in facts.console_text().splitlines() if TROUBLE.search(line)]
    if found:
        fail(f"the kernel was in trouble:\n{listed(found)}")


@check(
    reason="EC2 shows what is printed on ttyS0, and its serial console is a login there: without it a machine that "
    "does not come up cannot be examined.",
    remedy="Add console=ttyS0 to the kernel's command line (for GRUB: GRUB_CMDLINE_LINUX, then update-grub).",
)
def test_console_is_on_ttys0(facts: Facts) -> None:
    """The kernel's console is ttyS0 (on arm64 also ttyAMA0), with a login prompt."""
    devices = facts.text("console_devices").split()
    if not {"ttyS0", "ttyAMA0"} & set(devices):
        fail(f"the console is on {' '.join(devices) or 'no device'}, not on ttyS0")
    if "ttyS0" in devices and facts.text("console_getty") != "active":
        fail(f"nobody can log in on ttyS0: serial-getty@ttyS0.service is {facts.text('console_getty')}")
