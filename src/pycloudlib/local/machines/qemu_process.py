"""A QEMU process, its monitor, and its signals."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pycloudlib.local import qemu_img
from pycloudlib.local.machines.boot_snapshot import Spawn
from pycloudlib.local.machines.hardware import GuestShutdown, PowerOff, Ready, Released, Signal
from pycloudlib.local.machines.qmp import QMP, READY

logger = logging.getLogger(__name__)

QUIT_SECONDS = 10.0
"""The seconds that QEMU may take to end after closing its monitor."""

Command = Callable[[int, "int | None"], Sequence[str]]
"""Composes QEMU's command line, given its side of the monitor and of the second serial port."""


class QemuProcess:
    """A QEMU process. A thread follows it until its end, which is its last signal.

    Args:
        name: the name of the machine, for the log.
        run: the number of the run, for the signals.
        post: receives the signals.
        directory: the working directory.
    """

    def __init__(self, name: str, run: int, post: Callable[[Signal], object], directory: Path) -> None:
        self._name = name
        self._run = run
        self._post = post
        self._directory = directory
        self._last_message = ""
        self._cause = ""
        self._process: subprocess.Popen[bytes]
        self.qmp: QMP
        self.host: socket.socket | None = None

    def start(self, spawn: Spawn, command: Command, *, with_host_port: bool, keep_fds: Sequence[int] = ()) -> None:
        """Start the process.

        Args:
            spawn: starts the process.
            command: composes the command line.
            with_host_port: whether to add a second serial port, with `host` as this end.
            keep_fds: file descriptors that the command line names; default none.
        """
        with contextlib.ExitStack() as qemu_ends, contextlib.ExitStack() as on_failure:
            monitor_socket, monitor = _socket_pair(on_failure, qemu_ends)
            inherited = [monitor.fileno()]
            if with_host_port:
                self.host, guests = _socket_pair(on_failure, qemu_ends)
                inherited.append(guests.fileno())
            line = command(inherited[0], inherited[1] if with_host_port else None)
            logger.info("%s: starting %s", self._name, " ".join(line))
            self._process = spawn(line, self._directory, [*inherited, *keep_fds])
            on_failure.pop_all()
        self.qmp = QMP(monitor_socket)
        threading.Thread(target=self._follow, name=f"qemu-{self._name}", daemon=True).start()

    def kill(self, cause: str = "") -> None:
        """Kill the process.

        Args:
            cause: the reason, for the last signal; default the last line of QEMU's standard error.
        """
        self._cause = self._cause or cause
        self._process.kill()

    def _follow(self) -> None:
        stderr_reader = threading.Thread(target=self._read_stderr, name=f"stderr-{self._name}", daemon=True)
        stderr_reader.start()
        try:
            for event in self.qmp.events():
                self._on_event(event)
        finally:
            self.qmp.close()
            if self.host is not None:
                self.host.close()
            status = self._wait()
            stderr_reader.join()
            self._post(PowerOff(self._run, self._why(status)))

    def _on_event(self, event: Mapping[str, Any]) -> None:
        logger.debug("%s: %s", self._name, event)
        name = event["event"]
        if event is READY:
            self._post(Ready(self._run))
        elif name == "DEVICE_DELETED":
            self._post(Released(self._run, event["data"].get("device", "")))
        elif name == "SHUTDOWN" and event["data"]["guest"]:
            self._post(GuestShutdown(self._run, reset=event["data"]["reason"] == "guest-reset"))

    def _read_stderr(self) -> None:
        """Read QEMU's standard error, the only place where it reports a write that failed for lack of disk space."""
        assert self._process.stderr is not None  # noqa: S101  (it is a pipe)
        with self._process.stderr as lines:
            for line in lines:
                message = line.decode(errors="replace").strip()
                if message and message != self._last_message:
                    logger.warning("%s: %s", self._name, message)
                    self._last_message = message
                if qemu_img.NO_SPACE in message and not self._cause:
                    # The guest would see a broken disk, and its user would not learn the reason.
                    self.kill(f"no space left on the disk for {self._directory}")

    def _wait(self) -> int:
        try:
            return self._process.wait(QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _why(self, status: int) -> str:
        return self._cause or self._last_message or f"QEMU ended with status {status}"


def _socket_pair(
    own_ends: contextlib.ExitStack, qemu_ends: contextlib.ExitStack
) -> tuple[socket.socket, socket.socket]:
    own_end, qemu_end = socket.socketpair()
    return own_ends.enter_context(own_end), qemu_ends.enter_context(qemu_end)
