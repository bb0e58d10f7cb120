"""Instances, from RunInstances to TerminateInstances, each backed by a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pycloudlib.local.api.models.block_devices import BlockDevice, RequestedDevices, merge
from pycloudlib.local.api.models.image import ROOT_VOLUME_TYPE, LocalAmi
from pycloudlib.local.api.models.instance import LocalInstance, local_instance
from pycloudlib.local.api.models.instance_controller import InstanceController
from pycloudlib.local.api.models.instance_profiles import InstanceProfileRecords
from pycloudlib.local.api.models.instance_types import (
    all_types,
    check_architecture,
    cpu_options,
    describe_type,
    disk_bus,
)
from pycloudlib.local.api.models.launch_interfaces import LaunchInterfaceRecords
from pycloudlib.local.api.models.launch_options import LaunchOptions
from pycloudlib.local.api.models.parameters import resolved_image_id
from pycloudlib.local.api.models.placement_groups import PlacementGroupRecords
from pycloudlib.local.api.models.root_volumes import RootVolumeRecords
from pycloudlib.local.api.models.spot_interruptions import SpotInterruptionRecords
from pycloudlib.local.api.moto_adapter import (
    Base64EncodedString,
    EC2ClientError,
    Instance,
    InstanceProfile,
    InstanceState,
    InvalidParameterCombination,
    MetadataOptions,
    OperationNotPermitted4,
    Reservation,
    change_class,
    state_of,
)
from pycloudlib.local.machines.base import DiskBus, MachineSpec
from pycloudlib.local.machines.firmware import Firmware, firmware_for
from pycloudlib.local.machines.platforms import PLATFORMS

_ENDED = {"shutting-down", "terminated"}

_CHANGED_WHEN_STOPPED = {"instance_type", "user_data", "ebs_optimized", "sriov_net_support"}
"""Attributes that can be changed only while the instance is stopped."""


class InstanceRecords(
    RootVolumeRecords, LaunchInterfaceRecords, PlacementGroupRecords, SpotInterruptionRecords, InstanceProfileRecords
):
    """The instances of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self.launch_options = LaunchOptions()
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
        """Launch MaxCount instances, and start the machine of each once it is recorded (RunInstances)."""
        options = self.launch_options
        if options.client_token in self._launched:
            return self._launched[options.client_token]
        if not 1 <= count <= options.max_count:
            raise EC2ClientError(
                "InvalidParameterValue", f"MinCount ({count}) has to be between 1 and MaxCount ({options.max_count})"
            )
        image_id = resolved_image_id(self.account_id, self.region_name, image_id or "")
        ami = self.launchable_image(image_id)
        public_key = self._public_key(kwargs.get("key_name"))
        profile = self._profile_of_launch(kwargs)
        instance_type = kwargs["instance_type"]
        check_architecture(instance_type, str(ami.architecture))
        cpu = cpu_options(instance_type, options.cpu)
        memory_mib, cpus = self.cloud.sizes.size(instance_type, cpu)
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
        platform = PLATFORMS[str(ami.architecture)]
        firmware = firmware_for(ami.boot_mode, platform, nitro=disk_bus(instance_type) is DiskBus.NVME)
        with self.rollback_on_failure():
            reservation: Reservation = super().run_instances(
                image_id, options.max_count, user_data, security_group_names, **kwargs
            )
        if options.client_token:
            self._launched[options.client_token] = reservation
        for instance in reservation.instances:
            self._complete_instance(instance, options, cpu)
            self.complete_interfaces(instance, kwargs.get("nics") or [], interface_tags)
            if profile is not None:
                self.associate_profile(instance, profile)
            self.attach_at_launch(instance, devices, volume_tags)
            spec = MachineSpec(
                instance_id=instance.id,
                instance_type=instance.instance_type,
                memory_mib=memory_mib,
                cpus=cpus,
                kernel=self.root_kernel(instance),
                disk_bus=disk_bus(instance.instance_type),
                firmware=firmware,
                platform=platform,
                uefi_data=ami.traits.uefi_data if firmware is Firmware.UEFI else None,
            )
            instance.current_instance_boot_mode = firmware.value  # type: ignore[attr-defined]  # a LocalInstance
            controller = InstanceController(
                instance,
                spec,
                reservation_id=reservation.id,
                public_key=public_key,
                driver=self.cloud.driver,
                volumes=self.cloud.volumes,
                lock=self.cloud.lock,
            )
            self.controllers[instance.id] = controller
            controller.launch()
        return reservation

    def start_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """Start instances; start none if the state of one does not allow it (StartInstances)."""
        controllers = self._controllers(instance_ids)
        for controller in controllers:
            controller.check_start()
            if controller.instance.root_device_name not in controller.instance.block_device_mapping:
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"Invalid value '{controller.instance.id}' for instanceId. "
                    f"Instance does not have a volume attached at root ({controller.instance.root_device_name})",
                )
        return [_change(controller, controller.start) for controller in controllers]

    def stop_instances(self, instance_ids: list[str], *, force: bool = False) -> list[tuple[Instance, InstanceState]]:
        """Stop instances by ACPI power button; with `force`, cut the power (StopInstances)."""
        controllers = self._controllers(instance_ids)
        for controller in controllers:
            if local_instance(controller.instance).is_spot:
                raise EC2ClientError(
                    "UnsupportedOperation",
                    f"You can't stop the Spot Instance '{controller.instance.id}' because it is associated with a "
                    "one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot "
                    "Instance requests.",
                )
            if controller.instance.disable_api_stop:
                raise EC2ClientError(
                    "OperationNotPermitted",
                    f"The instance '{controller.instance.id}' may not be stopped. Modify its 'disableApiStop' instance "
                    "attribute and try again.",
                )
            controller.check_stop()
        return [_change(controller, partial(controller.stop, force=force)) for controller in controllers]

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """Terminate instances; terminate none if one has termination protection (TerminateInstances)."""
        if not instance_ids:
            raise InvalidParameterCombination("No instances specified")
        controllers = self._controllers(instance_ids)
        for controller in controllers:
            if controller.instance.disable_api_termination:
                raise OperationNotPermitted4(controller.instance.id)
        return [_change(controller, controller.terminate) for controller in controllers]

    def reboot_instances(self, instance_ids: list[str]) -> list[Instance]:
        """Reboot instances by shutting down and starting the machine (RebootInstances)."""
        controllers = self._controllers(instance_ids)
        for controller in controllers:
            controller.check_reboot()
        for controller in controllers:
            controller.reboot()
        return [controller.instance for controller in controllers]

    def console_output(self, instance_id: str) -> bytes:
        """Return the complete console output (GetConsoleOutput)."""
        return self._controllers([instance_id])[0].console()

    def uefi_data(self, instance_id: str) -> str:
        """Return the current UEFI variables (GetInstanceUefiData).

        Raises:
            EC2ClientError: the instance is terminated, boots by a BIOS, or is of an architecture without Secure Boot.
        """
        (controller,) = self._controllers([instance_id])
        _require_alive(controller.instance)
        if local_instance(controller.instance).current_instance_boot_mode != Firmware.UEFI.value:
            raise EC2ClientError("UnsupportedOperation", f"The instance '{instance_id}' does not boot by UEFI.")
        architecture = str(controller.instance.architecture)
        if not PLATFORMS[architecture].has_secure_boot:
            raise EC2ClientError("UnsupportedOperation", f"The local EC2 has no UefiData for {architecture}")
        return controller.uefi_data()

    def modify_instance_attribute(self, instance_id: str, key: str, value: Any) -> Instance:
        """Change an attribute of an instance (ModifyInstanceAttribute)."""
        instance = self.get_instance(instance_id)
        if not hasattr(instance, key):
            raise EC2ClientError("InvalidParameterValue", f"Unknown attribute: {key}")
        if key != "iam_instance_profile":  # moto resets it on terminated instances
            _require_alive(instance)
        if key in _CHANGED_WHEN_STOPPED and instance.state != "stopped":
            raise EC2ClientError(
                "IncorrectInstanceState", f"The instance '{instance_id}' is not in the 'stopped' state."
            )
        if key == "instance_initiated_shutdown_behavior" and value not in ("stop", "terminate"):
            raise EC2ClientError(
                "InvalidParameterValue", f"Invalid value '{value}' for InstanceInitiatedShutdownBehavior."
            )
        if key == "instance_type":
            self._resize(instance, str(value))
        if key == "source_dest_check" and 0 in instance.nics:
            instance.nics[0].source_dest_check = value
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
        """Change the given metadata options, and keep the others (ModifyInstanceMetadataOptions)."""
        instance = self.get_instance(instance_id)
        _require_alive(instance)
        now = instance.metadata_options
        return super().modify_instance_metadata_options(
            instance_id,
            http_tokens or now.http_tokens,
            hop_limit or now.http_put_response_hop_limit,
            http_endpoint or now.http_endpoint,
            dry_run,
            http_protocol or now.http_protocol_ipv6,
            metadata_tags or now.instance_metadata_tags,
        )

    def zone_named_by_id(self, zone_id: str) -> str:
        """Return the name of the availability zone with an id.

        Raises:
            EC2ClientError: the id is unknown (InvalidParameterValue).
        """
        zones = self.describe_availability_zones(zone_ids=[zone_id])
        if not zones:
            raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone-id: [{zone_id}]")
        return str(zones[0].name)

    def _controllers(self, instance_ids: list[str]) -> list[InstanceController]:
        return [self.controllers[instance.id] for instance in self.get_multi_instances_by_id(instance_ids)]

    def _volumes_of_launch(self, ami: LocalAmi, requested: RequestedDevices) -> list[BlockDevice]:
        """Return the block devices of a launch: the image's, merged with the request's.

        Raises:
            EC2ClientError: a volume is invalid, the root volume has no snapshot, or there are too many volumes.
        """
        root = ami.root_device_name
        devices = [
            replace(
                device, volume_type=device.volume_type or (ROOT_VOLUME_TYPE if device.device_name == root else None)
            )
            for device in merge(ami.devices, requested)
        ]
        if not any(device.device_name == root and device.snapshot_id for device in devices):
            raise EC2ClientError("InvalidBlockDeviceMapping", f"The root device '{root}' has to have a snapshot")
        limit = self.cloud.driver.device_limit
        if len(devices) >= limit:
            raise EC2ClientError("AttachmentLimitExceeded", f"An instance has at most {limit} volumes and interfaces")
        for device in devices:
            self.check_block_device(device)
        return devices

    def _profile_of_launch(self, parameters: Mapping[str, Any]) -> InstanceProfile | None:
        name, arn = parameters.get("iam_instance_profile_name"), parameters.get("iam_instance_profile_arn")
        return self.find_profile(name, arn) if name or arn else None

    def _public_key(self, key_name: str | None) -> str:
        if not key_name:
            return ""
        key_pair = self.key_pairs.get(key_name)
        if key_pair is None:
            raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{key_name}' does not exist")
        return key_pair.public_key

    def _complete_instance(self, instance: Instance, options: LaunchOptions, cpu: dict[str, int]) -> None:
        """Turn moto's record of a launched instance into a `LocalInstance`."""
        change_class(instance, LocalInstance)
        local = local_instance(instance)
        zone: Any = self.get_zone_by_name(str(instance.availability_zone))
        local.complete(options, cpu, zone.zone_id, describe_type(instance.instance_type))
        local.add_tags(dict(options.system_tags))
        if options.spot is not None:
            self.add_spot_request(local, options.spot, options.spot_tags)

    def _resize(self, instance: Instance, instance_type: str) -> None:
        """Change the type of a stopped instance, from its next start on."""
        if instance_type not in all_types():
            raise EC2ClientError("InvalidInstanceAttributeValue", f"Invalid value '{instance_type}' for InstanceType.")
        check_architecture(instance_type, str(instance.architecture))
        local = local_instance(instance)
        local.change_type(instance_type, cpu_options(instance_type, {}), describe_type(instance_type))
        memory_mib, cpus = self.cloud.sizes.size(instance_type, local.cpu_options)
        self.controllers[instance.id].resize(instance_type, memory_mib, cpus, disk_bus(instance_type))

    def _default_subnet_id(self, zone: str | None) -> str:
        subnet = self.get_default_subnets().get(zone or f"{self.region_name}a")
        if subnet is None:
            raise EC2ClientError("MissingInput", f"No default subnet in {zone or self.region_name}. Specify a subnet.")
        return str(subnet.id)


def _require_alive(instance: Instance) -> None:
    if instance.state in _ENDED:
        raise EC2ClientError(
            "IncorrectInstanceState",
            f"The {instance.state} instance '{instance.id}' is not in a valid state for this operation.",
        )


def _change(controller: InstanceController, action: Any) -> tuple[Instance, InstanceState]:
    before = state_of(controller.instance)
    action()
    return controller.instance, before
