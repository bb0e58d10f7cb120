"""Runs in the guest: serves cloud-init's stages from one process that has cloud-init loaded.

Under TCG, a boot mostly consists of Python importing cloud-init: four times before version 24.3, and once since. This
program imports it in the initramfs, before the boot snapshot. A resumed boot takes the machine's identity from the
host, and waits in the background. It forks for each stage; the fork runs cloud-init's own code in the stage's unit.

The imported files must equal those on the machine's disk, else the stages run in the usual way. The same holds for
udev, which has handled the machine's devices in the initramfs by the rules of the disk.

    preloaded_cloud_init.py PORT DIRECTORY

PORT is the serial port to the host. DIRECTORY, in /run, holds the FIFOs for stage requests.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import random
import shutil
import site
import struct
import sys
import time
import traceback
import tty
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

READY = b"ready\n"
INITRAMFS = Path("/scripts/init-premount")
"""A path that exists only in the initramfs."""
KERNEL_LOG = Path("/dev/kmsg")
"""Shown on the console."""
UNIT_DIRECTORY = Path("/run/systemd/system")
UNITS = {
    "cloud-init-local.service": ("init --local", "/bin/touch /run/cloud-init/network-config-ready"),
    "cloud-init.service": ("init", ""),
    "cloud-config.service": ("modules --mode=config", ""),
    "cloud-final.service": ("modules --mode=final", ""),
}
"""The units of cloud-init before 24.3, which starts a process for each stage: arguments, and a command that follows."""
MAIN_UNIT = "cloud-init-main.service"
SINGLE_PROCESS_UNITS = {MAIN_UNIT: ("--all-stages", "")}
"""The unit of cloud-init since 24.3, whose single process runs all stages; the other units only signal it."""
LAST_STAGES = ("modules --mode=final", "--all-stages")
PACKAGED_UNITS = "/usr/lib/systemd/system"
CLOUD_INIT_RULES = (
    "10-cloud-init-hook-hotplug.rules",
    "70-persistent-net.rules",
    "90-cloud-init-hook-hotplug.rules",
)
UDEV_RULES = ("/usr/lib/udev/rules.d", "/etc/udev/rules.d")
COLDPLUG_UNIT = "systemd-udev-trigger.service"
COLDPLUG_NETWORK = "-udevadm trigger --type=devices --action=add --subsystem-match=net"
PROGRAM = "/usr/bin/cloud-init"
PACKAGES = ("cloudinit.config", "cloudinit.handlers", "cloudinit.net", "cloudinit.cmd")
MODULES = (
    "cloudinit.cmd.main",
    "cloudinit.distros.debian",
    "cloudinit.sources.DataSourceEc2",
    "netplan",
    "pkg_resources",
)
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""The file of certificates, which requests since 2.32 loads when it is imported."""
LOCAL_PACKAGES = f"/usr/local/lib/python{sys.version_info.major}.{sys.version_info.minor}/dist-packages"
DMI = {"product_uuid": 0o400, "product_serial": 0o400}

RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207
PIDFD_GETFD = 438


Requests = Iterator[tuple[int, str]]


class Stamp(NamedTuple):
    """The size and modification time of a file, which identify its version."""

    size: int
    seconds: int

    @classmethod
    def of(cls, path: str) -> "Stamp":
        """Return the stamp of a file."""
        status = Path(path).stat()
        return cls(status.st_size, int(status.st_mtime))


class Loaded(NamedTuple):
    """The files used before the boot snapshot, with their stamps.

    Attributes:
        files: the files loaded by this process, by path.
        rules: the rule files with which udev has handled the devices, by name.
    """

    files: dict[str, Stamp]
    rules: dict[str, Stamp]


def main() -> None:
    """Load cloud-init, wait for the boot snapshot, and resume as another machine."""
    port, directory = sys.argv[1], Path(sys.argv[2])
    load_cloud_init()
    loaded = Loaded(stamps(), udev_rules())
    delete_loaded_files()
    gc.freeze()
    identity = await_identity(port)
    adopt_identity(identity, directory)
    serve(directory, loaded)


def load_cloud_init() -> None:
    """Import all modules that cloud-init's stages may need, ignoring failed imports."""
    sys.path[0] = str(Path(PROGRAM).parent)
    names = list(MODULES)
    for package in PACKAGES:
        names.append(package)
        with contextlib.suppress(ImportError):
            found = importlib.import_module(package)
            names += [f"{package}.{one.name}" for one in pkgutil.iter_modules(found.__path__)]
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def stamps() -> dict[str, Stamp]:
    """Return the stamps of all files loaded by this process: modules, libraries, the interpreter, and certificates."""
    modules = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    mapped = (line.split(maxsplit=5)[5:] for line in Path("/proc/self/maps").read_text().splitlines())
    files = {path for path in modules if path} | {path[0] for path in mapped if path and path[0].startswith("/")}
    if Path(CERTIFICATES).exists():
        files.add(CERTIFICATES)
    return {path: Stamp.of(path) for path in files if path != __file__}


def delete_loaded_files() -> None:
    """Delete the loaded files from the initramfs once, before the boot snapshot, instead of in every resumed boot."""
    if not INITRAMFS.exists():
        return
    for library in sorted({str(Path(os.__file__).parent), *site.getsitepackages()}):
        shutil.rmtree(library, ignore_errors=True)


def udev_rules(root: str = "") -> dict[str, Stamp]:
    """Return the stamps of udev's rule files by name; files in /etc override those in /usr/lib.

    Leave out those that cloud-init writes for network interfaces, which udev handles again on every boot.
    """
    files = (path for directory in UDEV_RULES for path in Path(root + directory).glob("*.rules"))
    return {path.name: Stamp.of(str(path)) for path in files if path.name not in CLOUD_INIT_RULES}


def await_identity(port: str) -> dict[str, str]:
    """Report readiness to the host, and return its answer: the identity of the resumed machine."""
    fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(fd)
        os.write(fd, READY)
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(fd, 4096)
    finally:
        os.close(fd)
    identity: dict[str, str] = json.loads(line)
    return identity


def adopt_identity(identity: dict[str, str], directory: Path) -> None:
    """Adopt the machine's identity: time, entropy, and the firmware's UUID and serial number."""
    time.clock_settime(time.CLOCK_REALTIME, float(identity["time"]))
    add_entropy(bytes.fromhex(identity["entropy"]))
    random.seed()
    directory.mkdir(parents=True, mode=0o700)
    for name, mode in DMI.items():
        path = directory / name
        path.write_text(identity[name] + "\n")
        path.chmod(mode)


def add_entropy(entropy: bytes) -> None:
    """Reseed the kernel's random number generator, so that machines from one boot snapshot diverge."""
    fd = os.open("/dev/urandom", os.O_WRONLY)
    try:
        fcntl.ioctl(fd, RNDADDENTROPY, struct.pack("ii", 8 * len(entropy), len(entropy)) + entropy)
        fcntl.ioctl(fd, RNDRESEEDCRNG)
    finally:
        os.close(fd)


def serve(directory: Path, loaded: Loaded) -> NoReturn:
    """Fork to the background, and serve stage requests."""
    os.mkfifo(directory / "requests", 0o600)
    if os.fork():
        # Exit at once: the boot waits for this process, and tearing down all modules takes time.
        os._exit(0)
    os.setsid()
    (directory / "server").write_text(str(os.getpid()))
    # Opened for writing too, so that reading never reaches end of file.
    requests = read_requests(os.open(directory / "requests", os.O_RDWR))
    try:
        root = accept_root(requests, directory, loaded)
        if root is not None:
            run_stages(requests, root, directory)
    except Exception:
        # No caller can handle the error: show it on the console. The waiting unit reads end of file from its FIFO.
        report(traceback.format_exc().splitlines()[-1])
    finally:
        os._exit(0)


def accept_root(requests: Requests, directory: Path, loaded: Loaded) -> "int | None":
    """Compare the mounted root disk with the loaded files; return its root directory if this process can run stages."""
    number, path = next(requests)
    changed = [name for name, stamp in loaded.files.items() if not same_file(f"{path}{name}", stamp)]
    usable = not changed and not Path(f"{path}{LOCAL_PACKAGES}/cloudinit").exists()
    if usable:
        write_drop_ins(directory, units_of(path))
    else:
        (directory / "requests").unlink()
        report(f"not used: {changed[0] if changed else LOCAL_PACKAGES} differs from the loaded file")
    if udev_rules(path) == loaded.rules:
        write_drop_in(COLDPLUG_UNIT, [COLDPLUG_NETWORK])
    send_reply(directory, number, 0)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY) if usable else None


def report(message: str) -> None:
    """Write a message to the console."""
    KERNEL_LOG.write_text(f"preloaded cloud-init: {message}\n")


def same_file(path: str, stamp: Stamp) -> bool:
    """Return whether a file has the stamp of the loaded one."""
    try:
        return Stamp.of(path) == stamp
    except OSError:
        return False


def units_of(root: str) -> dict[str, tuple[str, str]]:
    """Return the units that start the disk's cloud-init."""
    return SINGLE_PROCESS_UNITS if Path(f"{root}{PACKAGED_UNITS}/{MAIN_UNIT}").exists() else UNITS


def write_drop_ins(directory: Path, units: dict[str, tuple[str, str]]) -> None:
    """Make cloud-init's units request their stages from this process instead of starting Python."""
    for unit, (stage, afterwards) in units.items():
        write_drop_in(unit, [f"/bin/sh {directory}/stage {stage}", *([afterwards] if afterwards else [])])


def write_drop_in(unit: str, commands: Sequence[str]) -> None:
    """Replace the commands of a unit for this boot."""
    drop_in = UNIT_DIRECTORY / f"{unit}.d" / "preloaded.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    # The single process notifies systemd that it is ready; it is not the unit's main process here.
    access = ["NotifyAccess=all"] if unit == MAIN_UNIT else []
    lines = ["[Service]", *access, "ExecStart=", *(f"ExecStart={command}" for command in commands)]
    drop_in.write_text("\n".join(lines) + "\n")


def run_stages(requests: Requests, root: int, directory: Path) -> None:
    """Run the requested stages, up to the last one."""
    # From here on, paths refer to the machine's own disk.
    os.fchdir(root)
    os.chroot(".")
    for number, stage in requests:
        # Opened before the stage runs: if this process ends meanwhile, the requester reads end of file and continues.
        reply = open_reply(directory, number)
        worker = os.fork()
        if not worker:
            if reply is not None:
                os.close(reply)
            run_stage(number, stage.split(" "))
        _, status = os.waitpid(worker, 0)
        write_reply(reply, os.waitstatus_to_exitcode(status))
        if stage in LAST_STAGES:
            (directory / "requests").unlink()
            return


def read_requests(fifo: int) -> Requests:
    """Yield the requests, one per line: the requester's process id, and the stage or path."""
    with os.fdopen(fifo, encoding="utf-8") as lines:
        for line in lines:
            number, _, request = line.strip().partition(" ")
            yield int(number), request


def send_reply(directory: Path, number: int, status: int) -> None:
    """Send an exit status to the requester."""
    write_reply(open_reply(directory, number), status)


def open_reply(directory: Path, number: int) -> "int | None":
    """Open the FIFO that the requester reads; return None if the requester is gone."""
    # Opened for reading too, and left open: it then matters neither whether the requester reads yet nor whether it
    # still exists.
    with contextlib.suppress(OSError):
        return os.open(directory / f"answer.{number}", os.O_RDWR)
    return None


def write_reply(reply: "int | None", status: int) -> None:
    """Write an exit status in a shell's encoding."""
    if reply is not None:
        os.write(reply, f"{status if status >= 0 else 128 - status}\n".encode())


def run_stage(number: int, stage: Sequence[str]) -> NoReturn:
    """Take the place of the requesting process, and run cloud-init as its own program does."""
    status = 1
    try:
        take_place_of(number)
        importlib.invalidate_caches()
        if Path(LOCAL_PACKAGES).is_dir():
            site.addsitedir(LOCAL_PACKAGES)
        sys.argv = [PROGRAM, *stage]
        status = run_main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def run_main() -> int:
    """Run cloud-init, and return its exit status."""
    try:
        outcome = sys.modules["cloudinit.cmd.main"].main()
    except SystemExit as end:
        outcome = end.code
    if outcome is None or isinstance(outcome, int):
        return outcome or 0
    sys.stderr.write(f"{outcome}\n")
    return 1


def take_place_of(number: int) -> None:
    """Adopt a process's standard streams, environment, and control group."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(number)
    for stream in range(3):
        copy = libc.syscall(PIDFD_GETFD, pidfd, stream, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        os.dup2(copy, stream)
        os.close(copy)
    os.close(pidfd)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115
    process = Path(f"/proc/{number}")
    pairs = (pair.split(b"=", 1) for pair in (process / "environ").read_bytes().split(b"\0") if b"=" in pair)
    os.environb.clear()
    os.environb.update((name, value) for name, value in pairs)
    time.tzset()
    group = (process / "cgroup").read_text().strip().rpartition("::")[2]
    Path(f"/sys/fs/cgroup{group}/cgroup.procs").write_text(str(os.getpid()))


if __name__ == "__main__":
    main()
