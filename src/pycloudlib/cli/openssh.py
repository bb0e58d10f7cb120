"""The user's own OpenSSH, with the verified host key and the configured key."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pycloudlib.errors import LocalEC2Error, MissingPrerequisiteError, PycloudlibError, UnsetSSHKeyError

if TYPE_CHECKING:
    from pycloudlib import EC2Instance

PROGRAM = "ssh"


def require_openssh() -> None:
    """Raise unless OpenSSH's client is installed.

    Raises:
        MissingPrerequisiteError: it is not installed; the message says how to install it.
    """
    if shutil.which(PROGRAM) is None:
        raise MissingPrerequisiteError("ssh is not installed, needed to open a session: apt-get install openssh-client")


def ssh_words(instance: EC2Instance, options: Sequence[str] = (), command: Sequence[str] = ()) -> list[str]:
    """Verify the host key, and return the arguments of an ssh command that accepts no other host.

    Args:
        instance: the instance, to which a connection is opened.
        options: further OpenSSH options, such as "LocalForward=8080 localhost:80"; default none.
        command: the command to run instead of a shell; default none.

    Raises:
        HostKeyError: the host key does not match the expected one.
        SSHError: the connection failed or was lost.
        UnsetSSHKeyError: there is no key.
    """
    if instance.key_pair is None:
        raise UnsetSSHKeyError(f"{instance.id} cannot be logged in to without an SSH key: name one with --key")
    known_hosts = _write_known_hosts(instance)
    settings = [
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        # The address may belong to another host later; the id never does.
        f"HostKeyAlias={instance.id}",
        f"UserKnownHostsFile={_quoted(known_hosts)}",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "CheckHostIP=no",
        *options,
    ]
    words = [PROGRAM, "-i", str(instance.key_pair.private_key_path), "-p", str(instance.port), "-l", instance.username]
    for setting in settings:
        words += ["-o", setting]
    return [*words, instance.ip, *(["--", *command] if command else [])]


def forget_host(instance_id: str) -> None:
    """Delete the known_hosts file of `ssh_words()`. No-op if it does not exist or is inaccessible."""
    # The instance is deleted even if this user has no writable home directory.
    with suppress(OSError, PycloudlibError):
        _known_hosts_path(instance_id).unlink()


def shown(words: Sequence[str]) -> str:
    """Return the arguments quoted for a shell."""
    return shlex.join(words)


def _write_known_hosts(instance: EC2Instance) -> Path:
    path = _known_hosts_path(instance.id)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    line = instance.host_key().known_hosts_line(instance.id)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        partial.write_text(line, encoding="ascii")
        partial.replace(path)
    except OSError as error:
        raise PycloudlibError(f"cannot write {path}: {error.strerror}") from error
    return path


def _known_hosts_path(instance_id: str) -> Path:
    # The local EC2's cache directory belongs to the whole program.
    from pycloudlib.local.paths import cache_dir

    try:
        return cache_dir() / "known_hosts" / instance_id
    except LocalEC2Error as error:
        raise PycloudlibError(str(error)) from error


def _quoted(path: Path) -> str:
    """Quote a path for an OpenSSH option, which splits at spaces and expands percent signs."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text
