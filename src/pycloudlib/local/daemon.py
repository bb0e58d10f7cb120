"""The life of a local EC2's process, as seen from outside: start, find, stop."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from pycloudlib.errors import LocalEC2Error, MissingPrerequisiteError
from pycloudlib.local import paths
from pycloudlib.local.front_door import PATH
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105  (guards nothing: the server listens on loopback)
LOCK_FILE = "lock"
LOG_FILE = "server.log"
SERVER_FILE = "server.json"
DEFAULT_NAME = "default"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""It is a directory's name too."""
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class ServerOptions:
    """What a local EC2 is to be.

    Args:
        driver: "qemu" for real machines (the default), "simulated" for states that pass by the clock.
        region: the region that settings name; the server knows all of them. Default "us-east-1".
        port: of the EC2 API; default 0, any free one.
        path: under which the EC2 API is, such as "/services/Cloud"; default "", the root.
        auth: whether it makes credentials of its own, and refuses requests that are not signed with them; default
            false: it takes any.
        ssh_port: of every instance's sshd; default 0: 22 where it may be bound, else a free one.
        accelerator: "auto" (the default), "kvm" or "tcg".
        max_memory_mib: no machine gets more memory than this, in MiB; default 2048.
        max_cpus: no machine gets more CPUs than this; default 0: as many as this computer has, and one under software
            emulation.
        warm_start: whether machines go on from where a boot of their like was saved, where their image allows it;
            default yes.
        shutdown_seconds: how long a guest may take to shut down before the plug is pulled; default 90.
        boot_seconds: simulated: from pending to running; default 0.
        stop_seconds: simulated: from stopping to stopped; default 0.
        terminate_seconds: simulated: from shutting-down to terminated; default 0.
        image_seconds: simulated: until an image is available; default 0.
        end_with_stdin: end when standard input does; default false.
    """

    driver: str = "qemu"
    region: str = "us-east-1"
    port: int = 0
    path: str = ""
    auth: bool = False
    ssh_port: int = 0
    accelerator: str = "auto"
    max_memory_mib: int = 2048
    max_cpus: int = 0
    warm_start: bool = True
    shutdown_seconds: float = 90.0
    boot_seconds: float = 0.0
    stop_seconds: float = 0.0
    terminate_seconds: float = 0.0
    image_seconds: float = 0.0
    end_with_stdin: bool = False

    def to_json(self) -> str:
        """Write the options as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ServerOptions:
        """Read the options from JSON."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class ServerInfo:
    """Where a running local EC2 is, and what it is.

    Args:
        pid: its process.
        endpoint_url: of the EC2 API.
        region: the region that settings name.
        access_key_id: any will do, unless it was started with `auth`.
        secret_access_key: any will do, unless it was started with `auth`.
        ssh_port: of every instance's sshd.
        driver: "qemu" or "simulated".
        accelerator: "kvm" or "tcg"; "" for simulated machines.
        accelerator_reason: why this accelerator, in one line.
    """

    pid: int
    endpoint_url: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    ssh_port: int
    driver: str
    accelerator: str
    accelerator_reason: str

    def to_json(self) -> str:
        """Write the facts as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_mapping(cls, facts: Mapping[str, Any]) -> ServerInfo:
        """Read the facts back.

        Raises:
            KeyError: one is missing.
        """
        return cls(**{one.name: facts[one.name] for one in fields(cls)})

    def settings(self, **more: object) -> dict[str, str | int]:
        """The settings under `[ec2]` that lead to this server.

        Args:
            **more: further ones, such as `private_key_path`; paths may be given as such.
        """
        return {
            "endpoint_url": self.endpoint_url,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "ssh_port": self.ssh_port,
            **{key: value if isinstance(value, int) else str(value) for key, value in more.items()},
        }

    def settings_toml(self, **more: object) -> str:
        """The settings as a TOML file; see settings()."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.settings(**more).items()]
        return "\n".join(["[ec2]", *lines]) + "\n"


class LocalEC2:
    """A local EC2 for as long as a `with` block lasts, or as a daemon.

    As a context manager it ends with the block, with the process, and when the process is killed; nothing is left of
    it but the caches.

    Args:
        name: tells daemons apart; default: one that nobody else has.
        options: see ServerOptions; by keyword.
    """

    def __init__(self, name: str | None = None, **options: Any) -> None:
        known = {field.name for field in fields(ServerOptions)} - {"end_with_stdin"}
        unknown = sorted(set(options) - known)
        if unknown:
            raise LocalEC2Error(f"unknown option {unknown[0]!r}: known are {', '.join(sorted(known))}")
        self.name = f"run-{secrets.token_hex(6)}" if name is None else name
        _check_name(self.name)
        self.options = ServerOptions(**options)
        _check_path(self.options.path)
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._info: ServerInfo | None = None

    @property
    def info(self) -> ServerInfo:
        """Where it is and what it is.

        Raises:
            LocalEC2Error: it does not run.
        """
        if self._info is None:
            raise LocalEC2Error(f"the local EC2 {self.name!r} is not running: start it first")
        return self._info

    @property
    def endpoint_url(self) -> str:
        """URL of the EC2 API."""
        return self.info.endpoint_url

    @property
    def region(self) -> str:
        """The region that settings name."""
        return self.info.region

    @property
    def access_key_id(self) -> str:
        """An access key id that it takes."""
        return self.info.access_key_id

    @property
    def secret_access_key(self) -> str:
        """The secret that goes with it."""
        return self.info.secret_access_key

    @property
    def ssh_port(self) -> int:
        """Port of every instance's sshd."""
        return self.info.ssh_port

    @property
    def directory(self) -> Path:
        """Where it keeps its machines while it runs; XDG_STATE_HOME counts when it starts, and no more afterwards."""
        return self._directory or paths.state_dir() / self.name

    def start(self, *, end_with_this_process: bool = False) -> ServerInfo:
        """Start it, and wait until it listens.

        Args:
            end_with_this_process: whether it ends when this process does; default false: it runs as a daemon.

        Raises:
            LocalEC2Error: it could not be started; the message says why.
            MissingPrerequisiteError: QEMU or another program is not installed.
        """
        remove_stale_directories()
        self._directory = paths.state_dir() / self.name
        options = ServerOptions(**{**asdict(self.options), "end_with_stdin": end_with_this_process})
        with _open_log(self._directory) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pycloudlib.local.server", str(self._directory), options.to_json()],
                stdin=subprocess.PIPE if end_with_this_process else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C is for the program that uses it; that one then stops it in its own time.
                start_new_session=True,
            )
        try:
            self._info = _read_answer(process, self._directory)
        except BaseException:
            process.terminate()
            _hang_up(process)
            if not _is_locked(self._directory):
                shutil.rmtree(self._directory, ignore_errors=True)
            raise
        self._process = process
        return self._info

    def stop(self) -> None:
        """End it and every machine of it, and wait until they are gone."""
        if self._process is None:
            stop_server(self.name)
            return
        process, self._process, self._info = self._process, None, None
        process.terminate()
        _hang_up(process)

    def __enter__(self) -> LocalEC2:
        self.start(end_with_this_process=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _read_answer(process: subprocess.Popen[bytes], directory: Path) -> ServerInfo:
    assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise LocalEC2Error(f"the local EC2 did not start: {_last_line(directory / LOG_FILE)}")
    answer = json.loads(line)
    if "error" not in answer:
        for notice in answer["notices"]:
            logger.warning("%s", notice)
        return ServerInfo.from_mapping(answer)
    process.wait()
    kind = MissingPrerequisiteError if answer["missing_prerequisite"] else LocalEC2Error
    raise kind(answer["error"])


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise LocalEC2Error(
            f"a local EC2 cannot be named {name!r}: give at most 64 letters, digits, dots, hyphens and underscores, "
            "and a letter or a digit first"
        )


def _check_path(path: str) -> None:
    if not PATH.fullmatch(path):
        raise LocalEC2Error(
            f"a local EC2 cannot be under the path {path!r}: begin with a slash, and give letters, digits, dots, "
            "hyphens, underscores and tildes between slashes, such as /services/Cloud"
        )


def _open_log(directory: Path) -> BinaryIO:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return (directory / LOG_FILE).open("ab")
    except OSError as error:
        raise LocalEC2Error(f"cannot write to {directory}: {error.strerror}") from error


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return "its process ended without a word"


def find_server(name: str = DEFAULT_NAME) -> ServerInfo | None:
    """Find a running local EC2 by its name; None when there is none, or when it is just starting."""
    _check_name(name)
    return _server_in(paths.state_dir() / name)


def running_servers() -> dict[str, ServerInfo]:
    """Find all local EC2s that this user runs, by name."""
    found = {directory.name: _server_in(directory) for directory in _server_directories()}
    return {name: info for name, info in sorted(found.items()) if info is not None}


def stop_server(name: str = DEFAULT_NAME) -> None:
    """Stop a running local EC2 and every machine of it, and wait until they are gone.

    Raises:
        LocalEC2Error: none of that name runs, or it does not end.
    """
    info = find_server(name)
    directory = paths.state_dir() / name
    if info is None and _is_locked(directory):
        raise LocalEC2Error(
            f"{directory / SERVER_FILE} does not tell which process the local EC2 {name!r} is: "
            f"if it is not just starting, end the one that `pgrep -f {directory}` finds"
        )
    if info is None:
        raise LocalEC2Error(f"no local EC2 named {name!r} is running")
    with contextlib.suppress(ProcessLookupError), _process(info.pid) as process:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        wait_until(lambda: _has_ended(process), what=f"the local EC2 {name!r} to end", timeout=STOP_SECONDS)


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    """Hold on to a process, so that no other is taken for it: a file descriptor."""
    held = os.pidfd_open(pid)
    try:
        yield held
    finally:
        os.close(held)


def _has_ended(process: int) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


def log_file(name: str = DEFAULT_NAME) -> Path:
    """Name the log of a running local EC2.

    Raises:
        LocalEC2Error: none of that name runs.
    """
    _check_name(name)
    directory = paths.state_dir() / name
    if not _is_locked(directory):
        raise LocalEC2Error(f"no local EC2 named {name!r} is running")
    return directory / LOG_FILE


def remove_stale_directories() -> None:
    """Delete what servers left that were cut off with their whole machine."""
    for directory in _server_directories():
        # One without a lock is about to be used by a server that is just starting.
        if (directory / LOCK_FILE).exists() and not _is_locked(directory):
            shutil.rmtree(directory, ignore_errors=True)


def _server_in(directory: Path) -> ServerInfo | None:
    if not _is_locked(directory):
        return None
    try:
        info = ServerInfo.from_mapping(json.loads((directory / SERVER_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info if isinstance(info.pid, int) else None


def _server_directories() -> list[Path]:
    directory = paths.state_dir()
    try:
        return [one for one in directory.iterdir() if one.is_dir()]
    except OSError as error:
        raise LocalEC2Error(f"cannot look into {directory}: {error.strerror}") from error


def _is_locked(directory: Path) -> bool:
    try:
        with (directory / LOCK_FILE).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
