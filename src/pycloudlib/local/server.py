"""The process of a local EC2: the EC2 API over HTTP on loopback, and its cleanup.

`pycloudlib.local.daemon` starts it, and reads one line of JSON from its standard output: the endpoint, or the error.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pycloudlib.errors import LocalEC2Error, MissingPrerequisiteError, PycloudlibError
from pycloudlib.local import paths, prerequisites
from pycloudlib.local.api.signatures import Key
from pycloudlib.local.api.wsgi import LocalEC2Application
from pycloudlib.local.daemon import SERVER_FILE
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.local.images.simulated import ImageSource, SimulatedCatalog
from pycloudlib.local.machines.accelerator import Accelerator, ProbeKernel, choose_accelerator
from pycloudlib.local.machines.driver import MachineDriver
from pycloudlib.local.machines.platforms import host_platform
from pycloudlib.local.machines.simulated import SimulatedDriver, SimulatedTimes
from pycloudlib.local.malloc import limit_malloc
from pycloudlib.local.network import user_mode
from pycloudlib.local.network.faults import NetworkFaults, fault_from
from pycloudlib.local.network.namespaces.probe import probe
from pycloudlib.local.network.public_addresses import check_public_cidr
from pycloudlib.local.options import ACCESS_KEY_ID, SECRET_ACCESS_KEY, ServerInfo, ServerOptions
from pycloudlib.local.server_directories import owned
from pycloudlib.local.storage.simulated import SimulatedStore
from pycloudlib.local.storage.volumes import QcowStore, VolumeStore

if TYPE_CHECKING:
    from pycloudlib.local.machines.qemu_interfaces import QemuNetwork

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
DNS_PORT = 53
LAST_PORT = 65535
POLL_SECONDS = 0.1
"""The poll interval in seconds at which the HTTP server checks for a shutdown."""
OPEN_FILES = 65536
"""The limit of open files, if the hard limit allows it. Some programs close all possible files when they start."""
QEMU_PROGRAMS = (host_platform().qemu, "qemu-img", "socat", "setpriv")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a local EC2 until SIGTERM, SIGINT, or the end of standard input.

    Args:
        argv: the directory, and the options as JSON; default the command line's.

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
    _raise_limit_of_open_files()
    limit_malloc()
    # Objects created at startup, mostly moto's, live as long as the process. Garbage collection during startup and at
    # exit would take a third of that time.
    gc.disable()
    try:
        with owned(arguments.directory):
            _serve(arguments.directory, arguments.options)
    except PycloudlibError as error:
        _report_to_parent({"error": str(error), "missing_prerequisite": isinstance(error, MissingPrerequisiteError)})
        return 1
    except OSError as error:
        logger.exception("giving up")
        with contextlib.suppress(BrokenPipeError):
            _report_to_parent(
                {"error": f"cannot use {arguments.directory}: {error.strerror}", "missing_prerequisite": False}
            )
        return 1
    finally:
        gc.freeze()
    return 0


def _raise_limit_of_open_files() -> None:
    """Raise the soft limit of open files: each port that security groups open to the host has a listening socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _end(_number: int, _frame: object) -> NoReturn:
    """Unwind the stack; further signals do not interrupt the cleanup."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    logger.info("stopping")
    raise SystemExit(0)


def _serve(directory: Path, options: ServerOptions) -> None:
    # Do not log the method and path, which are the same for all requests; actions are logged instead.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stop = threading.Event()
    notices: list[str] = []
    with serving(directory, options, notify=notices.append) as info:
        gc.freeze()
        gc.enable()
        _write_atomically(directory / SERVER_FILE, info.to_json())
        _report_to_parent(asdict(info) | {"notices": notices})
        if options.end_with_stdin:
            threading.Thread(target=_set_at_end_of_stdin, args=(stop,), daemon=True).start()
        stop.wait()


@contextlib.contextmanager
def serving(
    directory: Path, options: ServerOptions, *, notify: Callable[[str], None] = logger.warning
) -> Iterator[ServerInfo]:
    """Serve the EC2 API until the context exits, which destroys all machines.

    Args:
        directory: the directory of the machines' disks.
        options: the options of the server.
        notify: called with one-line messages for the user; default log them.

    Raises:
        LocalEC2Error: the port is in use, or a requirement of the host is not met.
        MissingPrerequisiteError: a program or package is not installed.
    """
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(_listen(options.port))
        check_public_cidr(options.public_cidr)
        _check_host_ports(options.host_ports)
        ssh_port = options.ssh_port or user_mode.choose_ssh_port()
        network = _choose_network(options)
        if options.all_ports and (os.geteuid() != 0 or network.name != "namespaces"):
            raise LocalEC2Error("--all-ports requires root and the namespaces network")
        if network.name:
            logger.info("network: %s (%s)", network.name, network.reason)
        driver, images, accelerator = _make_driver(directory, options, ssh_port, notify, network)
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
            network=network.name,
            network_reason=network.reason,
        )


@dataclass(frozen=True)
class NetworkChoice:
    """The network driver of a server.

    Args:
        name: "user" or "namespaces"; "" for simulated machines.
        reason: the reason for the choice, in one line.
    """

    name: str
    reason: str


def _choose_network(options: ServerOptions) -> NetworkChoice:
    if options.network not in ("auto", "namespaces", "user"):
        raise LocalEC2Error(f"unknown network {options.network!r}: choose auto, namespaces, or user")
    if options.driver == "simulated":
        if options.network != "auto":
            raise LocalEC2Error(f"simulated instances cannot have the network {options.network!r}: omit it")
        return NetworkChoice("", "")
    if options.network == "user":
        return NetworkChoice("user", "as requested")
    support = probe()
    if support.works:
        return NetworkChoice("namespaces", "as requested" if options.network == "namespaces" else "supported here")
    if options.network == "namespaces":
        raise LocalEC2Error(f"network namespaces do not work here: {support.reason}; {support.remedy}")
    return NetworkChoice("user", f"{support.reason}; {support.remedy}")


def _make_driver(
    directory: Path, options: ServerOptions, ssh_port: int, notify: Callable[[str], None], network: NetworkChoice
) -> tuple[MachineDriver, ImageSource, Accelerator | None]:
    if options.driver == "simulated":
        times = SimulatedTimes(
            boot=options.boot_seconds,
            stop=options.stop_seconds,
            terminate=options.terminate_seconds,
            image=options.image_seconds,
            answer=options.answer_seconds,
        )
        return SimulatedDriver(times, options.public_cidr), SimulatedCatalog(), None
    if options.driver != "qemu":
        raise LocalEC2Error(f"unknown driver {options.driver!r}: choose qemu or simulated")
    prerequisites.require_all(QEMU_PROGRAMS, "to run machines")
    user_mode.require_ssh_port(ssh_port)
    # Import lazily: simulated machines do not need these modules.
    from pycloudlib.local.machines.qemu_driver import QemuDriver  # noqa: PLC0415
    from pycloudlib.local.machines.qemu_host import QemuHost, QemuOptions  # noqa: PLC0415

    catalogue = Catalog(paths.images_dir())
    accelerator = choose_accelerator(
        options.accelerator, _probe_kernel(catalogue), paths.cache_dir() / "accelerator.json", notify=notify
    )
    logger.info("accelerator: %s (%s)", accelerator.name, accelerator.reason)
    machines = QemuOptions(
        directory=directory / "machines",
        accelerator=accelerator,
        ssh_port=ssh_port,
        shutdown_seconds=options.shutdown_seconds,
        boot_snapshots=paths.cache_dir() / "boot-snapshots" if options.warm_start else None,
        public_cidr=options.public_cidr,
    )
    connected = _make_network(network.name, directory, ssh_port, options)
    return QemuDriver(QemuHost(machines), connected), catalogue, accelerator


def _check_host_ports(ports: Sequence[int]) -> None:
    for port in ports:
        if not 1 <= port <= LAST_PORT or port == DNS_PORT:
            raise LocalEC2Error(
                f"instances cannot reach port {port} of this host: give one from 1 to {LAST_PORT}, and not "
                f"{DNS_PORT}, which is the VPC's DNS server"
            )


def _make_network(name: str, directory: Path, ssh_port: int, options: ServerOptions) -> QemuNetwork:
    from pycloudlib.local.machines.qemu_interfaces import UserNetwork  # noqa: PLC0415

    if name == "user":
        return UserNetwork(ssh_port)
    from pycloudlib.local.machines.namespace_network import NamespaceNetwork  # noqa: PLC0415

    files = directory.absolute() / "network"
    files.mkdir(mode=0o700, exist_ok=True)
    return NamespaceNetwork(
        files,
        ssh_port,
        public_cidr=options.public_cidr,
        host_ports=options.host_ports,
        all_ports=options.all_ports,
    )


def cpu_limit(wanted: int, accelerator: Accelerator | None) -> int:
    """Return the maximum number of CPUs of a machine.

    Args:
        wanted: the configured maximum; 0 for the default.
        accelerator: the accelerator; None for simulated machines.
    """
    available = os.cpu_count() or 1
    if wanted:
        return min(wanted, available)
    # In about one of fifty boots on two emulated CPUs, the second CPU stopped receiving timer interrupts, and the guest
    # hung (QEMU 7.2). Two machines that boot concurrently also take 20 % longer with two CPUs each.
    return 1 if accelerator is not None and accelerator.name == "tcg" else available


def _make_store(directory: Path, driver: MachineDriver) -> VolumeStore:
    if isinstance(driver, SimulatedDriver):
        return SimulatedStore(driver)
    return QcowStore(directory / "volumes")


def _probe_kernel(catalogue: Catalog) -> ProbeKernel | None:
    for image in catalogue.images():
        if image.kernel is not None and image.architecture == host_platform().architecture:
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
    # moto reads this at import time.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    prerequisites.require_moto()
    from pycloudlib.local.api.service_model_cache import share_service_models  # noqa: PLC0415

    share_service_models()
    from pycloudlib.local.api import backend, experiments  # noqa: PLC0415
    from pycloudlib.local.api.applications import make_application  # noqa: PLC0415
    from pycloudlib.local.api.credentials import known_keys  # noqa: PLC0415
    from pycloudlib.local.api.http_server import HTTPServer  # noqa: PLC0415
    from pycloudlib.local.api.models import parameters, roles, topology  # noqa: PLC0415
    from pycloudlib.local.api.models.base import LocalCloud  # noqa: PLC0415
    from pycloudlib.local.api.moto_adapter import cache_lookups  # noqa: PLC0415

    cache_lookups()
    backend.install(
        LocalCloud(
            driver=driver,
            volumes=volumes,
            catalogue=images,
            max_memory_mib=options.max_memory_mib,
            max_cpus=max_cpus,
            spot_notice_seconds=options.spot_notice_seconds,
        )
    )
    parameters.install()
    experiments.install()
    roles.install()
    backend.require_region(options.region)
    if driver.topology_listener is not None:
        topology.on_change(driver.topology_listener)
    server = HTTPServer(
        listener,
        LocalEC2Application(
            make_application(),
            options.path,
            known_keys(key) if key else None,
            options.region,
            _documents(driver, options, listener.getsockname()[1]),
            operations=_operations(driver.faults),
        ),
    )
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def _documents(driver: MachineDriver, options: ServerOptions, port: int) -> dict[str, Callable[[str], Any]]:
    """Return the documents of the server beside EC2's API."""
    from pycloudlib.local.api.models import topology  # noqa: PLC0415

    def network(_: str) -> dict[str, Any]:
        return {**topology.network_document(), "host_ports": list(options.host_ports)}

    documents: dict[str, Callable[[str], Any]] = {"network": network}
    open_vpc, find_tap, faults = driver.open_vpc, driver.find_tap, driver.faults
    if faults is not None:
        documents["faults"] = lambda _: {"faults": [fault.to_document() for fault in faults.current()]}
    if find_tap is not None:
        documents["tap"] = lambda interface_id: asdict(find_tap(interface_id))
    if open_vpc is None:
        return documents

    def entrance(vpc_id: str) -> dict[str, Any]:
        vpc_id = vpc_id or topology.default_vpc_id(options.region) or ""
        if not vpc_id:
            raise LocalEC2Error(f"there is no default VPC in {options.region} any more: name another VPC")
        return asdict(open_vpc(vpc_id, port))

    return {**documents, "entrance": entrance}


def _operations(faults: NetworkFaults | None) -> dict[tuple[str, str], Callable[[str, Any], Any]]:
    """Return the operations that change the server beside EC2's API."""
    if faults is None:
        return {}
    from pycloudlib.local.api.models import topology  # noqa: PLC0415

    def put(fault_id: str, document: Any) -> dict[str, Any]:
        fault = fault_from(fault_id, document)
        faults.put(fault, topology.topology())
        return fault.to_document()

    return {
        ("PUT", "faults"): put,
        ("DELETE", "faults"): lambda fault_id, _: {"removed": faults.remove(fault_id)},
    }


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


def _set_at_end_of_stdin(stop: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()


def _report_to_parent(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201
    # The parent reads a single line; later output must not block on the unread pipe.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    # The line may contain credentials.
    partial.touch(mode=0o600)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
