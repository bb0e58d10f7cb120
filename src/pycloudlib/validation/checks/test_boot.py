"""The instance boots, and accepts its owner's login."""

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.verdicts import check, fail, not_applicable


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


@check(
    reason="With Secure Boot, only signed code runs in the kernel. A kernel that is not locked down allows root to run "
    "any other.",
    remedy="Install the distribution's signed kernel. For a kernel of your own, set "
    "CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT, or pass lockdown=integrity.",
)
def test_secure_boot_locks_kernel_down(facts: Facts) -> None:
    """With Secure Boot, the kernel is locked down. Without it, the check is skipped, with the reason."""
    state = facts.text("secure_boot").strip()
    if state == "BIOS":
        not_applicable("no Secure Boot: the instance boots by a BIOS")
    if state != "1":
        not_applicable("Secure Boot is off")
    lockdown = facts.text("lockdown").strip()
    if "[integrity]" not in lockdown and "[confidentiality]" not in lockdown:
        fail(f"Secure Boot is on, but the kernel is not locked down: {lockdown}")
