"""What binds an EC2 instance to its machine: the one's state follows the other's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState, StateReason

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.machines.base import (
    Devices,
    Machine,
    MachineDriver,
    MachineOwner,
    MachineSpec,
    PowerOffCause,
)
from pycloudlib.local.metadata import InstanceMetadata
from pycloudlib.local.models.description import instance_metadata
from pycloudlib.local.storage import VolumeStore

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html
STATE_CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}

_STARTABLE = {"stopped"}
_STOPPABLE = {"pending", "running"}
_REBOOTABLE = {"running"}
_ENDED = {"shutting-down", "terminated"}

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
_BY_USER = StateReason("Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown")
_BY_GUEST = StateReason(
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown", "Client.InstanceInitiatedShutdown"
)


class InstanceLife(MachineOwner):
    """An instance and the machine behind it.

    Its methods are called with the server's lock held, except for what a machine tells; that takes the lock itself.

    Args:
        instance: moto's record of the instance.
        spec: what its machine is made of.
        reservation_id: the launch it was part of.
        public_key: text of the key pair's public half; "" without one.
        driver: makes the machine.
        volumes: what is on its volumes.
        lock: the server's.
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
        lock: threading.RLock,
    ) -> None:
        self.instance = instance
        self._reservation_id = reservation_id
        self._public_key = public_key
        self._driver = driver
        self._volumes = volumes
        self._lock = lock
        self._machine: Machine = driver.create(spec, self, self.metadata)

    def launch(self) -> None:
        """Start it for the first time."""
        self._switch_on()

    def check(self, action: str, states: set[str]) -> None:
        """Refuse what the instance's state does not allow.

        Raises:
            EC2ClientError: IncorrectInstanceState.
        """
        if self.instance.state not in states:
            raise EC2ClientError(
                "IncorrectInstanceState",
                f"The instance '{self.instance.id}' is not in a state from which it can be {action}.",
            )

    def check_start(self) -> None:
        """Refuse to start what is neither stopped nor on already."""
        self.check("started", _STARTABLE | _STOPPABLE)

    def check_stop(self) -> None:
        """Refuse to stop what is gone."""
        self.check("stopped", set(STATE_CODES) - _ENDED)

    def check_reboot(self) -> None:
        """Refuse to reboot what does not run."""
        self.check("rebooted", _REBOOTABLE)

    def start(self) -> None:
        """Start it again after a stop; no change to one that is on."""
        if self.instance.state in _STARTABLE:
            self._switch_on()

    def stop(self, *, force: bool) -> None:
        """Stop it; no change to one that is off or on its way there, but for a forced stop."""
        if self.instance.state in _STOPPABLE or (force and self.instance.state == "stopping"):
            self._set("stopping", _BY_USER)
            self._machine.stop(force=force)

    @property
    def machine(self) -> Machine:
        """The machine behind the instance."""
        return self._machine

    def reboot(self, between: Callable[[], None] | None = None) -> None:
        """Reboot it; `between` is called while it is off."""
        self._machine.reboot(between)

    def terminate(self) -> None:
        """Terminate it; no change to one that is on its way there."""
        if self.instance.state not in _ENDED:
            self._set("shutting-down", _BY_USER)
            self._machine.destroy()

    def console(self) -> bytes:
        """All that the machine has printed on its console."""
        return self._machine.console()

    def machine_running(self) -> None:
        """The machine has started: the instance runs."""
        with self._lock:
            if self.instance.state == "pending":
                self._set("running", None)

    def machine_off(self, cause: PowerOffCause, detail: str) -> None:
        """The machine is off: the instance is stopped or terminated, by whatever ended it."""
        with self._lock:
            if self.instance.state == "terminated":
                return
            if self.instance.state == "shutting-down":
                self._set_terminated(_BY_USER)
            elif cause is PowerOffCause.DIED:
                self._set_terminated(_failed(detail))
                self._machine.destroy()
            elif self.instance.state == "stopping":
                self._set_stopped(_BY_USER)
            elif self.instance.instance_initiated_shutdown_behavior == "terminate":
                self._set_terminated(_BY_GUEST)
                self._machine.destroy()
            else:
                self._set_stopped(_BY_GUEST)

    def disk_attached(self, volume_id: str) -> None:
        """The guest can use a disk."""
        with self._lock:
            self.instance.ec2_backend.disk_attached(self.instance, volume_id)

    def disk_detached(self, volume_id: str) -> None:
        """The guest has let go of a disk."""
        with self._lock:
            self.instance.ec2_backend.disk_detached(self.instance, volume_id)

    def interface_attached(self, interface_id: str) -> None:
        """The guest can use an interface."""
        with self._lock:
            self.instance.ec2_backend.interface_attached(self.instance, interface_id)

    def interface_detached(self, interface_id: str) -> None:
        """The guest has let go of an interface."""
        with self._lock:
            self.instance.ec2_backend.interface_detached(self.instance, interface_id)

    def device_failed(self, resource_id: str, detail: str) -> None:
        """A volume or an interface could not be attached."""
        with self._lock:
            self.instance.ec2_backend.disk_failed(self.instance, resource_id, detail)
            self.instance.ec2_backend.interface_failed(self.instance, resource_id, detail)

    def metadata(self) -> InstanceMetadata:
        """What the instance's metadata service says, as things are now."""
        with self._lock:
            return instance_metadata(self.instance, self._reservation_id, self._public_key)

    def _switch_on(self) -> None:
        self._set("pending", None)
        self.instance.launch_time = datetime.now(timezone.utc).replace(tzinfo=None)
        try:
            self.instance.ec2_backend.give_public_ip(self.instance)
        except LocalEC2Error as error:
            self._set_terminated(_failed(str(error)))
            self._machine.destroy()
            return
        self._machine.start(self._devices())

    def _devices(self) -> Devices:
        """What the machine has, as things are now."""
        root = self.instance.root_device_name
        mapped = self.instance.block_device_mapping
        others = [name for name in sorted(mapped) if name != root and mapped[name].status != "detaching"]
        volumes = [mapped[name] for name in (root, *others)]
        interfaces = self.instance.ec2_backend.interfaces_of(self.instance)
        return Devices(
            disks=tuple(self._volumes.disk(volume.volume_id) for volume in volumes),
            interfaces=tuple(one.machine_attachment() for one in interfaces if one.attachment_status != "detaching"),
        )

    def _set_stopped(self, reason: StateReason) -> None:
        # As on EC2, the public address is gone with the stop; the next start brings another one.
        self.instance.ec2_backend.take_public_ip(self.instance)
        self._set("stopped", reason)

    def _set_terminated(self, reason: StateReason) -> None:
        self.instance.ec2_backend.take_public_ip(self.instance)
        self.instance.ec2_backend.release_volumes(self.instance)
        self.instance.ec2_backend.release_interfaces(self.instance)
        self.instance.terminate()
        self._set("terminated", reason)

    def _set(self, state: str, reason: StateReason | None) -> None:
        self.instance._state = InstanceState(state, STATE_CODES[state])
        self.instance.state_reason = reason  # type: ignore[assignment]
        self.instance._reason = ""
        if reason is _BY_USER:
            self.instance._reason = f"User initiated ({datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} GMT)"


def _failed(detail: str) -> StateReason:
    return StateReason(f"Server.InternalError: {detail}", "Server.InternalError")
