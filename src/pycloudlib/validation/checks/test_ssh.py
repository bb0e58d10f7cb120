"""The host's keys: its own, kept well, and shown where they can be trusted."""

from pycloudlib.ssh.host_keys import keys_from_console
from pycloudlib.validation.facts import CLOCK_SLACK, Facts
from pycloudlib.validation.verdicts import check, fail, listed, not_applicable


def host_keys(facts: Facts) -> list[list[str]]:
    """Mode, owner, time of the last change and path of each file of a host key."""
    answer = facts.answer("host_keys")
    found = [
        line.split(maxsplit=3) for line in answer.lines if line.endswith((".pub", "_key")) and "cannot" not in line
    ]
    if not found:
        not_applicable("there are no host keys in /etc/ssh")
    return found


@check(
    reason="Whoever has the image has its host keys, and can pretend to be any machine that was launched from it.",
    remedy="rm /etc/ssh/ssh_host_*_key* before the image is made, and leave ssh_deletekeys of cloud-init as it is "
    "(true).",
)
def test_host_keys_are_the_machines_own(facts: Facts) -> None:
    """Every host key was made by this machine, after it was first started."""
    started = int(facts.text("btime"))
    old = [path for _, _, changed, path in host_keys(facts) if int(changed) < started - CLOCK_SLACK]
    if old:
        fail(f"host keys are older than the machine, so they are in the image:\n{listed(old)}")


@check(
    reason="A private host key that others may read is everybody's; sshd refuses to use it.",
    remedy="chown root /etc/ssh/ssh_host_*_key*; chmod 600 /etc/ssh/ssh_host_*_key; chmod 644 "
    "/etc/ssh/ssh_host_*_key.pub",
)
def test_host_keys_have_the_right_permissions(facts: Facts) -> None:
    """Private host keys are root's alone (or read by a group of sshd's), and nobody else writes the public ones."""
    wrong = [
        f"{path}: {owner}, mode {mode}"
        for mode, owner, _, path in host_keys(facts)
        if owner != "root" or int(mode, 8) & (0o022 if path.endswith(".pub") else 0o137)
    ]
    if wrong:
        fail(f"others have access to host keys:\n{listed(wrong)}")


@check(
    reason="The console is the one place from which a client can learn whom it is to trust, before it first connects.",
    remedy="Let cloud-init's module keys-to-console run (in cloud_final_modules), and /dev/console lead to ttyS0.",
)
def test_host_keys_are_on_the_console(facts: Facts) -> None:
    """Every host key is in the block that cloud-init prints on the console."""
    console = facts.console_text()
    shown = {key.split()[1] for key in keys_from_console(console)}
    have = [line.split() for line in facts.lines("host_public_keys")]
    # The kernel may print into the middle of a line, so one that was shown whole is enough.
    if not shown & {words[1] for words in have if len(words) > 1}:
        fail("the console shows none of the host keys" if not shown else "the console shows other host keys")
