"""The directories of the servers: who has one, and deleting what is left of one.

A server locks its directory for as long as it lives. No directory is deleted under its own name: it is renamed first,
in one step, so that nothing is deleted that the next server of the name has put there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from pycloudlib.deadline import Deadline
from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import paths
from pycloudlib.waiting import wait_until

LOCK_FILE = "lock"
LOG_FILE = "server.log"

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The name of a server, and of its directory."""

GONE = ".gone-"
"""The beginning of the name of a directory that is being deleted."""

LOCKING_SECONDS = 60.0
"""How long a start may wait for others that look into the same directories."""

# Outlives a server that is killed, by a moment: long enough to delete its directory. A server that could do so itself
# says so: the name may be another's by then. Until it ends, it holds the server's lock, so that nobody else takes the
# directory; and it renames that first, so that nothing of the next server of the name is deleted.
REAPER = 'read -r done || { mv -T -- "$0" "$1" && set -- "$1" || set -- "$0"; exec rm -rf -- "$1"; }'

LOCKING_ATTEMPTS = 20
"""How often a server makes its directory, when a start of the same name that failed takes it away."""


def open_log(directory: Path) -> BinaryIO:
    """Make a server's directory and its log; delete what servers left that were cut off with their whole machine.

    Raises:
        LocalEC2Error: they cannot be made.
    """
    with _directories_locked():
        _set_stale_directories_aside()
        log = _new_log(directory)
    _delete_what_is_set_aside()
    return log


def _new_log(directory: Path) -> BinaryIO:
    for attempts_left in reversed(range(LOCKING_ATTEMPTS)):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return (directory / LOG_FILE).open("ab")
        except (FileExistsError, FileNotFoundError) as error:
            # The reaper of a killed server renamed the directory just now.
            if not attempts_left:
                raise LocalEC2Error(f"cannot write to {directory}: {error.strerror}") from error
        except OSError as error:
            raise LocalEC2Error(f"cannot write to {directory}: {error.strerror}") from error
    raise AssertionError("unreachable")


@contextlib.contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Own a directory: locked while this process lives, deleted when it ends, even when it is killed."""
    with _take_lock(directory) as lock:
        aside = _new_name(directory)
        reaper = subprocess.Popen(
            ["/bin/sh", "-c", REAPER, str(directory), str(aside)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )
        try:
            yield
        finally:
            _delete(directory)
            reaper.communicate(b"done\n")


def _delete(directory: Path) -> None:
    """Delete a directory; its name is free at once, and nothing that the next server puts there is touched."""
    with contextlib.suppress(OSError):
        directory = _set_aside(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _take_lock(directory: Path) -> TextIO:
    for _ in range(LOCKING_ATTEMPTS):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return _make_lock(directory)
    raise LocalEC2Error(f"{directory} is removed repeatedly by another process")


def _make_lock(directory: Path) -> TextIO:
    # It gets its name when it is locked already: whoever looks whether it is takes it for a moment.
    partial = directory / f"{LOCK_FILE}.{os.getpid()}"
    lock = partial.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.link(partial, directory / LOCK_FILE)
    except OSError as error:
        lock.close()
        if isinstance(error, FileExistsError):
            raise LocalEC2Error(
                f"a local EC2 named {directory.name!r} is already running: use it, stop it with "
                f"`pycloudlib local stop --name {directory.name}`, or give another name"
            ) from None
        raise
    finally:
        partial.unlink(missing_ok=True)
    return lock


def _set_aside(directory: Path) -> Path:
    """Free the name of a server's directory at once, whatever it takes to delete what is in it.

    Returns:
        Where it is now.

    Raises:
        OSError: it could not be renamed.
    """
    aside = _new_name(directory)
    directory.rename(aside)
    return aside


@contextlib.contextmanager
def _directories_locked() -> Iterator[None]:
    """Let no other start make or take away a server's directory meanwhile.

    Between the look whether a directory is stale and its removal, another start could have removed it and made its own.
    """
    directory = paths.state_dir()
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        wait_until(
            lambda: _is_taken(descriptor),
            what=f"other starts of local EC2s, which use {directory}",
            deadline=Deadline.after(LOCKING_SECONDS),
            interval=0.01,
            max_interval=0.1,
        )
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _set_stale_directories_aside() -> None:
    for directory in server_directories():
        # One without a lock is about to be used by a server that is just starting.
        if (directory / LOCK_FILE).exists() and not is_locked(directory):
            with contextlib.suppress(OSError):
                _set_aside(directory)


def _delete_what_is_set_aside() -> None:
    for directory in paths.state_dir().glob(f"{GONE}*"):
        shutil.rmtree(directory, ignore_errors=True)


def remove_unless_used(directory: Path) -> None:
    """Delete a server's directory, unless a server has it locked."""
    with _directories_locked():
        if not is_locked(directory):
            with contextlib.suppress(OSError):
                _set_aside(directory)
    _delete_what_is_set_aside()


def server_directories() -> list[Path]:
    """List the directories of all servers, running or stale.

    Raises:
        LocalEC2Error: they cannot be read.
    """
    directory = paths.state_dir()
    try:
        return [path for path in directory.iterdir() if re.fullmatch(NAME, path.name) and path.is_dir()]
    except OSError as error:
        raise LocalEC2Error(f"cannot look into {directory}: {error.strerror}") from error


def is_locked(directory: Path) -> bool:
    """Tell whether a server has this directory."""
    try:
        with (directory / LOCK_FILE).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _new_name(directory: Path) -> Path:
    return directory.with_name(f"{GONE}{secrets.token_hex(6)}")
