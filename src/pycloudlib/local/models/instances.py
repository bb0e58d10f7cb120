"""RunInstances and what follows: a machine behind every instance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidParameterCombination,
    OperationDisableApiStopNotPermitted,
    OperationNotPermitted4,
)
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, MetadataOptions, Reservation

from pycloudlib.local.machines.base import MachineSpec
from pycloudlib.local.models.block_devices import BlockDevice, WantedDevices, merge
from pycloudlib.local.models.image import ROOT_VOLUME_TYPE, LocalAmi
from pycloudlib.local.models.images import ImageRecords
from pycloudlib.local.models.launch_interfaces import LaunchInterfaceRecords
from pycloudlib.local.models.life import InstanceLife

DEFAULT_INSTANCE_TYPE = "m1.small"
"""What RunInstances means without an InstanceType."""


@dataclass(frozen=True)
class LaunchOptions:
    """The parameters of RunInstances that moto does not hand on."""

    max_count: int
    client_token: str | None
    disable_api_termination: bool
    devices: WantedDevices = field(default_factory=WantedDevices)


class InstanceRecords(ImageRecords, LaunchInterfaceRecords):
    """The instances of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self.launch_options = LaunchOptions(max_count=1, client_token=None, disable_api_termination=False)
        self._launched: dict[str, Reservation] = {}
        super().__init__(region_name, account_id)

    def run_instances(
        self,
        image_id: str,
        count: int,
        user_data: Base64EncodedString | None,
        security_group_names: list[str],
        **kwargs: Any,
    ) -> Reservation:
        """RunInstances: as many as MaxCount says, each with a machine that starts as soon as it is recorded."""
        options = self.launch_options
        if options.client_token in self._launched:
            return self._launched[options.client_token]
        if not 1 <= count <= options.max_count:
            raise EC2ClientError(
                "InvalidParameterValue", f"MinCount ({count}) has to be between 1 and MaxCount ({options.max_count})"
            )
        ami = self.launchable_image(image_id)
        public_key = self._public_key(kwargs.get("key_name"))
        memory_mib, cpus = self._size(kwargs["instance_type"])
        kwargs["disable_api_termination"] = options.disable_api_termination
        devices = self._volumes_of_launch(ami, options.devices)
        volume_tags = (kwargs.get("tags") or {}).get("volume", {})
        kwargs["block_device_mappings"] = []
        interface_tags = (kwargs.get("tags") or {}).get("network-interface", {})
        self.prepare_launch(
            options.max_count, kwargs, default_subnet_id=lambda: self._default_subnet_id(kwargs.get("placement"))
        )
        if not kwargs.get("nics"):
            kwargs["subnet_id"] = kwargs.get("subnet_id") or self._default_subnet_id(kwargs.get("placement"))
            subnet = self.get_subnet(kwargs["subnet_id"])
            if not security_group_names and not kwargs.get("security_group_ids"):
                kwargs["security_group_ids"] = [self.get_default_security_group(subnet.vpc_id)]
            self.require_room(kwargs["subnet_id"], options.max_count)
        with self.nothing_left_on_failure():
            reservation: Reservation = super().run_instances(
                image_id, options.max_count, user_data, security_group_names, **kwargs
            )
        if options.client_token:
            self._launched[options.client_token] = reservation
        for instance in reservation.instances:
            self.complete_interfaces(instance, kwargs.get("nics") or [], interface_tags)
            self.attach_at_launch(instance, devices, volume_tags)
            spec = MachineSpec(
                instance_id=instance.id,
                instance_type=instance.instance_type,
                memory_mib=memory_mib,
                cpus=cpus,
                kernel=self.root_kernel(instance),
            )
            life = InstanceLife(
                instance,
                spec,
                reservation_id=reservation.id,
                public_key=public_key,
                driver=self.cloud.driver,
                volumes=self.cloud.volumes,
                lock=self.cloud.lock,
            )
            self.lives[instance.id] = life
            life.launch()
        return reservation

    def start_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """StartInstances: all of them, or none when one's state does not allow it."""
        lives = self._lives(instance_ids)
        for life in lives:
            life.check_start()
            if life.instance.root_device_name not in life.instance.block_device_mapping:
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"Invalid value '{life.instance.id}' for instanceId. Instance does not have a volume attached at "
                    f"root ({life.instance.root_device_name})",
                )
        return [_change(life, life.start) for life in lives]

    def stop_instances(self, instance_ids: list[str], *, force: bool = False) -> list[tuple[Instance, InstanceState]]:
        """StopInstances: press the power button, or with Force pull the plug."""
        lives = self._lives(instance_ids)
        for life in lives:
            if life.instance.disable_api_stop:
                raise OperationDisableApiStopNotPermitted(life.instance.id)
            life.check_stop()
        return [_change(life, partial(life.stop, force=force)) for life in lives]

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """TerminateInstances: at once, unless one of them is protected."""
        if not instance_ids:
            raise InvalidParameterCombination("No instances specified")
        lives = self._lives(instance_ids)
        for life in lives:
            if life.instance.disable_api_termination:
                raise OperationNotPermitted4(life.instance.id)
        return [_change(life, life.terminate) for life in lives]

    def reboot_instances(self, instance_ids: list[str]) -> list[Instance]:
        """RebootInstances: the guests shut down and come up again."""
        lives = self._lives(instance_ids)
        for life in lives:
            life.check_reboot()
        for life in lives:
            life.reboot()
        return [life.instance for life in lives]

    def console_output(self, instance_id: str) -> bytes:
        """GetConsoleOutput: everything the machine has printed."""
        return self._lives([instance_id])[0].console()

    def modify_instance_attribute(self, instance_id: str, key: str, value: Any) -> Instance:
        """ModifyInstanceAttribute, of an attribute that there is."""
        instance = self.get_instance(instance_id)
        if not hasattr(instance, key):
            raise EC2ClientError("InvalidParameterValue", f"Unknown attribute: {key}")
        if key in ("disable_api_termination", "disable_api_stop") and isinstance(value, str):
            value = value.lower() == "true"
        return super().modify_instance_attribute(instance_id, key, value)

    def modify_instance_metadata_options(
        self,
        instance_id: str,
        http_tokens: str | None = None,
        hop_limit: int | None = None,
        http_endpoint: str | None = None,
        dry_run: bool | None = False,
        http_protocol: str | None = None,
        metadata_tags: str | None = None,
    ) -> MetadataOptions:
        """ModifyInstanceMetadataOptions: what is not named stays as it is."""
        now = self.get_instance(instance_id).metadata_options
        return super().modify_instance_metadata_options(
            instance_id,
            http_tokens or now.http_tokens,
            hop_limit or now.http_put_response_hop_limit,
            http_endpoint or now.http_endpoint,
            dry_run,
            http_protocol or now.http_protocol_ipv6,
            metadata_tags or now.instance_metadata_tags,
        )

    def _lives(self, instance_ids: list[str]) -> list[InstanceLife]:
        return [self.lives[instance.id] for instance in self.get_multi_instances_by_id(instance_ids)]

    def _volumes_of_launch(self, ami: LocalAmi, wanted: WantedDevices) -> list[BlockDevice]:
        """The volumes of an instance: the image's, and what the request adds or changes.

        Raises:
            EC2ClientError: one of them cannot be made, or there is no root volume.
        """
        root = ami.root_device_name
        devices = [
            replace(
                device, volume_type=device.volume_type or (ROOT_VOLUME_TYPE if device.device_name == root else None)
            )
            for device in merge(ami.devices, wanted)
        ]
        if not any(device.device_name == root and device.snapshot_id for device in devices):
            raise EC2ClientError("InvalidBlockDeviceMapping", f"The root device '{root}' has to have a snapshot")
        limit = self.cloud.driver.device_limit
        if len(devices) >= limit:
            raise EC2ClientError("AttachmentLimitExceeded", f"An instance has at most {limit} volumes and interfaces")
        for device in devices:
            self.check_block_device(device)
        return devices

    def _public_key(self, key_name: str | None) -> str:
        if not key_name:
            return ""
        key_pair = self.key_pairs.get(key_name)
        if key_pair is None:
            raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{key_name}' does not exist")
        return key_pair.public_key

    def _size(self, instance_type: str) -> tuple[int, int]:
        known = INSTANCE_TYPES.get(instance_type or DEFAULT_INSTANCE_TYPE)
        if known is None:
            raise EC2ClientError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
        memory_mib = min(int(known["MemoryInfo"]["SizeInMiB"]), self.cloud.max_memory_mib)
        cpus = min(int(known["VCpuInfo"]["DefaultVCpus"]), self.cloud.max_cpus)
        return memory_mib, cpus

    def _default_subnet_id(self, zone: str | None) -> str:
        subnet = self.get_default_subnets().get(zone or f"{self.region_name}a")
        if subnet is None:
            raise EC2ClientError("MissingInput", f"No default subnet in {zone or self.region_name}. Specify a subnet.")
        return str(subnet.id)


def _change(life: InstanceLife, action: Any) -> tuple[Instance, InstanceState]:
    before = life.instance._state
    action()
    return life.instance, InstanceState(before.name, before.code)
