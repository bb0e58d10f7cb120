"""Options of OpenSSH's client for one host: its address, its login, and its verified host key."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pycloudlib.errors import InvalidArgumentError, PycloudlibError

if TYPE_CHECKING:
    from pycloudlib.ssh.host_keys import HostKey
    from pycloudlib.ssh.target import Target

UNQUOTABLE = frozenset('"\n')
"""The characters that OpenSSH cannot read in a path before version 8.7."""


def config_block(name: str, target: Target, known_hosts: Path) -> str:
    """Return the block of an `ssh_config` file for a host.

    Args:
        name: the name of the host in the configuration, such as an instance id.
        target: the address, the port, the login user, and the key.
        known_hosts: the file with the host key, as `write_known_hosts()` writes it.

    Raises:
        InvalidArgumentError: OpenSSH cannot read the path of a file.
    """
    options = [
        ("HostName", target.host),
        ("Port", str(target.port)),
        ("User", target.username),
        ("IdentityFile", quoted(target.private_key_path)),
        *verification_options(name, known_hosts),
    ]
    return "\n  ".join([f"Host {name}", *(f"{option} {value}" for option, value in options)]) + "\n"


def verification_options(name: str, known_hosts: Path) -> list[tuple[str, str]]:
    """Return the options with which OpenSSH accepts no other host, and offers no other key.

    Args:
        name: the name of the host in the file.
        known_hosts: the file with the host key.

    Raises:
        InvalidArgumentError: OpenSSH cannot read the path of the file.
    """
    return [
        ("IdentitiesOnly", "yes"),
        ("StrictHostKeyChecking", "yes"),
        # The address may belong to another host later; the instance id never does.
        ("HostKeyAlias", name),
        ("UserKnownHostsFile", quoted(known_hosts)),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("UpdateHostKeys", "no"),
        ("CheckHostIP", "no"),
    ]


def quoted(path: Path) -> str:
    """Quote a path for an option of OpenSSH, which splits at spaces and expands percent signs.

    Args:
        path: the path.

    Raises:
        InvalidArgumentError: the path contains a double quote or a newline.
    """
    text = str(path).replace("%", "%%")
    if UNQUOTABLE.intersection(text):
        raise InvalidArgumentError(f"OpenSSH cannot read the path {text!r}: it contains a double quote or a newline")
    return f'"{text}"' if " " in text else text


def write_known_hosts(path: Path, name: str, key: HostKey) -> None:
    """Write a `known_hosts` file with the key of one host, atomically. Create a missing directory with mode 0700.

    Args:
        path: the file, which is replaced if it exists.
        name: the name of the host in the file.
        key: the verified host key.

    Raises:
        PycloudlibError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        partial.write_text(key.known_hosts_line(name), encoding="ascii")
        partial.replace(path)
    except OSError as error:
        raise PycloudlibError(f"cannot write {path}: {error.strerror}") from error


@cache
def temporary_directory() -> Path:
    """Return the directory of this process for `known_hosts` files. It is deleted when the process ends.

    Raises:
        PycloudlibError: the directory cannot be created.
    """
    try:
        path = Path(tempfile.mkdtemp(prefix="pycloudlib-known-hosts-"))
    except OSError as error:
        raise PycloudlibError(f"cannot create a directory for known_hosts files: {error.strerror}") from error
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
