"""The process of a local EC2: the EC2 API over HTTP on loopback, and what has to be gone when it ends.

It is started by `pycloudlib.local.daemon`, and tells it on standard output, in one line of JSON, where it listens or
why it cannot.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TextIO

from pycloudlib.errors import LocalEC2Error, MissingPrerequisiteError, PycloudlibError
from pycloudlib.local import network, paths, prerequisites
from pycloudlib.local.daemon import ACCESS_KEY_ID, LOCK_FILE, SECRET_ACCESS_KEY, SERVER_FILE, ServerInfo, ServerOptions
from pycloudlib.local.front_door import FrontDoor
from pycloudlib.local.images import Catalogue
from pycloudlib.local.machines.accelerator import Accelerator, ProbeKernel, choose_accelerator
from pycloudlib.local.machines.base import MachineDriver
from pycloudlib.local.machines.simulated import SimulatedDriver, SimulatedTimes
from pycloudlib.local.signatures import Key
from pycloudlib.local.simulated_images import ImageSource, SimulatedCatalogue
from pycloudlib.local.simulated_storage import SimulatedStore
from pycloudlib.local.storage import QcowStore, VolumeStore

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
POLL_SECONDS = 0.1
"""How long the HTTP server may take to notice that it is to end."""
QEMU_PROGRAMS = ("qemu-system-x86_64", "qemu-img", "socat", "setpriv")

# Outlives a server that is killed, by a moment: long enough to delete its directory. A server that could do so itself
# says so: the name may be another's by then.
_JANITOR = 'read -r done || exec rm -rf -- "$0"'


def main(argv: Sequence[str] | None = None) -> int:
    """Run a local EC2 until SIGTERM, SIGINT, or the end of standard input.

    Args:
        argv: its directory, and its options as JSON; default: the command line's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="pycloudlib.local.server")
    parser.add_argument("directory", type=Path)
    parser.add_argument("options", type=ServerOptions.from_json)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for number in ENDING_SIGNALS:
        signal.signal(number, _end)
    try:
        with _directory(arguments.directory):
            _serve(arguments.directory, arguments.options)
    except PycloudlibError as error:
        _tell({"error": str(error), "missing_prerequisite": isinstance(error, MissingPrerequisiteError)})
        return 1
    except OSError as error:
        logger.exception("giving up")
        with contextlib.suppress(BrokenPipeError):
            _tell({"error": f"cannot use {arguments.directory}: {error.strerror}", "missing_prerequisite": False})
        return 1
    return 0


def _end(_number: int, _frame: object) -> NoReturn:
    """Unwind the stack, wherever it is; a second signal does not disturb the tidying up."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    logger.info("stopping")
    raise SystemExit(0)


def _serve(directory: Path, options: ServerOptions) -> None:
    # It would tell the method and the path of each request, which are always the same; the actions are logged instead.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stop = threading.Event()
    notices: list[str] = []
    with serving(directory, options, notify=notices.append) as info:
        _write_atomically(directory / SERVER_FILE, info.to_json())
        _tell(asdict(info) | {"notices": notices})
        if options.end_with_stdin:
            threading.Thread(target=_set_at_end_of_stdin, args=(stop,), daemon=True).start()
        stop.wait()


@contextlib.contextmanager
def serving(
    directory: Path, options: ServerOptions, *, notify: Callable[[str], None] = logger.warning
) -> Iterator[ServerInfo]:
    """Serve the EC2 API for as long as the context lasts; machines end with it.

    Args:
        directory: where the machines keep their disks.
        options: what to serve, and where.
        notify: is told, in one line each, what the user should know; default: it is logged.

    Raises:
        LocalEC2Error: the port is in use, or the machine lacks something.
        MissingPrerequisiteError: a program or package is not installed.
    """
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(_listen(options.port))
        ssh_port = options.ssh_port or network.choose_ssh_port()
        driver, images, accelerator = _make_driver(directory, options, ssh_port, notify)
        undo.callback(driver.close)
        volumes = _make_store(directory, driver)
        key = Key.random() if options.auth else None
        max_cpus = cpu_limit(options.max_cpus, accelerator)
        undo.enter_context(_http_server(listener, driver, volumes, images, options=options, max_cpus=max_cpus, key=key))
        yield ServerInfo(
            pid=os.getpid(),
            endpoint_url=f"http://{HOST}:{listener.getsockname()[1]}{options.path.rstrip('/')}",
            region=options.region,
            access_key_id=key.access_key_id if key else ACCESS_KEY_ID,
            secret_access_key=key.secret_access_key if key else SECRET_ACCESS_KEY,
            ssh_port=ssh_port,
            driver=options.driver,
            accelerator=accelerator.name if accelerator else "",
            accelerator_reason=accelerator.reason if accelerator else "",
        )


def _make_driver(
    directory: Path, options: ServerOptions, ssh_port: int, notify: Callable[[str], None]
) -> tuple[MachineDriver, ImageSource, Accelerator | None]:
    if options.driver == "simulated":
        times = SimulatedTimes(
            boot=options.boot_seconds,
            stop=options.stop_seconds,
            terminate=options.terminate_seconds,
            image=options.image_seconds,
        )
        return SimulatedDriver(times), SimulatedCatalogue(), None
    if options.driver != "qemu":
        raise LocalEC2Error(f"unknown driver {options.driver!r}: choose qemu or simulated")
    prerequisites.require_all(QEMU_PROGRAMS, "to run machines")
    network.require_ssh_port(ssh_port)
    from pycloudlib.local.machines.qemu_driver import QemuDriver, QemuOptions  # noqa: PLC0415  (simulated needs none of it)

    catalogue = Catalogue(paths.images_dir())
    accelerator = choose_accelerator(
        options.accelerator, _probe_kernel(catalogue), paths.cache_dir() / "accelerator.json", notify=notify
    )
    logger.info("accelerator: %s (%s)", accelerator.name, accelerator.reason)
    machines = QemuOptions(
        directory=directory / "machines",
        accelerator=accelerator,
        ssh_port=ssh_port,
        shutdown_seconds=options.shutdown_seconds,
        saved_boots=paths.cache_dir() / "saved-boots" if options.warm_start else None,
    )
    return QemuDriver(machines), catalogue, accelerator


def cpu_limit(wanted: int, accelerator: Accelerator | None) -> int:
    """Tell how many CPUs a machine may have at most.

    Args:
        wanted: at most so many; 0 for what is best.
        accelerator: what runs the guests' instructions; None for simulated machines.
    """
    available = os.cpu_count() or 1
    if wanted:
        return min(wanted, available)
    # In one of some fifty boots on two emulated CPUs, the second one got no timer interrupts any more, and the guest
    # stood still (QEMU 7.2). And where two machines boot at once, they take a fifth longer with two CPUs each.
    return 1 if accelerator is not None and accelerator.name == "tcg" else available


def _make_store(directory: Path, driver: MachineDriver) -> VolumeStore:
    if isinstance(driver, SimulatedDriver):
        return SimulatedStore(driver)
    return QcowStore(directory / "volumes")


def _probe_kernel(catalogue: Catalogue) -> ProbeKernel | None:
    for image in catalogue.images():
        if image.kernel is not None:
            return ProbeKernel(image.kernel, image.initrd)
    return None


@contextlib.contextmanager
def _http_server(
    listener: socket.socket,
    driver: MachineDriver,
    volumes: VolumeStore,
    images: ImageSource,
    *,
    options: ServerOptions,
    max_cpus: int,
    key: Key | None,
) -> Iterator[None]:
    # moto reads this when it is imported.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    try:
        from pycloudlib.local.descriptions import keep_descriptions  # noqa: PLC0415

        keep_descriptions()
        from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server  # noqa: PLC0415

        from pycloudlib.local import backend  # noqa: PLC0415
        from pycloudlib.local.models.base import LocalCloud  # noqa: PLC0415
    except ImportError as error:
        raise MissingPrerequisiteError(
            f"the local EC2 needs {error.name}: pip install 'pycloudlib-ec2[local]'"
        ) from error
    backend.install(
        LocalCloud(
            driver=driver,
            volumes=volumes,
            catalogue=images,
            max_memory_mib=options.max_memory_mib,
            max_cpus=max_cpus,
        )
    )
    backend.require_region(options.region)
    server = make_server(
        HOST,
        listener.getsockname()[1],
        FrontDoor(DomainDispatcherApplication(create_backend_app), options.path, key),
        threaded=True,
        request_handler=MotoRequestHandler,
        fd=listener.fileno(),
    )
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise LocalEC2Error(f"cannot listen on {HOST}:{port}: {error.strerror}; choose another port") from error
        listener.listen(socket.SOMAXCONN)
        yield listener


@contextlib.contextmanager
def _directory(directory: Path) -> Iterator[None]:
    """Own a directory: locked while this process lives, deleted when it ends, even when it is killed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _take_lock(directory):
        janitor = subprocess.Popen(
            ["/bin/sh", "-c", _JANITOR, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            _delete(directory)
            janitor.communicate(b"done\n")


def _delete(directory: Path) -> None:
    """Delete a directory, and the lock in it last: until then its name is not free."""
    for path in directory.glob("*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK_FILE:
            path.unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)


def _take_lock(directory: Path) -> TextIO:
    # It gets its name when it is locked already: whoever looks whether it is takes it for a moment.
    partial = directory / f"{LOCK_FILE}.{os.getpid()}"
    lock = partial.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.link(partial, directory / LOCK_FILE)
    except OSError as error:
        lock.close()
        if isinstance(error, FileExistsError):
            raise LocalEC2Error(f"a local EC2 named {directory.name!r} is running already") from None
        raise
    finally:
        partial.unlink(missing_ok=True)
    return lock


def _set_at_end_of_stdin(stop: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()


def _tell(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201
    # Whoever started this server reads one line; nothing may block on a pipe that nobody reads.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    # It may hold credentials.
    partial.touch(mode=0o600)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
