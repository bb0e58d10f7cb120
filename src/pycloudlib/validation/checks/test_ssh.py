"""The host keys: the instance's own, protected, and shown on the console."""

from pycloudlib.ssh.host_keys import keys_from_console
from pycloudlib.validation.facts import CLOCK_SLACK, Facts
from pycloudlib.validation.verdicts import check, fail, listed, not_applicable


def host_keys(facts: Facts) -> list[list[str]]:
    """Return the mode, owner, modification time, and path of each host key file."""
    answer = facts.answer("host_keys")
    files = [
        line.split(maxsplit=3) for line in answer.lines if line.endswith((".pub", "_key")) and "cannot" not in line
    ]
    if not files:
        not_applicable("there are no host keys in /etc/ssh")
    return files


@check(
    reason="Everyone who can read the image has its host keys, and can impersonate every instance of it.",
    remedy="Run rm /etc/ssh/ssh_host_*_key* before you create the image, and keep cloud-init's ssh_deletekeys at "
    "its default (true).",
)
def test_host_keys_are_the_machines_own(facts: Facts) -> None:
    """This instance generated every host key after its first start."""
    started = int(facts.text("btime"))
    old = [path for _, _, changed, path in host_keys(facts) if int(changed) < started - CLOCK_SLACK]
    if old:
        fail(f"host keys are older than the instance, so the image contains them:\n{listed(old)}")


@check(
    reason="sshd refuses a private host key that other users can read, and they could impersonate the instance "
    "with it.",
    remedy="Run chown root /etc/ssh/ssh_host_*_key*; chmod 600 /etc/ssh/ssh_host_*_key; chmod 644 "
    "/etc/ssh/ssh_host_*_key.pub",
)
def test_host_keys_have_the_right_permissions(facts: Facts) -> None:
    """Only root (or sshd's group) can read private host keys, and only root can write public ones."""
    insecure = [
        f"{path}: {owner}, mode {mode}"
        for mode, owner, _, path in host_keys(facts)
        if owner != "root" or int(mode, 8) & (0o022 if path.endswith(".pub") else 0o137)
    ]
    if insecure:
        fail(f"other users have access to host keys:\n{listed(insecure)}")


@check(
    reason="The console is the only source of the host keys that a client can trust before its first connection.",
    remedy="Include keys-to-console in cloud-init's cloud_final_modules, and let /dev/console be ttyS0.",
)
def test_host_keys_are_on_the_console(facts: Facts) -> None:
    """The block that cloud-init prints on the console has the host keys of the instance."""
    console = facts.console_text()
    shown = {key.split()[1] for key in keys_from_console(console)}
    have = [line.split() for line in facts.lines("host_public_keys")]
    # The kernel may print in the middle of a line, so one complete copy of a key is enough.
    if not shown & {words[1] for words in have if len(words) > 1}:
        fail("the console shows none of the host keys" if not shown else "the console shows other host keys")
