"""The instance boots, and accepts its owner's login."""

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.verdicts import check, fail


@check(
    reason="An instance without a login cannot be used.",
    remedy="Read the end of the console log, which shows how far the boot got. Check the boot loader, the kernel "
    "argument root=, the drivers in the initramfs, DHCP, sshd, and whether cloud-init installs the key.",
)
def test_boots_to_login_in_time(facts: Facts) -> None:
    """A login with the launch's key succeeds within `--boot-timeout`."""
    if facts.logged_in_after is None:
        fail(facts.boot_error or "no login succeeded")
    if facts.logged_in_after > facts.launch.boot_timeout:
        fail(f"the first login took {facts.logged_in_after:.0f} s; the limit is {facts.launch.boot_timeout:g} s")
