"""Access: only the owner can log in, and only with the launch's key."""

from pycloudlib.validation.facts import Facts
from pycloudlib.validation.verdicts import check, fail, listed

OPTIONS_WITH_COMMAND = 'command="'


def sshd(facts: Facts) -> dict[str, str]:
    """Return sshd's settings with lowercase names, as `sshd -T` prints them."""
    pairs = (line.split(maxsplit=1) for line in facts.lines("sshd"))
    return {pair[0].lower(): pair[1].strip() for pair in pairs if len(pair) > 1}


def accounts(facts: Facts, state: str) -> list[str]:
    """Return the accounts with a password state: "empty", "set", or "locked"."""
    pairs = (line.split() for line in facts.lines("passwords"))
    return [pair[0] for pair in pairs if len(pair) > 1 and pair[1] == state]


def key_of(line: str) -> str:
    """Return the key in a line of authorized_keys."""
    return next((word for word in line.split() if word.startswith("AAAA")), "")


def authorized(facts: Facts) -> list[tuple[str, str]]:
    """Return the file and the line of each authorized key."""
    pairs = (line.partition(": ") for line in facts.lines("authorized_keys"))
    return [(file, line) for file, _, line in pairs if key_of(line)]


@check(
    reason="Bots try passwords on every public address.",
    remedy="Set PasswordAuthentication no and KbdInteractiveAuthentication no in /etc/ssh/sshd_config.d, and "
    "ssh_pwauth: false for cloud-init.",
)
def test_no_password_login(facts: Facts) -> None:
    """Password authentication is disabled."""
    settings = sshd(facts)
    enabled = [
        name for name in ("passwordauthentication", "kbdinteractiveauthentication") if settings.get(name, "no") != "no"
    ]
    if enabled:
        fail(f"sshd accepts passwords: {', '.join(f'{name} yes' for name in enabled)}")


@check(
    reason="Root logins cannot be attributed to a user, and a stolen key gives full control.",
    remedy="Set PermitRootLogin no in /etc/ssh/sshd_config.d, or disable_root: true for cloud-init, which is its "
    "default.",
)
def test_no_root_login(facts: Facts) -> None:
    """The launch's key does not allow root logins."""
    if sshd(facts).get("permitrootlogin") in ("no", "forced-commands-only") or facts.launch.username == "root":
        return
    launch_key = key_of(facts.launch.public_key)
    lines = [line for file, line in authorized(facts) if file.startswith("/root/") and key_of(line) == launch_key]
    if any(OPTIONS_WITH_COMMAND not in line for line in lines):
        fail("root can log in with the launch's key")


@check(
    reason="An empty password allows anyone at a login prompt or with su to log in.",
    remedy="Run passwd --lock ACCOUNT for each account before you create the image.",
)
def test_no_empty_passwords(facts: Facts) -> None:
    """No account has an empty password."""
    names = accounts(facts, "empty")
    if names:
        fail(f"accounts with an empty password: {', '.join(names)}")


@check(
    reason="A password in the image is the same on every instance, and known to everyone who can read the image.",
    remedy="Run passwd --lock ACCOUNT for each account before you create the image.",
)
def test_no_passwords(facts: Facts) -> None:
    """No account has a password from the image."""
    names = accounts(facts, "set")
    if names:
        fail(f"accounts with a password: {', '.join(names)}")


@check(
    reason="The owner of such a key can log in to every instance.",
    remedy="Run rm /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys before you create the image.",
)
def test_no_authorized_keys_are_left(facts: Facts) -> None:
    """The launch's key is the only authorized key."""
    launch_key = key_of(facts.launch.public_key)
    entries = [f"{file}: {line[-60:]}" for file, line in authorized(facts) if key_of(line) != launch_key]
    if entries:
        fail(f"other authorized keys:\n{listed(entries)}")


@check(
    reason="A history reveals how the image was built, and often contains passwords or tokens.",
    remedy="Run rm /root/.*_history /home/*/.*_history before you create the image.",
)
def test_no_shell_history_is_left(facts: Facts) -> None:
    """There is no history file of a shell or another program."""
    files = facts.lines("histories")
    if files:
        fail(f"history files:\n{listed(files)}")


@check(
    reason="Everyone who can read the image can read its private keys.",
    remedy="Remove the keys before you create the image, and replace them wherever they are used.",
)
def test_no_private_keys_are_left(facts: Facts) -> None:
    """There are no private keys in users' and build tools' directories, apart from host keys."""
    files = facts.lines("private_keys")
    if files:
        fail(f"private keys:\n{listed(files)}")
