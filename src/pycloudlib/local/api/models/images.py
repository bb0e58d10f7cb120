"""AMIs from the catalog, from instances, and from snapshots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from pycloudlib.errors import InvalidArgumentError, MissingPrerequisiteError
from pycloudlib.local.api.models.block_devices import BlockDevice, merge
from pycloudlib.local.api.models.image import CatalogueAmi, ImageOptions, ImageTraits, LocalAmi, as_time
from pycloudlib.local.api.models.instance import local_instance
from pycloudlib.local.api.models.snapshots import LocalSnapshot, SnapshotRecords
from pycloudlib.local.api.models.volume_types import VOLUME_TYPES
from pycloudlib.local.api.moto_adapter import (
    EC2ClientError,
    Instance,
    InvalidAMIIdError,
    MalformedAMIIdError,
    UnvailableAMIIdError,
    random_ami_id,
)
from pycloudlib.local.images.boot_mode import UEFI, UEFI_PREFERRED
from pycloudlib.local.images.catalog import PULLED, Image
from pycloudlib.local.images.distributions import SELF, distribution
from pycloudlib.local.machines.commands import Command, Ended, Request
from pycloudlib.local.machines.firmware import Firmware
from pycloudlib.local.machines.platforms import PLATFORMS
from pycloudlib.local.machines.uefi_variables import UefiVariables
from pycloudlib.local.storage.volumes import Submit, TakeSnapshot

USERNAME_TAG = "pycloudlib:username"
"""The tag that names an image's login user, as `snapshot()` sets it."""

_UEFI_MODES = (UEFI, UEFI_PREFERRED)

_NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")


class ImageRecords(SnapshotRecords):
    """The AMIs of one account in one region: the catalog's and the account's own."""

    amis: dict[str, LocalAmi]  # type: ignore[assignment]

    def create_image(  # type: ignore[override]
        self, instance_id: str, options: ImageOptions, *, no_reboot: bool = False
    ) -> LocalAmi:
        """Create an AMI from an instance's volumes (CreateImage).

        Reboot a running instance for it, unless `no_reboot`.

        Raises:
            EC2ClientError: the name is invalid or taken, or the instance is neither running nor stopped.
        """
        self._check_name(options.name)
        controller = self.controller_of(instance_id)
        controller.check("imaged", {"running", "stopped"})
        ami_id = random_ami_id()
        prepared = self._prepare(controller.instance, ami_id, options)
        devices = [device for device, _, _ in prepared]
        ami = LocalAmi(
            self,
            ami_id,
            name=options.name,
            description=options.description,
            traits=self._traits_of(controller.instance),
            devices=merge(devices, options.devices),
        )
        ami.instance_id = instance_id
        self._add(ami, options.image_tags)
        batch: list[Request] = []
        reboot = controller.instance.state == "running" and not no_reboot
        for _, snapshot, take in prepared:
            submit = _adder(batch) if reboot else controller.machine.submit
            take(submit, partial(self.snapshot_taken, snapshot))
        if reboot:
            controller.reboot(while_off=tuple(batch))
        return ami

    def _prepare(
        self, instance: Instance, ami_id: str, options: ImageOptions
    ) -> list[tuple[BlockDevice, LocalSnapshot, TakeSnapshot]]:
        prepared = []
        root = instance.root_device_name
        for name in sorted(instance.block_device_mapping, key=lambda name: (name != root, name)):
            mapped = instance.block_device_mapping[name]
            if name in options.devices.left_out or mapped.status == "detaching":
                continue
            volume = self.get_volume(mapped.volume_id)
            text = f"Created by CreateImage({instance.id}) for {ami_id}"
            snapshot, take = self.prepare_snapshot(volume.id, text)
            snapshot.add_tags(options.snapshot_tags)
            device = BlockDevice(
                name,
                snapshot.volume_size,
                snapshot.id,
                volume.volume_type,
                bool(mapped.delete_on_termination),
                volume.encrypted,
                volume.iops if VOLUME_TYPES[volume.volume_type].iops else None,
                volume.throughput,
            )
            prepared.append((device, snapshot, take))
        return prepared

    def _traits_of(self, instance: Instance) -> ImageTraits:
        ami = self.amis.get(instance.image_id)
        boot_mode = local_instance(instance).current_instance_boot_mode
        traits = ami.traits if ami else ImageTraits(str(instance.architecture), instance.root_device_name, boot_mode)
        if boot_mode != Firmware.UEFI.value or not PLATFORMS[traits.architecture].has_secure_boot:
            return traits
        return replace(traits, uefi_data=self.controller_of(instance.id).uefi_data())

    def register_image(  # type: ignore[override]
        self, options: ImageOptions, traits: ImageTraits
    ) -> LocalAmi:
        """Create an AMI from completed snapshots (RegisterImage).

        Raises:
            EC2ClientError: the name is invalid or taken, the root device has no snapshot, or the UEFI data are
                malformed or not for the boot mode.
        """
        self._check_name(options.name)
        _check_uefi_data(traits)
        devices = []
        for device in options.devices.devices:
            size_gb, _, _ = self.check_block_device(device)
            source = self.get_snapshot(device.snapshot_id) if device.snapshot_id else None
            encrypted = device.encrypted or bool(source and source.encrypted)
            devices.append(replace(device, size_gb=size_gb, encrypted=encrypted))
        root = next((device for device in devices if device.device_name == traits.root_device_name), None)
        if root is None or not root.snapshot_id:
            raise EC2ClientError(
                "InvalidBlockDeviceMapping",
                f"The root device '{traits.root_device_name}' is not mapped to a snapshot",
            )
        ami = LocalAmi(
            self,
            random_ami_id(),
            name=options.name,
            description=options.description,
            traits=traits,
            devices=devices,
        )
        return self._add(ami, options.image_tags)

    def copy_image(  # type: ignore[override]
        self, source_image_id: str, source_region: str, options: ImageOptions
    ) -> LocalAmi:
        """Copy an AMI and its snapshots within or between regions (CopyImage).

        The copies share the contents of the source snapshots.
        """
        records = self.records_of_region(source_region)
        source: LocalAmi = records.get_image(source_image_id)
        _check_available(source)
        ami_id = random_ami_id()
        devices = []
        for device in source.devices:
            if not device.snapshot_id:
                devices.append(device)
                continue
            text = f"Copied for DestinationAmi {ami_id} from SourceAmi {source.id} for SourceSnapshot"
            snapshot = self.copy_of(records.get_snapshot(device.snapshot_id), f"{text} {device.snapshot_id}.")
            snapshot.add_tags(options.snapshot_tags)
            devices.append(replace(device, snapshot_id=snapshot.id, encrypted=bool(snapshot.encrypted)))
        ami = LocalAmi(
            self,
            ami_id,
            name=options.name or str(source.name),
            description=options.description or f"[Copied {source.id} from {source_region}] {source.name}",
            traits=source.traits,
            devices=devices,
        )
        ami.source_image_id, ami.source_image_region = source.id, source_region
        tags = {tag["key"]: tag["value"] for tag in source.get_tags()} if options.with_tags else {}
        return self._add(ami, {**tags, **options.image_tags})

    def _add(self, ami: LocalAmi, tags: dict[str, str]) -> LocalAmi:
        ami.add_tags(tags)
        self.amis[ami.id] = ami
        return ami

    def describe_images(
        self,
        ami_ids: list[str] | None = None,
        filters: dict[str, Any] | None = None,
        exec_users: list[str] | None = None,
        owners: list[str] | None = None,
        *,
        include_deprecated: bool = False,
    ) -> list[Any]:
        """Return the images of the current catalog, and the images created since the start (DescribeImages).

        Args:
            ami_ids: the image ids; empty for all. Deregistered images are left out.
            filters: moto's lookup of a launch's image by "image-id"; the dispatcher applies a request's filters.
            exec_users: only images for which one of these users has explicit launch permission.
            owners: only images of these accounts and aliases.
            include_deprecated: also other accounts' deprecated images; default no.
        """
        self._offer_catalogue()
        if filters:
            images = [image for image in [self.amis.get(filters["image-id"])] if image]
        elif ami_ids:
            images = self._named([ami_id for ami_id in ami_ids if ami_id not in self.deleted_amis])
        else:
            images = [image for image in self.amis.values() if include_deprecated or not self._is_hidden(image)]
        if exec_users:
            images = [image for image in images if any(self._may_launch(image, user) for user in exec_users)]
        if owners:
            requested_owners = {self.account_id if owner == "self" else owner for owner in owners}
            images = [
                image for image in images if image.owner_id in requested_owners or image.owner_alias in requested_owners
            ]
        return images

    def get_image(self, image_id: str) -> LocalAmi:
        """Return an AMI.

        Raises:
            EC2ClientError: the id is unknown or malformed.
        """
        self._offer_catalogue()
        return self._named([image_id])[0]

    def own_image(self, image_id: str) -> LocalAmi:
        """Return an AMI that the account owns.

        Raises:
            EC2ClientError: the id is unknown, the AMI is deregistered, or another account owns it.
        """
        if image_id in self.deleted_amis:
            raise UnvailableAMIIdError(image_id)
        ami = self.get_image(image_id)
        if ami.owner_id != self.account_id:
            raise EC2ClientError("AuthFailure", f"Not authorized for image: {image_id}")
        return ami

    def deregister_image(self, ami_id: str, *, with_snapshots: bool = False) -> None:
        """Deregister an AMI; its instances remain (DeregisterImage).

        Args:
            ami_id: the id of the AMI.
            with_snapshots: whether to delete the snapshots that no other AMI uses; default no.
        """
        ami = self.own_image(ami_id)
        del self.amis[ami_id]
        self.deleted_amis.append(ami_id)
        if not with_snapshots:
            return
        still_used = {snapshot_id for other in self.amis.values() for snapshot_id in other.snapshot_ids}
        for snapshot_id in set(ami.snapshot_ids) - still_used:
            self.delete_snapshot(snapshot_id)

    def deprecate_image(self, image_id: str, at: Any) -> None:
        """Set an AMI's deprecation time; None for never (EnableImageDeprecation, DisableImageDeprecation).

        Raises:
            EC2ClientError: the time is not in the future.
        """
        ami = self.own_image(image_id)
        if at is None:
            ami.deprecation_time = None
            return
        when = at if isinstance(at, datetime) else as_time(str(at))
        when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        if when <= datetime.now(timezone.utc):
            raise EC2ClientError("InvalidParameterValue", "The date and time to deprecate an AMI must be in the future")
        ami.deprecation_time = f"{when:%Y-%m-%dT%H:%M:00.000Z}"

    def modify_image_attribute(
        self,
        ami_id: str,
        launch_permissions_to_add: list[dict[str, str]],
        launch_permissions_to_remove: list[dict[str, str]],
    ) -> None:
        """Change the launch permissions of an AMI (ModifyImageAttribute)."""
        self.own_image(ami_id)
        super().modify_image_attribute(ami_id, launch_permissions_to_add, launch_permissions_to_remove)

    def launchable_image(self, image_id: str) -> LocalAmi:
        """Return an AMI that a machine can boot.

        Raises:
            EC2ClientError: the id is missing or unknown, the AMI is not available, or its architecture is unsupported
                (InvalidParameterValue), or what its machines need is not installed (UnsupportedOperation).
        """
        if not image_id:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter ImageId")
        ami = self.get_image(image_id)
        _check_available(ami)
        platform = PLATFORMS.get(str(ami.architecture))
        if platform is None:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"The local EC2 runs machines for {', '.join(PLATFORMS)}; {image_id} is for {ami.architecture}",
            )
        try:
            self.cloud.driver.require_platform(platform)
            if ami.traits.has_secure_boot:
                self.cloud.driver.require_secure_boot(platform)
        except MissingPrerequisiteError as error:
            raise EC2ClientError("UnsupportedOperation", str(error)) from error
        return ami

    def get_snapshot(self, snapshot_id: str) -> LocalSnapshot:
        """Return a snapshot, including a catalog image's."""
        if snapshot_id not in self.snapshots:
            self._offer_catalogue()
        return super().get_snapshot(snapshot_id)

    def described_snapshots(self, snapshot_ids: Sequence[str], owner_ids: Sequence[str]) -> list[LocalSnapshot]:
        """Return snapshots by id, or by owner, including those of the current catalog (DescribeSnapshots)."""
        self._offer_catalogue()
        return super().described_snapshots(snapshot_ids, owner_ids)

    def _named(self, image_ids: list[str]) -> list[LocalAmi]:
        malformed = [image_id for image_id in image_ids if not image_id.startswith("ami-")]
        if malformed:
            raise MalformedAMIIdError(malformed)
        unknown = [image_id for image_id in image_ids if image_id not in self.amis]
        if unknown:
            raise InvalidAMIIdError(unknown)
        return [self.amis[image_id] for image_id in image_ids]

    def _is_hidden(self, ami: LocalAmi) -> bool:
        return ami.is_deprecated and ami.owner_id != self.account_id

    def _may_launch(self, ami: LocalAmi, user: str) -> bool:
        """Return whether an explicit launch permission names the user."""
        if user == "all":
            return ami.is_public
        account = self.account_id if user == "self" else user
        return {"UserId": account} in ami.launch_permissions

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name or ""):
            raise EC2ClientError(
                "InvalidAMIName.Malformed",
                "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', "
                "'[', ']', ' ', '.', '/', '-', ''', '@' and '_'",
            )
        for ami in self.amis.values():
            if ami.name == name and ami.owner_id == self.account_id:
                raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {ami.id}")

    def _offer_catalogue(self) -> None:
        images = {image.image_id: image for image in self.cloud.catalogue.images()}
        for image_id, ami in list(self.amis.items()):
            if isinstance(ami, CatalogueAmi) and image_id not in images:
                del self.amis[image_id]
                for snapshot_id in ami.snapshot_ids:
                    self.snapshots.pop(snapshot_id, None)
        for image_id, image in images.items():
            if image_id not in self.amis and image_id not in self.deleted_amis:
                ami = self.amis[image_id] = CatalogueAmi(self, image)
                if _hides_username(image):
                    ami.add_tags({USERNAME_TAG: image.username})


def _hides_username(image: Image) -> bool:
    """Return whether owner and name of an image do not determine its login user."""
    if image.owner_id == SELF:
        return bool(image.username)
    # Some publishers offer another disk for download than their AMI's.
    return image.source == PULLED and distribution(image.release).known is None


def _adder(batch: list[Request]) -> Submit:
    """Return a function that adds commands to a batch instead of queueing them."""

    def add(command: Command, ended: Ended) -> None:
        batch.append(Request(command, ended))

    return add


def _check_uefi_data(traits: ImageTraits) -> None:
    if traits.uefi_data is None:
        return
    platform = PLATFORMS.get(traits.architecture)
    if platform is None or not platform.has_secure_boot:
        raise EC2ClientError("UnsupportedOperation", f"The local EC2 has no UefiData for {traits.architecture}")
    if traits.boot_mode not in _UEFI_MODES:
        raise EC2ClientError(
            "InvalidParameterCombination", f"UefiData requires one of the boot modes {', '.join(_UEFI_MODES)}"
        )
    try:
        UefiVariables.from_uefi_data(traits.uefi_data)
    except InvalidArgumentError as error:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value for UefiData: {error}") from error


def _check_available(ami: LocalAmi) -> None:
    if ami.state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{ami.id}' is {ami.state}")
