"""The directories of servers: ownership, and removal of stale directories.

A server holds a lock on its directory while it runs. A directory is renamed atomically before it is deleted, so that
files of the next server with the same name are never deleted.
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
"""The pattern of the names of servers and their directories."""

GONE = ".gone-"
"""The name prefix of directories being deleted."""

LOCKING_SECONDS = 60.0
"""The timeout in seconds of a start that waits for concurrent starts."""

# The reaper outlives a killed server to delete its directory. A server that exits regularly deletes the directory
# itself, and notifies the reaper, since another server may use the name by then. Until it exits, the reaper holds the
# server's lock, and it renames the directory first, so that it never deletes files of the next server.
REAPER = 'read -r done || { mv -T -- "$0" "$1" && set -- "$1" || set -- "$0"; exec rm -rf -- "$1"; }'

LOCKING_ATTEMPTS = 20
"""The number of attempts to create a directory that a failed start of the same name may delete concurrently."""


def open_log(directory: Path) -> BinaryIO:
    """Create a server's directory and its log; delete stale directories of servers from before a host crash.

    Raises:
        LocalEC2Error: the directory or the log cannot be created.
    """
    with _directories_locked():
        _set_stale_directories_aside()
        log = _new_log(directory)
    _delete_renamed_directories()
    return log


def _new_log(directory: Path) -> BinaryIO:
    for attempts_left in reversed(range(LOCKING_ATTEMPTS)):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return (directory / LOG_FILE).open("ab")
        except (FileExistsError, FileNotFoundError) as error:
            # The reaper of a killed server has just renamed the directory.
            if not attempts_left:
                raise LocalEC2Error(f"cannot write to {directory}: {error.strerror}") from error
        except OSError as error:
            raise LocalEC2Error(f"cannot write to {directory}: {error.strerror}") from error
    raise AssertionError("unreachable")


@contextlib.contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Own a directory: it is locked while this process runs, and deleted when it exits or is killed."""
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
    """Delete a directory. Its name is free immediately, and files of the next server are safe."""
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
    # Lock the directory before renaming it: others test the lock by acquiring it briefly.
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
    """Rename a server's directory, so that its name is free before its contents are deleted.

    Returns:
        The new path.

    Raises:
        OSError: the directory could not be renamed.
    """
    aside = _new_name(directory)
    directory.rename(aside)
    return aside


@contextlib.contextmanager
def _directories_locked() -> Iterator[None]:
    """Hold the lock under which servers' directories are created and removed.

    Otherwise, another start could replace a stale directory between its check and its removal.
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
        # A directory without a lock belongs to a starting server.
        if (directory / LOCK_FILE).exists() and not is_locked(directory):
            with contextlib.suppress(OSError):
                _set_aside(directory)


def _delete_renamed_directories() -> None:
    for directory in paths.state_dir().glob(f"{GONE}*"):
        shutil.rmtree(directory, ignore_errors=True)


def remove_unless_used(directory: Path) -> None:
    """Delete a server's directory, unless a server holds its lock."""
    with _directories_locked():
        if not is_locked(directory):
            with contextlib.suppress(OSError):
                _set_aside(directory)
    _delete_renamed_directories()


def server_directories() -> list[Path]:
    """Return the directories of all servers, running or stale.

    Raises:
        LocalEC2Error: the directories cannot be read.
    """
    directory = paths.state_dir()
    try:
        return [path for path in directory.iterdir() if re.fullmatch(NAME, path.name) and path.is_dir()]
    except OSError as error:
        raise LocalEC2Error(f"cannot look into {directory}: {error.strerror}") from error


def is_locked(directory: Path) -> bool:
    """Return whether a running server owns the directory."""
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
