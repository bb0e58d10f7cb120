"""A stand-in for the guest of an instance: a real sshd, in which some programs say what a test wants them to say."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from types import TracebackType

from pycloudlib.key import KeyPair
from support.sshd import Sshd

CLOUD_INIT_DONE = 'echo "status: done"'
CLOUD_INIT_FAILED = 'echo "status: error"; exit 1'


def boot_id_number(number: int) -> str:
    """Return a boot id that a test can recognize."""
    return f"00000000-0000-4000-8000-{number:012}"


class Guest:
    """A guest, running while its context is entered. By default its cloud-init is done.

    Args:
        directory: where it lives.
        listen: the address of its sshd; default 127.0.0.1.
        refuses_first: whether its sshd refuses connections until accept() is called; default no.
        forces_programs: whether commands find its programs first; without that, a key may force its own command.
    """

    def __init__(
        self,
        directory: Path,
        *,
        listen: str = "127.0.0.1",
        refuses_first: bool = False,
        forces_programs: bool = True,
    ) -> None:
        self.programs = directory / "bin"
        self.programs.mkdir(parents=True)
        self.boot_id_path = directory / "boot_id"
        # A command finds these programs first. The shell that sshd starts for it runs this line instead of it.
        self._start_up_file = directory / "start-up"
        self._start_up_file.touch()
        path = f"PATH={self.programs}:$PATH; export PATH"
        force = f'ForceCommand . {self._start_up_file}; {path}; eval "$SSH_ORIGINAL_COMMAND"'
        options = [force] if forces_programs else []
        self.sshd = Sshd(directory / "sshd", listen=listen, options=options, refuses_first=refuses_first)
        self.boot(boot_id_number(1))
        self.program(
            "cat", f'[ "$1" != /proc/sys/kernel/random/boot_id ] || set -- {self.boot_id_path}\nexec /bin/cat "$@"'
        )
        self.program("cloud-init", CLOUD_INIT_DONE)
        self.program("systemctl", "echo running")
        # This guest is the very machine that the tests run on.
        self.program("sudo", 'echo "nothing is done as root in a stand-in for a guest" >&2; exit 1')
        # sshd's own one is no program, which is what a forced command needs.
        self.program("internal-sftp", f"exec {_sftp_server()}")

    @property
    def key_pair(self) -> KeyPair:
        """The key pair that it lets in."""
        private = self.sshd.private_key_path
        return KeyPair(private.with_suffix(".pub"), private)

    def program(self, name: str, script: str) -> None:
        """Let a program do this from now on."""
        path = self.programs / name
        partial = path.with_name(f".{name}")
        partial.write_text(f"#!/bin/sh\n{script}\n")
        partial.chmod(0o755)
        partial.replace(path)

    def print_at_login(self, text: str) -> None:
        """Print a line before every command, as an `echo` in .bashrc does."""
        self.start_up(f"echo '{text}'")

    def start_up(self, script: str) -> None:
        """Run a line in the login shell before every command, as .bashrc does."""
        self._start_up_file.write_text(f"{script}\n")

    def boot(self, boot_id: str) -> None:
        """Replace the boot id atomically: a command that reads it sees the old one or the new one, as in a kernel."""
        new = self.boot_id_path.with_suffix(".new")
        new.write_text(f"{boot_id}\n")
        new.replace(self.boot_id_path)

    def reboot(self) -> None:
        """Lose every connection and come back with another boot id."""
        self.boot(str(uuid.uuid4()))
        self.sshd.drop_connections()

    def __enter__(self) -> Guest:
        self.sshd.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sshd.stop()


def _sftp_server() -> str:
    folders = "/usr/lib/openssh:/usr/libexec/openssh:/usr/lib/ssh:/usr/libexec"
    found = shutil.which("sftp-server", path=folders)
    if found is None:
        raise RuntimeError("these tests need OpenSSH's sftp-server: apt-get install openssh-sftp-server")
    return found
