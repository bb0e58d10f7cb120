"""The user's own OpenSSH, with the verified host key and the configured key."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pycloudlib.errors import LocalEC2Error, MissingPrerequisiteError, PycloudlibError, UnsetSSHKeyError
from pycloudlib.ssh.openssh_config import verification_options, write_known_hosts

if TYPE_CHECKING:
    from pycloudlib import EC2Instance

PROGRAM = "ssh"


def require_openssh() -> None:
    """Raise unless OpenSSH's client is installed.

    Raises:
        MissingPrerequisiteError: it is not installed; the message says how to install it.
    """
    if shutil.which(PROGRAM) is None:
        raise MissingPrerequisiteError(
            "ssh is required to open a session, but not installed: apt-get install openssh-client"
        )


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
        raise UnsetSSHKeyError(f"no SSH key to log in to {instance.id}: give one with --key")
    known_hosts = _write_known_hosts(instance)
    settings = [f"{name}={value}" for name, value in verification_options(instance.id, known_hosts)]
    words = [PROGRAM, "-i", str(instance.key_pair.private_key_path), "-p", str(instance.port), "-l", instance.username]
    for setting in [*settings, *options]:
        words += ["-o", setting]
    return [*words, instance.ip, *(["--", *command] if command else [])]


def ssh_config(instance: EC2Instance) -> str:
    """Verify the host key, and return the block of OpenSSH's client configuration for an instance.

    Args:
        instance: the instance, to which a connection is opened.

    Raises:
        HostKeyError: the host key does not match the expected one.
        SSHError: the connection failed or was lost.
        UnsetSSHKeyError: there is no key.
    """
    return instance.ssh_config(_known_hosts_path(instance.id))


def forget_host(instance_id: str) -> None:
    """Delete the known_hosts file of an instance. No-op if it does not exist or is inaccessible."""
    # The instance is deleted even if this user has no writable home directory.
    with suppress(OSError, PycloudlibError):
        _known_hosts_path(instance_id).unlink()


def shown(words: Sequence[str]) -> str:
    """Return the arguments quoted for a shell."""
    return shlex.join(words)


def _write_known_hosts(instance: EC2Instance) -> Path:
    path = _known_hosts_path(instance.id)
    write_known_hosts(path, instance.id, instance.host_key())
    return path


def _known_hosts_path(instance_id: str) -> Path:
    # The local EC2's cache directory belongs to the whole program.
    from pycloudlib.local.paths import cache_dir

    try:
        return cache_dir() / "known_hosts" / instance_id
    except LocalEC2Error as error:
        raise PycloudlibError(str(error)) from error
