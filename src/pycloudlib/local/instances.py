"""What binds an EC2 instance to its machine: the one's state follows the other's."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState, StateReason

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.machines.base import (
    Machine,
    MachineDriver,
    MachineOwner,
    MachineSpec,
    NetworkAttachment,
    PowerOffCause,
)
from pycloudlib.local.metadata import InstanceMetadata, InterfaceMetadata

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
        lock: threading.RLock,
    ) -> None:
        self.instance = instance
        self._reservation_id = reservation_id
        self._public_key = public_key
        self._driver = driver
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

    def reboot(self) -> None:
        """Reboot it."""
        self._machine.reboot()

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

    def metadata(self) -> InstanceMetadata:
        """What the instance's metadata service says, as things are now."""
        with self._lock:
            return _metadata(self.instance, self._reservation_id, self._public_key)

    def _switch_on(self) -> None:
        self._set("pending", None)
        self.instance.launch_time = datetime.now(timezone.utc).replace(tzinfo=None)
        primary = self.instance.nics[0]
        try:
            if primary.public_ip_auto_assign:
                primary.public_ip = self._driver.allocate_public_ip()
        except LocalEC2Error as error:
            self._set_terminated(_failed(str(error)))
            self._machine.destroy()
            return
        self._machine.start(
            NetworkAttachment(
                mac=primary.mac_address,
                private_ip=str(primary.private_ip_address),
                subnet=primary.subnet.cidr_block,
                public_ip=primary.public_ip,
            )
        )

    def _set_stopped(self, reason: StateReason) -> None:
        # As on EC2, the public address is gone with the stop; the next start brings another one.
        self._release_public_ip()
        self._set("stopped", reason)

    def _set_terminated(self, reason: StateReason) -> None:
        self._release_public_ip()
        self.instance.terminate()
        self._set("terminated", reason)

    def _release_public_ip(self) -> None:
        primary = self.instance.nics[0]
        if primary.public_ip_auto_assign and primary.public_ip:
            self._driver.release_public_ip(primary.public_ip)
            primary.public_ip = None

    def _set(self, state: str, reason: StateReason | None) -> None:
        self.instance._state = InstanceState(state, STATE_CODES[state])
        self.instance.state_reason = reason  # type: ignore[assignment]
        self.instance._reason = ""
        if reason is _BY_USER:
            self.instance._reason = f"User initiated ({datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} GMT)"


def _failed(detail: str) -> StateReason:
    return StateReason(f"Server.InternalError: {detail}", "Server.InternalError")


def _metadata(instance: Instance, reservation_id: str, public_key: str) -> InstanceMetadata:
    options = instance.metadata_options
    return InstanceMetadata(
        instance_id=instance.id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        architecture=str(instance.architecture),
        account_id=instance.owner_id,
        region=instance.region_name,
        availability_zone=str(instance.availability_zone),
        reservation_id=reservation_id,
        launch_index=int(instance.ami_launch_index),
        pending_time=f"{instance.launch_time:%Y-%m-%dT%H:%M:%SZ}",
        key_name=str(instance.key_name or ""),
        public_key=public_key,
        user_data=user_data(instance),
        block_devices=_block_devices(instance),
        interfaces=tuple(_interface(index, eni, instance) for index, eni in sorted(instance.nics.items())),
        tokens_required=options.http_tokens == "required",
        enabled=options.http_endpoint != "disabled",
        tags=_tags(instance) if options.instance_metadata_tags == "enabled" else None,
    )


def user_data(instance: Instance) -> bytes | None:
    """Decode an instance's user data; None when it has none."""
    if instance.user_data is None:
        return None
    return base64.b64decode(instance.user_data.as_bytes()) or None


def _block_devices(instance: Instance) -> dict[str, str]:
    root = instance.root_device_name.removeprefix("/dev/")
    extra = [name.removeprefix("/dev/") for name in instance.block_device_mapping]
    names = {f"ebs{number}": name for number, name in enumerate((name for name in extra if name != root), start=1)}
    return {"ami": root, "root": instance.root_device_name, **names}


def _tags(instance: Instance) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in instance.get_tags()}


def _interface(index: int, eni: Any, instance: Instance) -> InterfaceMetadata:
    vpc = instance.ec2_backend.get_vpc(eni.subnet.vpc_id)
    return InterfaceMetadata(
        mac=eni.mac_address,
        interface_id=eni.id,
        device_number=index,
        private_ips=tuple(address["PrivateIpAddress"] for address in eni.private_ip_addresses),
        public_ips=(eni.public_ip,) if eni.public_ip else (),
        ipv6_ips=tuple(eni.ipv6_addresses),
        subnet_id=eni.subnet.id,
        subnet_cidr=eni.subnet.cidr_block,
        subnet_ipv6_cidrs=_ipv6_cidrs(eni.subnet.ipv6_cidr_block_associations.values()),
        vpc_id=vpc.id,
        vpc_cidrs=(vpc.cidr_block,),
        vpc_ipv6_cidrs=_ipv6_cidrs(vpc.get_cidr_block_association_set(ipv6=True)),
        security_groups=tuple(group.name for group in eni.group_set),
        security_group_ids=tuple(group.id for group in eni.group_set),
        owner_id=eni.owner_id,
        local_hostname=instance.private_dns_name,
        public_hostname=instance.public_dns_name or "",
    )


def _ipv6_cidrs(associations: Iterable[Any]) -> tuple[str, ...]:
    return tuple(association["ipv6CidrBlock"] for association in associations if association.get("ipv6CidrBlock"))
