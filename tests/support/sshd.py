"""A real OpenSSH server for tests: its own port, keys and directory, for root and for a plain user alike."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from pycloudlib.deadline import Deadline
from pycloudlib.waiting import wait_until
from support.loopback_gate import LoopbackGate

ALL_LOOPBACK = "127.0.0.0/8"
START_TIMEOUT = 30.0
PORT_ATTEMPTS = 5
TOKEN_NAME = "SUPPORT_SSHD"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")


class Sshd:
    """An OpenSSH server, running while its context is entered.

    Whoever holds the private key at `private_key_path` logs in, as the user that runs the tests. Commands have $HOME at
    `home_path`; sshd itself starts them, and SFTP, in that user's real home all the same.

    Args:
        directory: where its keys, configuration and log are written; made if missing.
        listen: the address it listens on; ALL_LOOPBACK for all of 127.0.0.0/8.
        port: its port; default a free one.
        host_key_types: the kinds of host keys it has, as ssh-keygen names them.
        sftp: the command that serves SFTP; default sshd itself, or OpenSSH's program with `shell`. None for no SFTP.
        shell: the login shell, as a path; it runs every command and the program that serves SFTP. Default the user's.
        options: more lines for its configuration; they win over the default ones.
        refuses_first: on ALL_LOOPBACK, whether it refuses connections until accept() is called; default no.
    """

    def __init__(
        self,
        directory: Path,
        *,
        listen: str = "127.0.0.1",
        port: int | None = None,
        host_key_types: Sequence[str] = ("ed25519",),
        sftp: str | None = "internal-sftp",
        shell: str | None = None,
        options: Iterable[str] = (),
        refuses_first: bool = False,
    ) -> None:
        self.directory = directory
        self.listen = listen
        self.host = "127.0.0.1" if listen == ALL_LOOPBACK else listen
        self.username = getpass.getuser()
        self.private_key_path = directory / "client_key"
        self.authorized_keys_path = directory / "authorized_keys"
        self.home_path = directory / "home"
        self.log_path = directory / "sshd.log"
        self._program = _sshd_program()
        self._config_path = directory / "sshd_config"
        self._host_key_types = tuple(host_key_types)
        self._options = tuple(options)
        self._refuses_first = refuses_first
        self._sftp = sftp if shell is None or sftp != "internal-sftp" else sftp_server_program()
        self._shell = shell
        self._port = port
        self._token = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._gate: LoopbackGate | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise RuntimeError("sshd has no port before it is started")
        return self._port

    @property
    def host_keys(self) -> list[str]:
        """Its public host keys, each as "type base64"."""
        paths = [self._host_key_path(key_type).with_suffix(".pub") for key_type in self._host_key_types]
        return [" ".join(path.read_text().split()[:2]) for path in paths]

    @property
    def host_key(self) -> str:
        """The first of its public host keys, as "type base64"."""
        return self.host_keys[0]

    @property
    def log(self) -> str:
        """Everything it has logged so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._prepare()
        if self.listen == ALL_LOOPBACK:
            self._open_gate()
            return
        wanted_ports = [self._port] if self._port else [_free_port(self.listen) for _ in range(PORT_ATTEMPTS)]
        for port in wanted_ports:
            self._port = port
            if self._started():
                return
        raise RuntimeError(f"sshd did not start on {self.listen}, ports {wanted_ports}:\n{self.log}")

    def accept(self) -> None:
        """Accept connections from now on, if it refused them first."""
        assert self._gate is not None
        self._gate.open()

    def stop(self) -> None:
        """Kill it, every connection to it and every command running over one."""
        if self._gate is not None:
            self._gate.close()
            self.drop_connections()
            self._gate.reap()
            self._gate = None
        if self._process is not None:
            self.drop_connections()
            self._process.kill()
            self._process.wait()
            self._process = None
            self.drop_connections()

    def restart(self, *, new_host_keys: bool = False) -> None:
        """Stop it as a crash would, and start it on the same port.

        Args:
            new_host_keys: whether it comes back as another host.
        """
        self.stop()
        if new_host_keys:
            self.make_host_keys()
        self.start()

    def drop_connections(self) -> None:
        """Kill every connection and its commands; sshd goes on listening."""
        sessions = _processes_with(f"{TOKEN_NAME}={self._token}")
        connections = _descendants(self._process.pid) if self._process else set()
        if self._gate is not None:
            connections |= {pid for child in self._gate.children for pid in {child, *_descendants(child)}}
        _signal(sessions | connections, signal.SIGKILL)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let no connection read or answer anything, as a guest that hangs."""
        assert self._process is not None
        stopped = _descendants(self._process.pid)
        _signal(stopped, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(stopped, signal.SIGCONT)

    def make_host_keys(self) -> None:
        """Make new host keys; it has them from its next start on."""
        for key_type in self._host_key_types:
            make_key(self._host_key_path(key_type), key_type)

    def __enter__(self) -> Sshd:
        self.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _host_key_path(self, key_type: str) -> Path:
        return self.directory / f"host_key_{key_type}"

    def _prepare(self) -> None:
        self.home_path.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # As root, Debian's sshd refuses to start without its privilege separation directory.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        if not self.private_key_path.exists():
            make_key(self.private_key_path, "ed25519")
            public_key = self.private_key_path.with_suffix(".pub").read_text()
            self.authorized_keys_path.write_text(public_key)
        if not self._host_key_path(self._host_key_types[0]).exists():
            self.make_host_keys()

    def _write_config(self, port: int) -> None:
        lines = [
            *self._options,
            *([] if self.listen == ALL_LOOPBACK else [f"ListenAddress {_bracketed(self.listen)}:{port}"]),
            *(f"HostKey {self._host_key_path(key_type)}" for key_type in self._host_key_types),
            f"AuthorizedKeysFile {self.authorized_keys_path}",
            # A home of their own, so that nobody's shell start-up files slow commands down or change what they do.
            f"SetEnv {TOKEN_NAME}={self._token} HOME={self.home_path}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "MaxStartups 100",
            "UseDNS no",
            "PrintMotd no",
            "LogLevel VERBOSE",
        ]
        if self._sftp is not None:
            lines.append(f"Subsystem sftp {self._sftp}")
        if self._shell is not None:
            lines.append(f'ForceCommand exec {self._shell} -c "$SSH_ORIGINAL_COMMAND"')
        # From OpenSSH 9.8 on, an address whose logins fail is shut out for a while: for tests, that is everybody.
        if self._accepts("PerSourcePenalties=no"):
            lines.append("PerSourcePenalties no")
        self._config_path.write_text("\n".join(lines) + "\n")

    def _accepts(self, option: str) -> bool:
        key_path = self._host_key_path(self._host_key_types[0])
        command = [self._program, "-t", "-f", "/dev/null", "-h", str(key_path), "-o", option]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def _open_gate(self) -> None:
        """sshd listens on single addresses, or on all that the machine has; these are some of them."""
        self._write_config(0)
        command = [self._program, "-i", "-e", "-f", str(self._config_path)]
        self._gate = LoopbackGate(self._port or 0, command, self.log_path, is_open=not self._refuses_first)
        self._port = self._gate.port

    def _started(self) -> bool:
        self._write_config(self.port)
        logged_before = len(self.log)
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                [self._program, "-D", "-e", "-f", str(self._config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def listens_or_ended() -> bool:
            return "Server listening on" in self.log[logged_before:] or process.poll() is not None

        wait_until(listens_or_ended, what="sshd to listen", deadline=Deadline.after(START_TIMEOUT), interval=0.01)
        if process.poll() is not None:
            return False
        self._process = process
        return True


def make_key(path: Path, key_type: str, *options: str, passphrase: str = "") -> Path:
    """Make a key pair with ssh-keygen, in the place of one that may be there.

    Args:
        path: the private key; the public one is beside it, with ".pub".
        key_type: as ssh-keygen names it.
        options: more of its arguments.
        passphrase: what protects the private key; default nothing.

    Returns:
        The path of the private key.
    """
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", key_type, "-N", passphrase, "-C", "test", "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def sftp_server_program() -> str:
    """Return the path of OpenSSH's program that serves SFTP, which the login shell starts."""
    return next(path for path in SFTP_SERVERS if Path(path).exists())


def _sshd_program() -> str:
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        raise RuntimeError("these tests need a real sshd: apt-get install openssh-server")
    return program


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _descendants(pid: int) -> set[int]:
    """Every process below this one (see proc(5), "children")."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        parent = todo.pop()
        with suppress(OSError):
            children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
            found.update(children)
            todo.extend(children)
    return found


def _processes_with(setting: str) -> set[int]:
    """Every process with this "NAME=value" in its environment: commands outlive the connection they came over."""
    wanted = setting.encode()
    found: set[int] = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in environ.read_bytes().split(b"\0"):
                found.add(int(environ.parent.name))
    return found
