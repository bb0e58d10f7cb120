"""The entrance to a VPC's network namespace: the calling process enters it, and then executes a command.

An ordinary user owns the helper's user namespace, and can therefore enter it without privileges. The command runs in a
child user namespace, where it keeps its user and group ids.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces import syscalls

logger = logging.getLogger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(frozen=True)
class Entrance:
    """The location of a VPC's network namespace, sent as JSON.

    Args:
        vpc_id: the VPC.
        helper_pid: the process that holds the namespace.
        namespace_fd: the number of the namespace's file descriptor in that process.
        resolv_conf: the path of a file for /etc/resolv.conf that names the VPC's DNS server.
    """

    vpc_id: str
    helper_pid: int
    namespace_fd: int
    resolv_conf: str

    def enter(self) -> None:
        """Move this single-threaded process into the VPC permanently.

        Names resolve as in the VPC. If mounting /etc/resolv.conf fails, log a warning instead.

        Raises:
            LocalEC2Error: the local EC2 has ended, or the kernel refused.
        """
        with self._translate_errors():
            uid, gid = os.geteuid(), os.getegid()
            self._enter_network()
            self._resolve_names()
            if uid != 0:
                syscalls.unshare(syscalls.CLONE_NEWUSER)
                syscalls.unmap_root(uid, gid)

    def enter_network(self) -> None:
        """Move this single-threaded process into the VPC's network permanently, with administrator privileges.

        Raises:
            LocalEC2Error: see enter().
        """
        with self._translate_errors():
            self._enter_network()

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise LocalEC2Error(
                    f"cannot enter {self.vpc_id}: the local EC2 has ended, or it was deleted"
                ) from error
            raise LocalEC2Error(
                f"cannot enter {self.vpc_id}: {error.strerror}; run this as the user who started the local EC2, "
                "not from inside a VPC"
            ) from error

    def _enter_network(self) -> None:
        helper = Path(f"/proc/{self.helper_pid}")
        with contextlib.ExitStack() as fds:
            user = None if os.geteuid() == 0 else _open(helper / "ns" / "user", fds)
            network = _open(helper / "fd" / str(self.namespace_fd), fds)
            if user is not None:
                syscalls.setns(user, syscalls.CLONE_NEWUSER)
            syscalls.setns(network, syscalls.CLONE_NEWNET)

    def _resolve_names(self) -> None:
        try:
            syscalls.bind_privately(Path(self.resolv_conf), RESOLV_CONF)
        except OSError as error:
            logger.warning("names of %s do not resolve: %s: %s", self.vpc_id, RESOLV_CONF, error.strerror)


def _open(path: Path, fds: contextlib.ExitStack) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    fds.callback(os.close, fd)
    return fd
