"""How long launches take until the first command succeeds: against the same QEMUs started by hand, and warm.

python benchmarks/local_boot.py [--runs N] [--json FILE] [--strict]

By hand: the same QEMU command line, the same image and metadata, and OpenSSH asking five times a second. One machine,
and four at once. The image is Debian 13; launches of Debian 12 are measured too if its image is built.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from io import StringIO
from pathlib import Path

from report import Figure, Report, Target, parser

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.deadline import Deadline
from pycloudlib.errors import ImageNotFoundError, SSHError
from pycloudlib.local import LocalEC2, paths
from pycloudlib.local.images.catalog import Catalog, Image
from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import DiskBus, Kernel, MachineSpec
from pycloudlib.local.machines.qemu_command import command_line
from pycloudlib.local.machines.qemu_devices import QemuDisk
from pycloudlib.local.machines.qemu_interfaces import UserNetwork
from pycloudlib.local.network.attachment import Address, NetworkAttachment
from pycloudlib.local.network.metadata import InstanceMetadata, InterfaceMetadata
from pycloudlib.local.network.public_addresses import PublicAddresses
from pycloudlib.local.network.user_mode import choose_ssh_port
from pycloudlib.local.server import cpu_limit
from pycloudlib.local.storage.volumes import BaseDisk, QcowStore
from pycloudlib.releases import DEFAULT_RELEASE
from pycloudlib.waiting import wait_until

LIMIT, WARM_LIMIT, RELEASE_LIMIT = 1.1, 0.6, 1.0
BY_HAND = "QEMU by hand, polled by ssh"
OURS = "pycloudlib-ec2, from the beginning"
WARM = "pycloudlib-ec2, warm start"
OLDER_RELEASE, OLDER = "bookworm", "pycloudlib-ec2, Debian 12, from the beginning"
SEVERAL = 4
FIRST_COMMAND, READY = "launch to first command", "launch to ready"
ASK_SECONDS = 0.2
SSH_PATIENCE = 5
"""Seconds for a connection until the host's sshd says something: QEMU takes connections before the guest does."""
BOOT_SECONDS = 300
DISK_GB = 15
MEMORY_MIB = 1024
CPUS = 2
"""What an instance of type t3.micro has; under software emulation it gets fewer."""
VOLUME_ID, SNAPSHOT_ID = "vol-0123456789abcdef0", "snap-0123456789abcdef0"
MAC, PRIVATE_IP, SUBNET = "02:00:00:00:00:01", "172.31.0.4", "172.31.0.0/20"


def by_launch(ec2: EC2, image_id: str, count: int) -> dict[str, float]:
    begin = time.monotonic()
    with ec2.launch_many(image_id, count, instance_type="t3.micro", disk_size_gb=DISK_GB, wait=False) as fleet:
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(wait_for_first_command, fleet))
        first_command = time.monotonic() - begin
        fleet.wait()
        return {FIRST_COMMAND: first_command, READY: time.monotonic() - begin}


def wait_for_first_command(instance: EC2Instance) -> None:
    instance.connect_timeout = instance.banner_timeout = SSH_PATIENCE

    def answers() -> bool:
        try:
            return instance.execute("echo hi").ok
        except SSHError:
            return False

    wait_until(
        answers, what="the first command to succeed", deadline=Deadline.after(BOOT_SECONDS), interval=ASK_SECONDS
    )


def several_by_hand(image: Image, key_pair: KeyPair, accelerator: Accelerator, count: int) -> dict[str, float]:
    begin = time.monotonic()
    with ThreadPoolExecutor(count) as threads:
        ends = threads.map(lambda _: by_hand(image, key_pair, accelerator), range(count))
        return {FIRST_COMMAND: max(ends) - begin}


def by_hand(image: Image, key_pair: KeyPair, accelerator: Accelerator) -> float:
    """Boot one; when its first command had succeeded."""
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="by-hand-")))
        ssh_port = choose_ssh_port()
        address = PublicAddresses(ssh_port).allocate()
        metadata = described(image, key_pair)
        network = UserNetwork(ssh_port)
        undo.enter_context(network.serve_metadata(metadata.instance_id, directory, lambda: metadata))
        ours, theirs = socket.socketpair()
        undo.enter_context(ours)
        undo.enter_context(theirs)
        store = QcowStore(directory / "volumes")
        store.offer(SNAPSHOT_ID, BaseDisk(image.disk, image.format))
        store.create(VOLUME_ID, DISK_GB, SNAPSHOT_ID)
        attachment = NetworkAttachment("eni-1", MAC, (Address(PRIVATE_IP, address),), SUBNET)
        interface = network.interface(attachment)
        cpus = min(CPUS, cpu_limit(0, accelerator))
        kernel = kernel_of(image)
        spec = network.adapt(MachineSpec(metadata.instance_id, "t3.micro", MEMORY_MIB, cpus, kernel))
        devices = [*QemuDisk(store.disk(VOLUME_ID), DiskBus.NVME).arguments(0), *interface.arguments(1)]
        command = command_line(spec, devices, accelerator=accelerator, qmp_fd=theirs.fileno())
        process = undo.enter_context(subprocess.Popen(command, cwd=directory, pass_fds=(theirs.fileno(),)))
        undo.callback(process.kill)
        ssh = ["ssh", "-i", str(key_pair.private_key_path), "-p", str(ssh_port), "-o", f"ConnectTimeout={SSH_PATIENCE}"]
        ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
        ssh += ["-o", "IdentitiesOnly=yes", "-o", "LogLevel=QUIET", f"{image.username}@{address}", "echo hi"]
        wait_until(
            lambda: subprocess.run(ssh, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0,
            what="the first command to succeed",
            deadline=Deadline.after(BOOT_SECONDS),
            interval=ASK_SECONDS,
        )
        return time.monotonic()


def kernel_of(image: Image) -> Kernel | None:
    if image.kernel is None:
        return None
    return Kernel(image.kernel, image.initrd, image.kernel_arguments, user_mode_arguments=image.user_mode_arguments)


def described(image: Image, key_pair: KeyPair) -> InstanceMetadata:
    interface = InterfaceMetadata(
        mac=MAC,
        interface_id="eni-1",
        device_number=0,
        private_ips=(PRIVATE_IP,),
        public_ips=(),
        ipv6_ips=(),
        subnet_id="subnet-1",
        subnet_cidr=SUBNET,
        subnet_ipv6_cidrs=(),
        vpc_id="vpc-1",
        vpc_cidrs=("172.31.0.0/16",),
        vpc_ipv6_cidrs=(),
        security_groups=("default",),
        security_group_ids=("sg-1",),
        owner_id="123456789012",
        local_hostname="ip-172-31-0-4.ec2.internal",
        public_hostname="",
    )
    return InstanceMetadata(
        instance_id="i-0123456789abcdef0",
        image_id=image.image_id,
        instance_type="t3.micro",
        architecture=image.architecture,
        account_id="123456789012",
        region="us-east-1",
        availability_zone="us-east-1a",
        reservation_id="r-1",
        launch_index=0,
        pending_time="2026-01-01T00:00:00Z",
        key_name="by-hand",
        public_key=key_pair.public_key_content,
        user_data=None,
        block_devices={"ami": "xvda", "root": "/dev/xvda"},
        interfaces=(interface,),
        tokens_required=False,
        enabled=True,
        tags=None,
    )


def connected(undo: ExitStack, key_pair: KeyPair, *, warm_start: bool) -> tuple[LocalEC2, EC2]:
    local = undo.enter_context(LocalEC2(warm_start=warm_start))
    settings = StringIO(local.info.settings_toml(public_key_path=key_pair.public_key_path))
    return local, undo.enter_context(EC2("bench", config_file=settings))


def measure(runs: int) -> list[Figure]:
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="local-boot-")))
        key_pair = KeyPair.generate(directory)
        local, ec2 = connected(undo, key_pair, warm_start=False)
        _, warm_ec2 = connected(undo, key_pair, warm_start=True)
        image = Catalog(paths.images_dir()).find(ec2.daily_image(DEFAULT_RELEASE))
        accelerator = Accelerator(local.info.accelerator, local.info.accelerator_reason)
        ways: dict[str, Callable[[int], dict[str, float]]] = {
            BY_HAND: lambda count: several_by_hand(image, key_pair, accelerator, count),
            OURS: lambda count: by_launch(ec2, image.image_id, count),
            WARM: lambda count: by_launch(warm_ec2, image.image_id, count),
        }
        with suppress(ImageNotFoundError):
            older_image_id = ec2.daily_image(OLDER_RELEASE)
            ways[OLDER] = lambda count: by_launch(ec2, older_image_id, count)
        # The first runs of all fill the page cache, and save the boot that others go on from.
        ways[BY_HAND](1)
        ways[WARM](1)
        seconds: dict[tuple[str, str, int], list[float]] = {}
        for _ in range(runs):
            for n, (name, way) in itertools.product((1, SEVERAL), ways.items()):
                for quantity, taken in way(n).items():
                    seconds.setdefault((name, quantity, n), []).append(taken)
                    print(f"    {name}, {n}, {quantity}: {taken:.1f} s", flush=True)
    return [Figure(name, quantity, "s", tuple(taken), n) for (name, quantity, n), taken in seconds.items()]


def main() -> int:
    arguments = parser(__doc__, runs=3).parse_args()
    figures = measure(arguments.runs)
    median = {(one.way, one.n): one.median for one in figures if one.quantity == FIRST_COMMAND}
    for n in (1, SEVERAL):
        ratios = {way: median[way, n] / median[BY_HAND, n] for way in (BY_HAND, OURS, WARM)}
        figures += [Figure(way, "ratio", "x", (ratio,), n) for way, ratio in ratios.items()]
    targets = [
        Target(f"a boot against {BY_HAND}", median[OURS, 1] / median[BY_HAND, 1], LIMIT, "x"),
        Target(
            f"{SEVERAL} boots at once against {BY_HAND}", median[OURS, SEVERAL] / median[BY_HAND, SEVERAL], LIMIT, "x"
        ),
        Target(
            "a warm start against a boot from the beginning",
            median[WARM, 1] / median[OURS, 1],
            WARM_LIMIT,
            "x",
            "sshd is up before the stages of cloud-init for which a boot from the beginning takes longest",
        ),
    ]
    if (OLDER, 1) in median:
        against_older = median[OURS, 1] / median[OLDER, 1]
        targets.append(Target("a boot of Debian 13 against Debian 12", against_older, RELEASE_LIMIT, "x"))
    title = "the local EC2: from the launch to the first command that succeeds"
    return Report("local_boot", title, arguments.runs, tuple(figures), tuple(targets)).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
