"""moto's EC2 backend, with machines behind its instances.

moto keeps the records and speaks EC2's protocol. What is overridden here is what moto only records and a machine makes
true, and what moto takes more lightly than EC2 does where a suite would notice.
"""

from __future__ import annotations

import difflib
import threading
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidAMIIdError,
    InvalidParameterCombination,
    OperationDisableApiStopNotPermitted,
    OperationNotPermitted4,
)
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, MetadataOptions, Reservation

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.amis import ROOT_VOLUME_TYPE, CatalogueAmi
from pycloudlib.local.distributions import SELF
from pycloudlib.local.instances import InstanceLife
from pycloudlib.local.machines.base import MachineDriver, MachineSpec
from pycloudlib.local.simulated_images import ImageSource

DEFAULT_INSTANCE_TYPE = "m1.small"
"""What RunInstances means without an InstanceType."""

ARCHITECTURE = "x86_64"


@dataclass(frozen=True)
class LocalCloud:
    """What all regions and accounts of a server share.

    Args:
        driver: makes the machines.
        catalogue: the disk images.
        max_memory_mib: no machine gets more memory, whatever its instance type.
        max_cpus: nor more CPUs.
        lock: held by whoever reads or changes EC2's records.
    """

    driver: MachineDriver
    catalogue: ImageSource
    max_memory_mib: int
    max_cpus: int
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass(frozen=True)
class LaunchOptions:
    """The parameters of RunInstances that moto does not hand on."""

    max_count: int
    client_token: str | None
    disable_api_termination: bool


class LocalEC2Backend(EC2Backend):
    """The EC2 of one account in one region."""

    cloud: ClassVar[LocalCloud]

    def __init__(self, region_name: str, account_id: str) -> None:
        self.lives: dict[str, InstanceLife] = {}
        self.launch_options = LaunchOptions(max_count=1, client_token=None, disable_api_termination=False)
        self._launched: dict[str, Reservation] = {}
        super().__init__(region_name, account_id)

    @property
    def _url_module(self) -> Any:
        from pycloudlib.local.responses import LocalEC2Response  # noqa: PLC0415  (it imports moto's server)

        return SimpleNamespace(
            url_bases=[r"https?://ec2\.(.+)\.amazonaws\.com(|\.cn)"], url_paths={"{0}/": LocalEC2Response.dispatch}
        )

    def reset(self) -> None:
        """Forget everything, machines included."""
        for life in self.lives.values():
            life.terminate()
        super().reset()

    # Images

    def describe_images(
        self,
        ami_ids: list[str] | None = None,
        filters: dict[str, Any] | None = None,
        exec_users: list[str] | None = None,
        owners: list[str] | None = None,
    ) -> list[Any]:
        """DescribeImages: those of the catalogue as it is now, and those that were made since the start."""
        self._offer_catalogue()
        return super().describe_images(ami_ids, filters, exec_users, owners)

    def _offer_catalogue(self) -> None:
        images = {image.image_id: image for image in self.cloud.catalogue.images()}
        for image_id, ami in list(self.amis.items()):
            if isinstance(ami, CatalogueAmi) and image_id not in images:
                del self.amis[image_id]
        for image_id, image in images.items():
            if image_id not in self.amis and image_id not in self.deleted_amis:
                self.amis[image_id] = CatalogueAmi(self, image)

    # Instances

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
        ami = self._launchable_image(image_id)
        public_key = self._public_key(kwargs.get("key_name"))
        memory_mib, cpus = self._size(kwargs["instance_type"])
        kwargs["disable_api_termination"] = options.disable_api_termination
        kwargs["block_device_mappings"] = _with_root_volume(ami, kwargs.get("block_device_mappings") or [])
        if not kwargs.get("nics"):
            kwargs["subnet_id"] = kwargs.get("subnet_id") or self._default_subnet_id(kwargs.get("placement"))
            subnet = self.get_subnet(kwargs["subnet_id"])
            if not security_group_names and not kwargs.get("security_group_ids"):
                kwargs["security_group_ids"] = [self.get_default_security_group(subnet.vpc_id)]
        reservation = super().run_instances(image_id, options.max_count, user_data, security_group_names, **kwargs)
        if options.client_token:
            self._launched[options.client_token] = reservation
        for instance in reservation.instances:
            self._default_to_deletion(instance, kwargs.get("nics") or [])
            root = instance.block_device_mapping[ami.root_device_name]
            spec = MachineSpec(
                instance_id=instance.id,
                instance_type=instance.instance_type,
                boot=ami.boot_source,
                root_volume_id=root.volume_id,
                root_size_gb=int(root.size),
                memory_mib=memory_mib,
                cpus=cpus,
            )
            life = InstanceLife(
                instance,
                spec,
                reservation_id=reservation.id,
                public_key=public_key,
                driver=self.cloud.driver,
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

    def create_network_interface(self, *args: Any, **kwargs: Any) -> NetworkInterface:
        """CreateNetworkInterface; a public address comes with the machine, not from moto."""
        interface = super().create_network_interface(*args, **kwargs)
        interface.public_ip = None
        return interface

    def _lives(self, instance_ids: list[str]) -> list[InstanceLife]:
        return [self.lives[instance.id] for instance in self.get_multi_instances_by_id(instance_ids)]

    def _launchable_image(self, image_id: str) -> CatalogueAmi:
        if not image_id:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter ImageId")
        ami = next(iter(self.describe_images(ami_ids=[image_id])), None)
        if not isinstance(ami, CatalogueAmi):
            raise InvalidAMIIdError(image_id)
        if ami.architecture != ARCHITECTURE:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"The local EC2 runs {ARCHITECTURE} machines only; {image_id} is for {ami.architecture}",
            )
        return ami

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

    def _default_to_deletion(self, instance: Instance, specified: list[dict[str, Any]]) -> None:
        """Let the interfaces that the launch made go with the instance, unless it was asked for otherwise."""
        kept = {int(nic["DeviceIndex"]) for nic in specified if nic.get("DeleteOnTermination") is False}
        given = {int(nic["DeviceIndex"]) for nic in specified if nic.get("NetworkInterfaceId")}
        for index, interface in instance.nics.items():
            if index not in kept | given:
                interface.delete_on_termination = True


def _change(life: InstanceLife, action: Any) -> tuple[Instance, InstanceState]:
    before = life.instance._state
    action()
    return life.instance, InstanceState(before.name, before.code)


def _with_root_volume(ami: CatalogueAmi, mappings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Complete the block device mappings with the root volume, and with EC2's defaults.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EbsBlockDevice.html
    """
    root = next((one for one in mappings if one["DeviceName"] == ami.root_device_name), None)
    others = [one for one in mappings if one is not root]
    wanted: dict[str, Any] = dict(root["Ebs"]) if root else {}
    size = int(wanted.get("VolumeSize") or ami.size_gb)
    if size < ami.size_gb:
        raise EC2ClientError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than snapshot '{ami.ebs_snapshot.id}', expect size >= {ami.size_gb}GB",
        )
    wanted["VolumeSize"] = size
    wanted["SnapshotId"] = None
    wanted["VolumeType"] = wanted.get("VolumeType") or ROOT_VOLUME_TYPE
    if wanted.get("DeleteOnTermination") is None:
        wanted["DeleteOnTermination"] = True
    return [{"DeviceName": ami.root_device_name, "Ebs": wanted}, *others]


def install(cloud: LocalCloud) -> None:
    """Make moto's EC2 the local one; to be called before the first use of EC2 in this process."""
    LocalEC2Backend.cloud = cloud
    ec2_backends.backend = LocalEC2Backend


def known_regions() -> list[str]:
    """The regions that there are; to be asked after `install`."""
    return list(ec2_backends[SELF].regions)


def require_region(region: str) -> None:
    """Refuse a region that there is not; to be called after `install`.

    Raises:
        LocalEC2Error: there is no such region; names the nearest one.
    """
    if region not in known_regions():
        nearest = difflib.get_close_matches(region, known_regions(), n=1) or ["us-east-1"]
        raise LocalEC2Error(f"there is no region {region!r}: did you mean {nearest[0]}?")
