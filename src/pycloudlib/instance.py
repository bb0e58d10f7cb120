"""What any instance offers, whatever cloud it runs in: commands, scripts and files over SSH."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING

from pycloudlib.deadline import Deadline
from pycloudlib.errors import CleanupError, PycloudlibTimeoutError, UnsetSSHKeyError
from pycloudlib.guest import clean as guest_clean
from pycloudlib.guest import packages as guest_packages
from pycloudlib.guest.scripts import RUN_SCRIPT
from pycloudlib.key import KeyPair
from pycloudlib.result import Result
from pycloudlib.ssh import command as ssh_command
from pycloudlib.ssh import transfer, tree
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKey, HostKeys
from pycloudlib.ssh.target import Target

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class BaseInstance(ABC):
    """A machine in a cloud, reached over SSH. As a context manager it is deleted in the end.

    Args:
        instance_id: the cloud's id for it.
        username: who logs in.
        key_pair: the key that is offered; None for an instance that nobody logs in to.
        port: where its sshd listens; default 22.
        host_keys: who it may be; default: whoever answered first.
    """

    _type = "base"
    _connection: Connection | None = None

    connect_timeout: float = 10.0
    """Seconds for a TCP connection."""

    banner_timeout: float = 15.0
    """Seconds for the first line of its sshd."""

    def __init__(
        self,
        instance_id: str,
        *,
        username: str,
        key_pair: KeyPair | None,
        port: int = 22,
        host_keys: HostKeys | None = None,
    ) -> None:
        self._id = instance_id
        self.username = username
        self.key_pair = key_pair
        self.port = port
        self._host_keys = host_keys or HostKeys()
        self._connecting = threading.Lock()

    @property
    def id(self) -> str:
        """The cloud's id for it."""
        return self._id

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name."""

    @property
    @abstractmethod
    def ip(self) -> str:
        """The address at which it is reached."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is ready to be used."""

    @abstractmethod
    def wait_for_restart(self, old_boot_id: str) -> None:
        """Wait until it has booted again and is ready."""

    @abstractmethod
    def wait_for_stop(self) -> None:
        """Wait until it is stopped."""

    @abstractmethod
    def wait_for_delete(self) -> None:
        """Wait until it is gone."""

    @abstractmethod
    def get_boot_id(self) -> str:
        """Ask the guest which boot this is."""

    @abstractmethod
    def console_log(self) -> str:
        """What the machine printed on its console."""

    @abstractmethod
    def restart(self, wait: bool = True) -> None:
        """Boot it again."""

    @abstractmethod
    def shutdown(self, wait: bool = True) -> None:
        """Stop it."""

    @abstractmethod
    def start(self, wait: bool = True) -> None:
        """Start it after it was stopped."""

    @abstractmethod
    def delete(self, wait: bool = True) -> list[Exception]:
        """Delete it."""

    def execute(
        self,
        command: str | Sequence[str],
        stdin: str | bytes | None = None,
        description: str | None = None,
        *,
        use_sudo: bool = False,
        no_log: bool = False,
        get_pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Result:
        """Run a command in the guest.

        Args:
            command: a string runs in `sh -c`, a list as it is.
            stdin: what the command reads; default nothing.
            description: what is logged and shown in errors instead of the command; default the command.
            use_sudo: whether the whole command, redirections too, runs as root; default no.
            no_log: whether nothing of the command is logged; default no.
            get_pty: whether it gets a terminal; default no.
            timeout: seconds for all of it: connecting, waiting for a free session, and the command; default: as long as
                it takes.
            env: variables set for it; default none.
            on_output: is given each piece of output as it comes, with "stdout" or "stderr" before it; the result then
                holds none of it. Default: the result holds all.

        Returns:
            Its output on both streams and its exit status; a command that fails does not raise.

        Raises:
            CommandTimeoutError: it did not end in time.
            LoginShellError: the login shell is a restricted one, such as rbash, that does not find sh.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return self.execute_by(
            Deadline.after(timeout),
            command,
            stdin,
            description,
            use_sudo=use_sudo,
            no_log=no_log,
            get_pty=get_pty,
            env=env,
            on_output=on_output,
        )

    def execute_by(
        self,
        deadline: Deadline,
        command: str | Sequence[str],
        stdin: str | bytes | None = None,
        description: str | None = None,
        *,
        use_sudo: bool = False,
        no_log: bool = False,
        get_pty: bool = False,
        env: Mapping[str, str] | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> Result:
        """Run a command in the guest, as execute() does, together with others.

        Args:
            deadline: when to give up.
            command: as for execute(), and so are the others.
            stdin: what the command reads.
            description: what is logged and shown in errors instead of the command.
            use_sudo: whether the whole command runs as root.
            no_log: whether nothing of the command is logged.
            get_pty: whether it gets a terminal.
            env: variables set for it.
            on_output: is given each piece of output as it comes.
        """
        try:
            connection = self._connected(deadline)
        except PycloudlibTimeoutError as error:
            shown = ssh_command.shown(command, description, no_log=no_log)
            raise ssh_command.not_started(shown, deadline, error) from error
        return ssh_command.run(
            connection,
            command,
            stdin=stdin,
            description=description,
            use_sudo=use_sudo,
            no_log=no_log,
            get_pty=get_pty,
            deadline=deadline,
            env=env,
            on_output=on_output,
        )

    def host_key(self) -> HostKey:
        """The public key that its sshd proved to have, and that was accepted as the setting `host_keys` demands.

        Returns:
            Its type and the key itself; `known_hosts_line()` is what OpenSSH takes.

        Raises:
            HostKeyError: it is not the host that was expected.
            SSHError: the guest could not be asked.
            InstanceStateError: the instance was deleted, or has no address.
        """
        self._connected().open()
        accepted = self._host_keys.accepted
        assert accepted is not None  # noqa: S101  (an open connection has been let in with one)
        return accepted

    def run_script(self, script: str | bytes, description: str | None = None) -> Result:
        """Run a script in the guest, from a file that only the login user can read and that is removed in the end.

        The file is in $TMPDIR or /tmp, or else in the first of $HOME, /var/tmp, $XDG_RUNTIME_DIR, and /dev/shm that is
        not mounted noexec. Without such a directory the exit status is 126.

        Args:
            script: its whole text; the first line says what runs it ("#!/bin/bash"), else `sh` does.
            description: what is logged and shown in errors; default "a script".

        Returns:
            Its output on both streams and its exit status; a script that fails does not raise.

        Raises:
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return self.execute(RUN_SCRIPT, stdin=script, description=description or "a script", no_log=True)

    def push_file(self, local_path: str | PathLike[str], remote_path: str | PathLike[str]) -> None:
        """Copy a file into the guest, as the login user.

        Args:
            local_path: the file here.
            remote_path: where it goes; a relative path begins in the login user's home.

        Raises:
            TransferError: it could not be read or written.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        transfer.push(self._connected(), local_path, str(remote_path))

    def pull_file(self, remote_path: str | PathLike[str], local_path: str | PathLike[str]) -> None:
        """Copy a file out of the guest, as the login user.

        Args:
            remote_path: the file in the guest; a relative path begins in the login user's home.
            local_path: where it goes.

        Raises:
            TransferError: it could not be read or written.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        transfer.pull(self._connected(), str(remote_path), local_path)

    def push_dir(self, local_path: str | PathLike[str], remote_path: str | PathLike[str]) -> None:
        """Copy what is in a directory into one of the guest, as the login user.

        Modes, times of files, empty directories and symbolic links are kept, owners are not. What is in the guest's
        directory already stays, or is replaced by what has the same name. Sockets, pipes and devices are left out with
        a warning. A transfer that fails leaves what has been copied by then.

        Args:
            local_path: the directory here; its content is copied, not the directory itself.
            remote_path: the directory that gets it, made with its parents if missing; a relative path begins in the
                login user's home.

        Raises:
            TransferError: it could not be read or written.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        tree.push_tree(self._connected(), local_path, str(remote_path))

    def pull_dir(self, remote_path: str | PathLike[str], local_path: str | PathLike[str]) -> None:
        """Copy what is in a directory of the guest into one here, as the login user.

        As with push_dir(); and nothing is written outside of the directory here, whatever the guest sends: symbolic
        links that lead out of it are left out with a warning, and those that are here already are not followed.

        Args:
            remote_path: the directory in the guest; its content is copied, not the directory itself. A relative path
                begins in the login user's home.
            local_path: the directory that gets it, made with its parents if missing.

        Raises:
            TransferError: it could not be read or written.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        tree.pull_tree(self._connected(), str(remote_path), local_path)

    def install(self, packages: str | Sequence[str]) -> Result:
        """Install packages as root, with apt, dnf, yum or zypper, whichever the guest has; nothing is asked.

        With apt, the lists of packages are fetched first if the guest has none. A program that installs something
        at the same time, such as the daily upgrade of a fresh machine, is waited for, up to five minutes.

        Args:
            packages: names, as the guest's package manager takes them; in a string, blanks separate them.

        Returns:
            What the package manager printed.

        Raises:
            InvalidArgumentError: there is no package, or a name that is none.
            CommandError: it failed, or the guest has no package manager that is known here.
            PycloudlibTimeoutError: another program was installing something all the time.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return guest_packages.install(self.execute, packages)

    def update(self) -> Result:
        """Get the lists of packages anew and upgrade what is installed, as root; nothing is asked.

        Configuration files that were changed in the guest stay as they are.

        Returns:
            What the package manager printed as it upgraded.

        Raises:
            CommandError: it failed, or the guest has no package manager that is known here.
            PycloudlibTimeoutError: another program was installing something all the time.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return guest_packages.update(self.execute)

    def clean(self) -> None:
        """Remove what makes it differ from other instances, so that an image of it boots as a first boot.

        Afterwards it is good for a shutdown and an image, no more; started again, it has a first boot itself, and
        other host keys. What goes: the state and logs of cloud-init (as with `cloud-init clean --logs`), the machine
        id, the SSH host keys, the journal, the random seed, DHCP leases, /etc/resolv.conf and /etc/hostname. What
        stays: users with their authorized keys, other logs, and cloud-init's seed directory; also host keys, name
        server and host name where the next boot would not write new ones, as without cloud-init.

        Raises:
            CommandError: something could not be removed; with what, and why.
            SSHError: the guest could not be asked, or was lost meanwhile.
            InstanceStateError: the instance was deleted, or has no address.
        """
        guest_clean.clean(self.execute)
        self._host_keys.forget()

    def _connected(self, deadline: Deadline | None = None) -> Connection:
        """Return the connection to where the instance is now; its first use opens it.

        Args:
            deadline: when to give up finding out where that is; default none.
        """
        return self._connected_to(self._target())

    def _connected_to(self, target: Target) -> Connection:
        stale = None
        with self._connecting:
            if self._connection is not None and not _same_place(self._connection.target, target):
                stale, self._connection = self._connection, None
            if self._connection is None:
                self._connection = Connection(target, self._host_keys)
            connection = self._connection
        if stale is not None:
            stale.close()
        return connection

    def _disconnect(self) -> None:
        with self._connecting:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _target(self, host: str | None = None) -> Target:
        if self.key_pair is None:
            raise UnsetSSHKeyError(f"{self.id} cannot be logged in to without an SSH key: choose one with use_key()")
        return Target(
            host=self.ip if host is None else host,
            username=self.username,
            private_key_path=self.key_pair.private_key_path,
            port=self.port,
            connect_timeout=self.connect_timeout,
            banner_timeout=self.banner_timeout,
        )

    def __del__(self) -> None:
        """Close the connection; the next command opens another one. Suites written for pycloudlib call this."""
        if self._connection is not None:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise_unless_secondary(self.delete(), exception)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


def _same_place(one: Target, other: Target) -> bool:
    """Whether both lead to the same login, however patiently."""
    return (one.address, one.username, one.private_key_path) == (other.address, other.username, other.private_key_path)


def raise_unless_secondary(errors: Sequence[Exception], exception: BaseException | None) -> None:
    """Raise what a clean-up could not do; but when something else went wrong before, only note it there.

    Args:
        errors: what could not be deleted, one for each resource; empty when nothing is left.
        exception: what ended the body of the `with` statement, if anything did.

    Raises:
        CleanupError: with all of the errors.
    """
    if not errors:
        return
    failure = CleanupError(errors)
    if exception is None:
        raise failure
    logger.error("%s", failure)
    if hasattr(exception, "add_note"):  # Python 3.11 and later
        exception.add_note(str(failure))
