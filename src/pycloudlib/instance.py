"""The base class of instances: commands, scripts, and file transfers over SSH."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pycloudlib.deadline import Deadline
from pycloudlib.errors import CleanupError, PycloudlibTimeoutError
from pycloudlib.guest import clean as guest_clean
from pycloudlib.guest import packages as guest_packages
from pycloudlib.guest.scripts import RUN_SCRIPT
from pycloudlib.key import KeyPair
from pycloudlib.result import Result
from pycloudlib.ssh import command as ssh_command
from pycloudlib.ssh import openssh_config, transfer, tree
from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.host_keys import HostKey, HostKeys
from pycloudlib.ssh.login import Login, SharedConnection

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class BaseInstance(ABC):
    """An instance with access over SSH. As a context manager, delete the instance on exit.

    Args:
        instance_id: the cloud's instance id.
        username: the login user.
        key_pair: the key pair for the login; None to disable logins.
        port: the port of sshd; default 22.
        host_keys: the accepted host keys; default: trust the first one.
    """

    _type = "base"

    connect_timeout: float = 10.0
    """Seconds for a TCP connection."""

    banner_timeout: float = 15.0
    """Seconds for the SSH identification string of sshd."""

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
        self._ssh = SharedConnection(host_keys or HostKeys())

    @property
    def id(self) -> str:
        """The cloud's instance id."""
        return self._id

    @property
    @abstractmethod
    def name(self) -> str:
        """The name."""

    @property
    @abstractmethod
    def ip(self) -> str:
        """The address to connect to."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> None:
        """Wait until the instance is ready."""

    @abstractmethod
    def wait_for_restart(self, old_boot_id: str) -> None:
        """Wait until the instance has rebooted and is ready."""

    @abstractmethod
    def wait_for_stop(self) -> None:
        """Wait until the instance is stopped."""

    @abstractmethod
    def wait_for_delete(self) -> None:
        """Wait until the instance is deleted."""

    @abstractmethod
    def get_boot_id(self) -> str:
        """Return the boot id of the guest."""

    @abstractmethod
    def console_log(self) -> str:
        """Return the console log."""

    @abstractmethod
    def restart(self, wait: bool = True) -> None:
        """Reboot the instance."""

    @abstractmethod
    def shutdown(self, wait: bool = True) -> None:
        """Stop the instance."""

    @abstractmethod
    def start(self, wait: bool = True) -> None:
        """Start the stopped instance."""

    @abstractmethod
    def delete(self, wait: bool = True) -> list[Exception]:
        """Delete the instance."""

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
            command: a string, which `sh -c` runs, or a list of a program and its arguments.
            stdin: the standard input; default empty.
            description: the text that replaces the command in logs and errors; default the command.
            use_sudo: whether to run the whole command as root, including redirections; default no.
            no_log: whether to keep the command out of logs; default no.
            get_pty: whether to allocate a pseudo-terminal; default no.
            timeout: seconds for connecting, waiting for a free session, and the command together; default no limit.
            env: environment variables for the command; default none.
            on_output: called with "stdout" or "stderr" and each piece of output as it arrives. The result then has no
                output. Default: the result has all output.

        Returns:
            The output on both streams and the exit status. A failed command does not raise.

        Raises:
            CommandTimeoutError: the command did not end in time.
            LoginShellError: the login shell is a restricted one, such as rbash, that does not find sh.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return self._execute_by(
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

    def _execute_by(
        self,
        deadline: Deadline,
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
        if timeout is not None:
            deadline = deadline.at_most(timeout)
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
        """Return the verified host key of sshd, which was accepted according to the setting `host_keys`.

        Returns:
            The key type and the key; `known_hosts_line()` returns it in OpenSSH's format.

        Raises:
            HostKeyError: the host key does not match the expected one.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        self._connected().open()
        accepted = self._ssh.host_keys.accepted
        assert accepted is not None  # noqa: S101  (an open connection has been let in with one)
        return accepted

    def ssh_config(self, known_hosts: str | PathLike[str] | None = None) -> str:
        """Verify the host key, and return the block of OpenSSH's client configuration for this instance.

        With the block in a file, `ssh -F FILE INSTANCE_ID` logs in, and so do other programs that run ssh, such as
        Ansible and Testinfra. ssh accepts only the verified host key, and offers only the instance's SSH key. The block
        has the current address: call this again after `start()`, which may change it.

        Args:
            known_hosts: the file into which the host key is written; default a temporary file, which is deleted when
                this process ends.

        Returns:
            The block `Host INSTANCE_ID` with HostName, Port, User, IdentityFile, UserKnownHostsFile, and the options
            for a strict verification.

        Raises:
            UnsetSSHKeyError: the instance has no SSH key.
            HostKeyError: the host key does not match the expected one.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
            InvalidArgumentError: the path of a file contains a double quote or a newline.
            PycloudlibError: the file cannot be written.
        """
        key = self.host_key()
        path = Path(known_hosts) if known_hosts is not None else openssh_config.temporary_directory() / self.id
        openssh_config.write_known_hosts(path.absolute(), self.id, key)
        return openssh_config.config_block(self.id, self._login.at(self.ip), path.absolute())

    def run_script(self, script: str | bytes, description: str | None = None) -> Result:
        """Run a script in the guest from a temporary file that only the login user can read.

        The file is in $TMPDIR or /tmp, or else in the first of $HOME, /var/tmp, $XDG_RUNTIME_DIR, and /dev/shm that is
        not mounted noexec. Without such a directory the exit status is 126.

        Args:
            script: the whole script. The first line names the interpreter ("#!/bin/bash"); default `sh`.
            description: the text for logs and errors; default "a script".

        Returns:
            The output on both streams and the exit status. A failed script does not raise.

        Raises:
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return self.execute(RUN_SCRIPT, stdin=script, description=description or "a script", no_log=True)

    def push_file(self, local_path: str | PathLike[str], remote_path: str | PathLike[str]) -> None:
        """Copy a file to the guest as the login user.

        Args:
            local_path: the local file.
            remote_path: the destination; a relative path starts in the login user's home directory.

        Raises:
            TransferError: a file could not be read or written.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        transfer.push(self._connected(), local_path, str(remote_path))

    def pull_file(self, remote_path: str | PathLike[str], local_path: str | PathLike[str]) -> None:
        """Copy a file from the guest as the login user.

        Args:
            remote_path: the file in the guest; a relative path starts in the login user's home directory.
            local_path: the destination.

        Raises:
            TransferError: a file could not be read or written.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        transfer.pull(self._connected(), str(remote_path), local_path)

    def push_dir(self, local_path: str | PathLike[str], remote_path: str | PathLike[str]) -> None:
        """Copy the contents of a directory to a directory in the guest as the login user.

        Keep modes, file times, empty directories, and symbolic links, but not owners. Existing files in the guest
        remain unless one of the same name replaces them. Sockets, pipes, and devices are skipped with a warning. A
        failed transfer leaves the files copied so far.

        Args:
            local_path: the local directory, whose contents are copied, not the directory itself.
            remote_path: the destination directory, which is created with its parents if missing. A relative path starts
                in the login user's home directory.

        Raises:
            TransferError: a file could not be read or written.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        tree.push_tree(self._connected(), local_path, str(remote_path))

    def pull_dir(self, remote_path: str | PathLike[str], local_path: str | PathLike[str]) -> None:
        """Copy the contents of a directory in the guest to a local directory as the login user.

        See `push_dir()`. Nothing is written outside of the local directory, whatever the guest sends: symbolic links
        that lead out of it are skipped with a warning, and existing ones are not followed.

        Args:
            remote_path: the directory in the guest, whose contents are copied, not the directory itself. A relative
                path starts in the login user's home directory.
            local_path: the destination directory, which is created with its parents if missing.

        Raises:
            TransferError: a file could not be read or written.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        tree.pull_tree(self._connected(), str(remote_path), local_path)

    def install(self, packages: str | Sequence[str]) -> Result:
        """Install packages as root, noninteractively, with the guest's apt, dnf, yum, or zypper.

        With apt, update the package lists first if the guest has none. Wait up to five minutes for another package
        manager process, such as the daily upgrade of a fresh machine.

        Args:
            packages: the package names; a string may contain several, separated by spaces.

        Returns:
            The output of the package manager.

        Raises:
            InvalidArgumentError: there is no package, or a name is invalid.
            CommandError: the installation failed, or the guest has no supported package manager.
            PycloudlibTimeoutError: another package manager process did not end in time.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return guest_packages.install(self.execute, packages)

    def update(self) -> Result:
        """Update the package lists and upgrade the installed packages as root, noninteractively.

        Configuration files that were modified in the guest are kept.

        Returns:
            The output of the upgrade.

        Raises:
            CommandError: the upgrade failed, or the guest has no supported package manager.
            PycloudlibTimeoutError: another package manager process did not end in time.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        return guest_packages.update(self.execute)

    def clean(self) -> None:
        """Remove the instance's identity, so that instances of an image of it run their first boot.

        Afterward, only shut the instance down and create the image; if started again, it also runs a first boot and has
        new host keys. Removed are the machine id, the SSH host keys, the journal, the random seed, DHCP leases,
        /etc/resolv.conf, and /etc/hostname. The state and logs of cloud-init are removed too, as with `cloud-init clean
        --logs`. Kept: users with their authorized keys, other logs, and cloud-init's seed directory. Host keys, name
        server, and host name are also kept if the next boot would not create new ones, as without cloud-init.

        Raises:
            CommandError: something could not be removed; the message has the reason.
            SSHError: the connection failed or was lost.
            InstanceStateError: the instance was deleted, or has no address.
        """
        self._clean_by(Deadline.never())

    def _clean_by(self, deadline: Deadline) -> None:
        """Remove the instance's identity by a deadline. See `clean()`.

        Args:
            deadline: when to give up.

        Raises:
            CommandTimeoutError: the deadline passed; some of it may be removed.
        """
        guest_clean.clean(partial(self._execute_by, deadline))
        self._ssh.host_keys.forget()

    def _connected(self, deadline: Deadline | None = None) -> Connection:
        """Return the connection to the instance's current address, which the first use opens.

        Args:
            deadline: when to stop looking up the address; default never.
        """
        return self._ssh.to(self._login.at(self.ip))

    @property
    def _login(self) -> Login:
        return Login(self.id, self.username, self.key_pair, self.port, self.connect_timeout, self.banner_timeout)

    def __del__(self) -> None:
        """Close the connection; the next command opens a new one. Test suites for pycloudlib call this."""
        # An instance whose __init__ failed has none.
        ssh: SharedConnection | None = vars(self).get("_ssh")
        if ssh is not None:
            ssh.close()

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


def raise_unless_secondary(errors: Sequence[Exception], exception: BaseException | None) -> None:
    """Raise a CleanupError, or add it as a note to an earlier exception.

    Args:
        errors: the errors, one for each remaining resource; empty if everything is deleted.
        exception: the exception that ended the `with` block, if any.

    Raises:
        CleanupError: some resources could not be deleted.
    """
    if not errors:
        return
    failure = CleanupError(errors)
    if exception is None:
        raise failure
    logger.error("%s", failure)
    if hasattr(exception, "add_note"):  # Python 3.11 and later
        exception.add_note(str(failure))
