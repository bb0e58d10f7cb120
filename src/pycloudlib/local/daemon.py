"""The lifecycle of local EC2 servers: start, find, and stop their processes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from pycloudlib import progress
from pycloudlib.deadline import Deadline
from pycloudlib.errors import LocalEC2Error, LocalEC2NotRunningError, MissingPrerequisiteError
from pycloudlib.local import paths
from pycloudlib.local.network.faults import CERTAIN, DELAY, LOSS, PARTITION, RATE, Fault, new_fault_id
from pycloudlib.local.options import URL_PATH, ServerInfo, ServerOptions
from pycloudlib.local.run_module import module_command
from pycloudlib.local.server_directories import (
    LOG_FILE,
    NAME,
    is_locked,
    open_log,
    remove_unless_used,
    server_directories,
)
from pycloudlib.waiting import wait_until

logger = logging.getLogger(__name__)

SERVER_FILE = "server.json"
DEFAULT_NAME = "default"
STOP_SECONDS = 30.0

REAPER_SECONDS = 60.0
"""The maximum number of seconds until the directory of a killed server is deleted."""


class LocalEC2:
    """A local EC2, as a context manager or as a daemon.

    As a context manager, it stops at the end of the block, or when the process exits or is killed. Only caches remain.

    Args:
        name: the name of the daemon; default a unique name.
        options: keyword arguments; see ServerOptions.
    """

    def __init__(self, name: str | None = None, **options: Any) -> None:
        supported = {field.name for field in fields(ServerOptions)} - {"end_with_stdin"}
        unknown = sorted(set(options) - supported)
        if unknown:
            raise LocalEC2Error(f"unknown option {unknown[0]!r}: known are {', '.join(sorted(supported))}")
        self.name = f"run-{secrets.token_hex(6)}" if name is None else name
        _check_name(self.name)
        self.options = ServerOptions(**options)
        _check_path(self.options.path)
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._info: ServerInfo | None = None

    @property
    def info(self) -> ServerInfo:
        """The endpoint and the properties of the running server.

        Raises:
            LocalEC2Error: the server is not running.
        """
        if self._info is None:
            raise LocalEC2Error(f"the local EC2 {self.name!r} is not running: start it first")
        return self._info

    @property
    def endpoint_url(self) -> str:
        """The URL of the EC2 API."""
        return self.info.endpoint_url

    @property
    def region(self) -> str:
        """The region in the generated settings."""
        return self.info.region

    @property
    def access_key_id(self) -> str:
        """A valid access key id."""
        return self.info.access_key_id

    @property
    def secret_access_key(self) -> str:
        """The secret access key of `access_key_id`."""
        return self.info.secret_access_key

    @property
    def ssh_port(self) -> int:
        """The port of every instance's sshd."""
        return self.info.ssh_port

    @property
    def directory(self) -> Path:
        """The directory of the running machines. XDG_STATE_HOME is read once, at the start."""
        return self._directory or paths.state_dir() / self.name

    def start(self, *, end_with_this_process: bool = False) -> ServerInfo:
        """Start the server, and wait until it listens.

        Args:
            end_with_this_process: whether the server stops when this process exits; default false, for a daemon.

        Raises:
            LocalEC2Error: the server could not be started; the message has the reason.
            MissingPrerequisiteError: QEMU or another program is not installed.
        """
        self._directory = paths.state_dir() / self.name
        _wait_for_reaper(self._directory)
        options = ServerOptions(**{**asdict(self.options), "end_with_stdin": end_with_this_process})
        with open_log(self._directory) as log:
            process = subprocess.Popen(
                module_command("pycloudlib.local.server", str(self._directory), options.to_json()),
                stdin=subprocess.PIPE if end_with_this_process else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # Only the calling program handles SIGINT, and then stops the server.
                start_new_session=True,
            )
        try:
            self._info = _read_info(process, self._directory)
        except BaseException:
            process.terminate()
            _close_stdin(process)
            remove_unless_used(self._directory)
            raise
        self._process = process
        return self._info

    def stop(self) -> None:
        """Stop the server and its machines, and wait until they have exited."""
        if self._process is None:
            stop_server(self.name)
            return
        process, self._process, self._info = self._process, None, None
        process.terminate()
        _close_stdin(process)

    def exec_inside(self, command: Sequence[str], vpc_id: str = "") -> NoReturn:
        """Replace this process with a command in a VPC's network namespace, as `pycloudlib local exec` does.

        It requires the namespaces network. A local EC2 that ends with this process stops when the command exits.

        Args:
            command: the program and its arguments.
            vpc_id: the VPC; default the default VPC of the region in the settings.

        Raises:
            LocalEC2Error: the local EC2 is not running, has no namespaces network, or does not have the VPC.
        """
        # Import lazily: most callers do not need this.
        from pycloudlib.local.documents import fetch_entrance  # noqa: PLC0415
        from pycloudlib.local.inside import exec_inside  # noqa: PLC0415

        entrance = fetch_entrance(self._info or require_server(self.name), vpc_id)
        if self._process is not None and self._process.stdin is not None:
            os.set_inheritable(self._process.stdin.fileno(), True)
        exec_inside(entrance, command)

    @staticmethod
    def buildable_releases() -> tuple[str, ...]:
        """Return the code names of the releases that `pycloudlib local image build` supports."""
        from pycloudlib.local.images.builder import VARIANTS  # noqa: PLC0415  (most uses need none of it)

        return tuple(VARIANTS)

    @staticmethod
    def pull_image(
        release: str,
        *,
        daily: bool = False,
        arch: str = "x86_64",
        image_type: str = "generic",
        serial: str | None = None,
    ) -> str:
        """Download the image of a release from its publisher, verify it, and offer it on every local EC2 of this user.

        No-op if the catalog has the image. Mirrors, keyrings, and the proxy come from the environment. Progress is
        logged to "pycloudlib.progress"; see `pycloudlib.progress.show()`.

        Args:
            release: a release, such as "noble", "24.04", or "bookworm".
            daily: whether to pull the daily build; default the released image.
            arch: "x86_64" (default) or "arm64".
            image_type: "generic" (default), or "minimal" for Ubuntu.
            serial: the serial of the build; default the newest build.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: the publisher has no such image.
            InvalidArgumentError: the release is unknown.
            DownloadError: the image cannot be downloaded.
            VerificationError: its checksum or a signature is wrong.
            LocalEC2Error: the disk is full.
        """
        from pycloudlib.local.images.catalog import Catalog  # noqa: PLC0415  (most uses need none of it)
        from pycloudlib.local.images.sources.published import Wanted  # noqa: PLC0415
        from pycloudlib.local.images.sources.pull import LineReporter, Puller  # noqa: PLC0415

        requested = Wanted(release, daily, arch, image_type, serial)
        reporter = LineReporter(lambda line: progress.logger.info("%s", line))
        (image,) = Puller(Catalog(paths.images_dir()), reporter=reporter).pull([requested])
        return image.image_id

    def partition(self, one: str, other: str = "all") -> AbstractContextManager[str]:
        """Drop all packets between two ends, in both directions, for the duration of a `with` block.

        It requires the namespaces network. Open connections stall, as in a network outage. The fault ends with the
        block, its instances, or the server. Faults may overlap; each ends independently.

        Args:
            one: an instance id, or an availability zone.
            other: another end; default "all" for everything else, including the host and the internet.

        Returns:
            A context manager whose value is the fault's id.

        Raises:
            LocalEC2Error: the local EC2 is not running, has no namespaces network, or lacks an instance or zone.
        """
        return self._fault(PARTITION, one, other, CERTAIN)

    def packet_loss(self, one: str, other: str = "all", *, percent: int) -> AbstractContextManager[str]:
        """Drop a share of the packets between two ends, in each direction, for the duration of a `with` block.

        Otherwise like partition().

        Args:
            one: an instance id, or an availability zone.
            other: another end; default "all".
            percent: the share of dropped packets in percent, 1 to 100.

        Returns:
            A context manager whose value is the fault's id.

        Raises:
            LocalEC2Error: as in partition(), or the percentage is invalid.
        """
        return self._fault(LOSS, one, other, percent)

    def delay(self, one: str, other: str = "all", *, milliseconds: int) -> AbstractContextManager[str]:
        """Delay the packets between two ends, in each direction, for the duration of a `with` block.

        It requires a kernel with netem. Packets to the host itself are not delayed. The delays of several faults add
        up. Otherwise like partition().

        Args:
            one: an instance id, or an availability zone.
            other: another end; default "all".
            milliseconds: the delay, 1 to 60000; the round-trip time grows by twice the delay.

        Returns:
            A context manager whose value is the fault's id.

        Raises:
            LocalEC2Error: as in partition(), the kernel has no netem, or the delay is invalid.
        """
        return self._fault(DELAY, one, other, milliseconds)

    def rate_limit(self, one: str, other: str = "all", *, kbit_per_second: int) -> AbstractContextManager[str]:
        """Limit the rate between two ends, in each direction, for the duration of a `with` block.

        The limit applies to each receiving network interface. Further packets are queued, and dropped if the queue is
        full. Packets to the host itself are not limited. Of several faults, the lowest rate
        applies. Otherwise like partition().

        Args:
            one: an instance id, or an availability zone.
            other: another end; default "all".
            kbit_per_second: the rate in kbit/s, 8 to 10000000.

        Returns:
            A context manager whose value is the fault's id.

        Raises:
            LocalEC2Error: as in partition(), or the rate is invalid.
        """
        return self._fault(RATE, one, other, kbit_per_second)

    @contextlib.contextmanager
    def capture(self, instance_id: str, path: str | os.PathLike[str]) -> Iterator[None]:
        """Capture the packets of an instance for the duration of a `with` block, as a pcap file.

        It requires the namespaces network. The file is complete after the block. The capture ends early if the instance
        stops.

        Args:
            instance_id: the id of a running instance, for its primary interface, or of a network interface.
            path: the file, which is replaced if it exists.

        Raises:
            LocalEC2Error: the local EC2 is not running, or has no namespaces network; the instance is not running; or,
                after the block, the file could not be written.
            OSError: the file cannot be opened.
        """
        from pycloudlib.local.documents import fetch_tap  # noqa: PLC0415  (most uses need none of it)
        from pycloudlib.local.network.namespaces.capture import capturing  # noqa: PLC0415

        tap = fetch_tap(self._info or require_server(self.name), instance_id)
        with Path(path).open("wb") as file, capturing(tap, file.fileno()):
            yield

    @contextlib.contextmanager
    def _fault(self, kind: str, one: str, other: str, amount: int) -> Iterator[str]:
        from pycloudlib.local.documents import put_fault, remove_faults  # noqa: PLC0415  (most uses need none of it)

        info = self._info or require_server(self.name)
        fault = Fault(new_fault_id(), kind, (one, other), amount)
        try:
            put_fault(info, fault)
            yield fault.fault_id
        finally:
            # The fault ends with the server. The response to put_fault() may have been lost.
            running = _server_in(self.directory)
            if info.network == "namespaces" and running is not None and running.pid == info.pid:
                remove_faults(info, fault.fault_id)

    def __enter__(self) -> LocalEC2:
        self.start(end_with_this_process=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _read_info(process: subprocess.Popen[bytes], directory: Path) -> ServerInfo:
    assert process.stdout is not None  # noqa: S101  (it is a pipe)
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise LocalEC2Error(f"the local EC2 did not start: {_last_line(directory / LOG_FILE)}")
    response = json.loads(line)
    if "error" not in response:
        for notice in response["notices"]:
            logger.warning("%s", notice)
        return ServerInfo.from_mapping(response)
    process.wait()
    kind = MissingPrerequisiteError if response["missing_prerequisite"] else LocalEC2Error
    raise kind(response["error"])


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise LocalEC2Error(
            f"a local EC2 cannot be named {name!r}: give at most 64 letters, digits, dots, hyphens and underscores, "
            "and a letter or a digit first"
        )


def _check_path(path: str) -> None:
    if not URL_PATH.fullmatch(path):
        raise LocalEC2Error(
            f"a local EC2 cannot be under the path {path!r}: begin with a slash, and give letters, digits, dots, "
            "hyphens, underscores and tildes between slashes, such as /services/Cloud"
        )


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
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
    return "its process ended without a message"


def find_server(name: str = DEFAULT_NAME) -> ServerInfo | None:
    """Return the running local EC2 of a name; None if there is none, or if it is still starting."""
    _check_name(name)
    return _server_in(paths.state_dir() / name)


def require_server(name: str = DEFAULT_NAME) -> ServerInfo:
    """Return the running local EC2 of a name.

    Raises:
        LocalEC2Error: no local EC2 of this name is running.
    """
    info = find_server(name)
    if info is None:
        raise _not_running(name)
    return info


def running_servers() -> dict[str, ServerInfo]:
    """Return this user's running local EC2s, by name."""
    servers = {directory.name: _server_in(directory) for directory in server_directories()}
    return {name: info for name, info in sorted(servers.items()) if info is not None}


def stop_server(name: str = DEFAULT_NAME) -> None:
    """Stop a running local EC2 and its machines, and wait until they have exited.

    Raises:
        LocalEC2NotRunningError: no local EC2 of this name is running.
        LocalEC2Error: its process cannot be identified.
        PycloudlibTimeoutError: it did not stop in time.
    """
    info = find_server(name)
    directory = paths.state_dir() / name
    if info is None and is_locked(directory):
        raise LocalEC2Error(
            f"{directory / SERVER_FILE} does not name the process of the local EC2 {name!r}: "
            f"unless it is just starting, end the process that `pgrep -f {directory}` finds"
        )
    if info is None:
        raise _not_running(name)
    with contextlib.suppress(ProcessLookupError), _process(info.pid) as process:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        wait_until(
            lambda: _has_ended(process), what=f"the local EC2 {name!r} to end", deadline=Deadline.after(STOP_SECONDS)
        )


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    """Open a pidfd, which identifies the process even if its process id is reused."""
    held = os.pidfd_open(pid)
    try:
        yield held
    finally:
        os.close(held)


def _has_ended(process: int) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


def _not_running(name: str) -> LocalEC2NotRunningError:
    running = ", ".join(map(repr, running_servers()))
    return LocalEC2NotRunningError(
        f"no local EC2 named {name!r} is running" + (f"; running: {running}" if running else "")
    )


def log_file(name: str = DEFAULT_NAME) -> Path:
    """Return the path of a running local EC2's log.

    Raises:
        LocalEC2NotRunningError: no local EC2 of this name is running.
    """
    _check_name(name)
    directory = paths.state_dir() / name
    if not is_locked(directory):
        raise _not_running(name)
    return directory / LOG_FILE


def _wait_for_reaper(directory: Path) -> None:
    """Wait until the directory of a killed server has been deleted."""
    info = _server_in(directory)
    if info is None:
        return
    with contextlib.suppress(ProcessLookupError), _process(info.pid) as process:
        if not _has_ended(process):
            return
    wait_until(
        lambda: _server_in(directory) != info,
        what=f"{directory}, the directory of a local EC2 that was killed, to be deleted",
        deadline=Deadline.after(REAPER_SECONDS),
    )


def _server_in(directory: Path) -> ServerInfo | None:
    if not is_locked(directory):
        return None
    try:
        info = ServerInfo.from_mapping(json.loads((directory / SERVER_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info if isinstance(info.pid, int) else None
