"""Linux system calls that Python 3.10 lacks: namespaces, mounts, and the parent-death signal."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_PR_SET_PDEATHSIG = 1
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SLAVE = 0x80000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (unshare(2)).

    Raises:
        OSError: the kernel rejected the call.
    """
    _check(_libc.unshare(flags))


def setns(namespace_fd: int, kind: int) -> None:
    """Move the calling thread into an existing namespace (setns(2)).

    Raises:
        OSError: the kernel rejected the call.
    """
    _check(_libc.setns(namespace_fd, kind))


def map_root(uid: int, gid: int) -> None:
    """Become root in the user namespace that the process has just created.

    Args:
        uid: the user id of the process before.
        gid: the group id of the process before.

    Raises:
        OSError: the kernel or a security module rejected the call.
    """
    _map(f"0 {uid} 1", f"0 {gid} 1")


def unmap_root(uid: int, gid: int) -> None:
    """Become an ordinary user in the user namespace that the process has just created, as root of its parent.

    Args:
        uid: the new user id.
        gid: the new group id.

    Raises:
        OSError: the kernel or a security module rejected the call.
    """
    _map(f"{uid} 0 1", f"{gid} 0 1")


def bind_privately(source: Path, target: Path) -> None:
    """Bind-mount a file over another file, for this process and its children only.

    Moves the process into a new mount namespace.

    Raises:
        OSError: the kernel or a security module rejected the call.
    """
    unshare(CLONE_NEWNS)
    # Later mounts outside propagate into this namespace, but not the reverse.
    _mount(Path("none"), Path("/"), _MS_SLAVE | _MS_REC)
    _mount(source, target, _MS_BIND)


def die_with_parent(parent: int) -> None:
    """Request SIGKILL when the parent's thread exits. A change of credentials clears the request.

    Args:
        parent: the expected parent process; if it has exited already, this process exits, too.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def _map(uids: str, gids: str) -> None:
    # Without this, the kernel accepts a gid map only from a privileged process.
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(uids, encoding="ascii")
    Path("/proc/self/gid_map").write_text(gids, encoding="ascii")


def _mount(source: Path, target: Path, flags: int) -> None:
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None))


def _check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
