"""Controllers that keep an EC2 instance's state in step with its machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Protocol

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.api.models.description import instance_metadata
from pycloudlib.local.api.models.instance_status import GuestStatus, describe_status, panicked
from pycloudlib.local.api.models.records_lock import RecordsLock
from pycloudlib.local.api.moto_adapter import STATE_CODES, EC2ClientError, Instance, StateReason, set_instance_state
from pycloudlib.local.machines.base import Devices, DiskBus, Kernel, MachineOwner, MachineSpec, PowerOffCause
from pycloudlib.local.machines.commands import Destroy, End, Reboot, Request, Start, Stop
from pycloudlib.local.machines.driver import MachineDriver
from pycloudlib.local.machines.machine import Machine
from pycloudlib.local.network.metadata import InstanceMetadata
from pycloudlib.local.storage.volumes import VolumeStore

_STARTABLE = {"stopped"}
_STOPPABLE = {"pending", "running"}
_REBOOTABLE = {"running"}
_ENDED = {"shutting-down", "terminated"}

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
_BY_USER = StateReason("Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown")
_BY_GUEST = StateReason(
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown", "Client.InstanceInitiatedShutdown"
)


class RootReplacement(Protocol):
    """The replacement of a root volume. The instance controller calls it with the lock held."""

    swapped: bool
    """Whether the new root volume is attached."""

    def swap(self) -> Kernel | None:
        """Attach the new root volume while the machine is off, and return its kernel."""

    def end(self, *, succeeded: bool) -> None:
        """Record the outcome, once the machine runs again or cannot."""


class InstanceController(MachineOwner):
    """An instance and the machine behind it.

    Callers hold the server's lock, except for the callbacks of the machine, which acquire it themselves.

    Args:
        instance: moto's record of the instance.
        spec: the specification of the machine.
        reservation_id: the reservation of the launch.
        public_key: the public key in OpenSSH format; "" without a key pair.
        driver: creates the machine.
        volumes: stores the contents of the volumes.
        lock: the server's lock.
    """

    def __init__(
        self,
        instance: Instance,
        spec: MachineSpec,
        *,
        reservation_id: str,
        public_key: str,
        driver: MachineDriver,
        volumes: VolumeStore,
        lock: RecordsLock,
    ) -> None:
        self.instance = instance
        self.reservation_id = reservation_id
        self._public_key = public_key
        self._driver = driver
        self._volumes = volumes
        self._lock = lock
        self._spec = spec
        self._root_replacement: RootReplacement | None = None
        self._guest = GuestStatus.INITIALIZING
        self._guest_run = 0
        self._impaired_since: datetime | None = None
        self._machine: Machine = driver.create(spec, self, self.metadata)

    def launch(self) -> None:
        """Start the machine for the first time."""
        self._switch_on()

    def check(self, action: str, states: set[str]) -> None:
        """Reject an action that the instance state, or a root volume replacement in progress, forbids.

        Raises:
            EC2ClientError: the action is not allowed now (IncorrectInstanceState).
        """
        if self._root_replacement is not None:
            raise EC2ClientError(
                "IncorrectInstanceState",
                f"The root volume of the instance '{self.instance.id}' is being replaced: it cannot be {action} now.",
            )
        self._check_state(action, states)

    def _check_state(self, action: str, states: set[str]) -> None:
        if self.instance.state not in states:
            raise EC2ClientError(
                "IncorrectInstanceState",
                f"The instance '{self.instance.id}' is not in a state from which it can be {action}.",
            )

    def check_start(self) -> None:
        """Reject the start of an instance that is neither stopped, pending, nor running."""
        self.check("started", _STARTABLE | _STOPPABLE)

    def check_stop(self) -> None:
        """Reject the stop of an instance that is terminated or shutting down."""
        self._check_state("stopped", set(STATE_CODES) - _ENDED)

    def check_reboot(self) -> None:
        """Reject the reboot of an instance that is not running."""
        self.check("rebooted", _REBOOTABLE)

    def start(self) -> None:
        """Start a stopped instance. No-op if it is not stopped."""
        if self.instance.state in _STARTABLE:
            self._switch_on()

    def stop(self, *, force: bool) -> None:
        """Stop the instance. No-op if it is neither pending nor running; `force` also applies while stopping."""
        if self.instance.state in _STOPPABLE or (force and self.instance.state == "stopping"):
            self._set("stopping", _BY_USER)
            self._machine.submit(Stop(force=force))

    @property
    def machine(self) -> Machine:
        """The machine behind the instance."""
        return self._machine

    def resize(self, instance_type: str, memory_mib: int, cpus: int, disk_bus: DiskBus) -> None:
        """Change the instance type of a machine that is off, from its next start on."""
        self._spec = replace(
            self._spec, instance_type=instance_type, memory_mib=memory_mib, cpus=cpus, disk_bus=disk_bus
        )

    def reboot(self, while_off: tuple[Request, ...] = ()) -> None:
        """Reboot the instance; the machine serves the requests `while_off` between shutdown and start."""
        self._machine.submit(Reboot(while_off))

    def replace_root(self, replacement: RootReplacement) -> None:
        """Shut down the guest, and boot from another root volume. The instance stays running throughout."""
        self._root_replacement = replacement
        self._machine.submit(Stop())

    def terminate(self) -> None:
        """Terminate the instance. No-op if it is terminated or shutting down."""
        if self.instance.state not in _ENDED:
            self._terminate(_BY_USER)

    def terminate_because(self, reason: StateReason) -> bool:
        """Terminate the instance for a reason of EC2's own; return whether it was alive."""
        if self.instance.state in _ENDED:
            return False
        self._terminate(reason)
        return True

    def console(self) -> bytes:
        """Return the complete console output."""
        return self._machine.console()

    def uefi_data(self) -> str:
        """Return the current UEFI variables, as `UefiData`."""
        return self._machine.uefi_data()

    def status(self) -> dict[str, Any]:
        """Describe the status checks, as DescribeInstanceStatus does."""
        if self.instance.state == "running" and self._guest is not GuestStatus.IMPAIRED and panicked(self.console()):
            self._set_guest(GuestStatus.IMPAIRED)
        return describe_status(self.instance, self._guest, self._impaired_since)

    def machine_running(self) -> None:
        """Set the instance to running after its machine started."""
        with self._lock:
            if self.instance.state == "pending":
                self._set("running", None)
            elif self._root_replacement is not None and self._root_replacement.swapped:
                self._new_guest()
                self._end_root_replacement(succeeded=True)
            elif self._guest is GuestStatus.IMPAIRED:
                self._new_guest()  # A reboot clears a panic.
            else:
                return
            run, public_ip = self._guest_run, self.instance.public_ip
        self._driver.watch_guest(public_ip, partial(self._is_awaiting_guest, run), partial(self._guest_reported, run))

    def machine_off(self, cause: PowerOffCause, detail: str) -> None:
        """Set the instance to stopped, or terminate it, after its machine went off."""
        with self._lock:
            if self.instance.state in _ENDED:
                return
            if self._swap_root(cause):
                return
            self._end_root_replacement(succeeded=False)
            if cause is PowerOffCause.DIED:
                self._terminate(_failed(detail))
            elif self.instance.state == "stopping":
                self._set_stopped(_BY_USER)
            elif self.instance.instance_initiated_shutdown_behavior == "terminate":
                self._terminate(_BY_GUEST)
            else:
                self._set_stopped(_BY_GUEST)

    def metadata(self) -> InstanceMetadata:
        """Return the instance's current metadata."""
        with self._lock:
            if self._guest is GuestStatus.INITIALIZING and not self._has_reachable_sshd():
                # A metadata request is the only evidence that the network works.
                self._set_guest(GuestStatus.OK)
            return instance_metadata(self.instance, self.reservation_id, self._public_key)

    def _swap_root(self, cause: PowerOffCause) -> bool:
        """Start the machine from the new root volume if it went off for that; return whether it did."""
        replacement = self._root_replacement
        if replacement is None or replacement.swapped:
            return False
        if cause is PowerOffCause.DIED or self.instance.state != "running":
            return False
        self._spec = replace(self._spec, kernel=replacement.swap())
        self._machine.submit(Start(self._spec, self._devices()))
        return True

    def _end_root_replacement(self, *, succeeded: bool) -> None:
        replacement, self._root_replacement = self._root_replacement, None
        if replacement is not None:
            replacement.end(succeeded=succeeded)

    def _new_guest(self) -> None:
        self._guest_run += 1
        self._set_guest(GuestStatus.INITIALIZING)

    def _has_reachable_sshd(self) -> bool:
        address = self.instance.public_ip
        return address is not None and self._driver.forwards_ssh(address)

    def _is_awaiting_guest(self, run: int) -> bool:
        return run == self._guest_run and self._guest is GuestStatus.INITIALIZING and self.instance.state == "running"

    def _guest_reported(self, run: int, reachable: bool) -> None:
        with self._lock:
            if self._is_awaiting_guest(run):
                self._set_guest(GuestStatus.OK if reachable else GuestStatus.IMPAIRED)

    def _set_guest(self, status: GuestStatus) -> None:
        self._guest = status
        self._impaired_since = datetime.now(timezone.utc) if status is GuestStatus.IMPAIRED else None

    def _switch_on(self) -> None:
        self._new_guest()
        self._set("pending", StateReason("pending", "pending"))
        self.instance.launch_time = datetime.now(timezone.utc).replace(tzinfo=None)
        try:
            self.instance.ec2_backend.give_public_ip(self.instance)
        except LocalEC2Error as error:
            self._terminate(_failed(str(error)))
            return
        self._machine.submit(Start(self._spec, self._devices()))

    def _devices(self) -> Devices:
        """Return the devices that the machine has now."""
        root = self.instance.root_device_name
        mapped = self.instance.block_device_mapping
        data_devices = [name for name in sorted(mapped) if name != root and mapped[name].status != "detaching"]
        volumes = [mapped[name] for name in (root, *data_devices)]
        interfaces = self.instance.ec2_backend.interfaces_of(self.instance)
        return Devices(
            disks=tuple(self._volumes.disk(volume.volume_id) for volume in volumes),
            interfaces=tuple(
                interface.machine_attachment() for interface in interfaces if interface.attachment_status != "detaching"
            ),
        )

    def _set_stopped(self, reason: StateReason) -> None:
        # As on EC2, a stop releases the public address; the next start allocates another one.
        self.instance.ec2_backend.take_public_ip(self.instance)
        self._set("stopped", reason)

    def _terminate(self, reason: StateReason) -> None:
        # Release the volumes once the machine is gone: queued commands may still change them.
        self._set("shutting-down", reason)
        self._machine.submit(Destroy(), self._machine_gone)

    def _machine_gone(self, _: End) -> None:
        with self._lock:
            reason = self.instance.state_reason
            self._end_root_replacement(succeeded=False)
            self.instance.ec2_backend.take_public_ip(self.instance)
            self.instance.ec2_backend.release_volumes(self.instance)
            self.instance.ec2_backend.release_interfaces(self.instance)
            self.instance.ec2_backend.close_spot_request(self.instance)
            self.instance.terminate()
            self._set("terminated", reason)

    def _set(self, state: str, reason: StateReason | None) -> None:
        by_user = f"User initiated ({datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} GMT)"
        set_instance_state(self.instance, state, reason, by_user if reason is _BY_USER else "")


def _failed(detail: str) -> StateReason:
    return StateReason(f"Server.InternalError: {detail}", "Server.InternalError")
