"""The command line of a QEMU machine."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from pycloudlib.local.machines.accelerator import Accelerator
from pycloudlib.local.machines.base import MachineSpec
from pycloudlib.local.machines.pci_slots import RNG_SLOT, SLOTS


def command_line(
    spec: MachineSpec,
    devices: Sequence[str],
    *,
    accelerator: Accelerator,
    qmp_fd: int,
    host_fd: int | None = None,
    by_loader: bool = False,
) -> list[str]:
    """Compose the QEMU command line of a machine; relative paths refer to the machine's directory.

    Args:
        spec: the specification of the machine.
        devices: the arguments of the disks and interfaces.
        accelerator: the accelerator of the machine's platform.
        qmp_fd: QEMU's end of the monitor socket.
        host_fd: QEMU's end of the second serial port, for creating or resuming a boot snapshot, which needs another
            initramfs; default none.
        by_loader: whether the root disk's boot loader starts the kernel, though the specification has one; default no.
    """
    platform = spec.platform
    command = [platform.qemu, "-name", spec.instance_id, "-no-user-config", "-nodefaults", "-display", "none"]
    command += ["-machine", platform.machine, "-accel", accelerator.option, "-cpu", accelerator.cpu(platform)]
    command += ["-smp", accelerator.smp(spec.cpus), "-m", str(spec.memory_mib)]
    command += ["-smbios", _smbios(spec)]
    command += ["-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console"]
    command += ["-chardev", f"socket,id=qmp,fd={qmp_fd}", "-mon", "chardev=qmp,mode=control"]
    if host_fd is not None:
        command += ["-chardev", f"socket,id=host,fd={host_fd}", "-serial", "chardev:host"]
    # Pause after a power-off or reset until QMP's quit, so that QEMU can still report the reason.
    command += ["-action", "shutdown=pause", "-action", "reboot=shutdown"]
    for slot in range(SLOTS):
        # No device uses I/O ports, and there are not enough of them for the default reservation of every port.
        command += ["-device", f"pcie-root-port,id=port{slot},chassis={slot + 1},io-reserve=0"]
    command += [*devices, "-device", f"virtio-rng-pci,bus=port{RNG_SLOT}"]
    extra = f"{spec.kernel_arguments} {accelerator.kernel_arguments(platform)}".strip()
    kernel = spec.kernel
    if kernel is not None and kernel.same_as is not None:
        # The image's GRUB adds the first OEM string to the command line.
        command += ["-smbios", f"type=11,value={extra.replace(',', ',,')}"]
    if kernel is not None and not by_loader:
        command += ["-kernel", str(kernel.path), "-append", f"{kernel.arguments} {extra}".strip()]
        initrd = kernel.initrd if host_fd is None else kernel.warm_initrd
        if initrd is not None:
            command += ["-initrd", str(initrd)]
    return command


def firmware_uuid(instance_id: str) -> str:
    """Return the system UUID of a machine's firmware, which is also its serial number.

    As on Nitro, both are equal and begin with "ec2", by which cloud-init detects EC2.
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
    """
    return str(uuid.UUID(f"ec2{uuid.uuid5(uuid.NAMESPACE_OID, instance_id).hex[3:]}"))


def _smbios(spec: MachineSpec) -> str:
    system = firmware_uuid(spec.instance_id)
    identity = f"uuid={system},serial={system}"
    return f"type=1,manufacturer=Amazon EC2,product={spec.instance_type},version=1.0,{identity}"
