"""EC2: launch instances, find images, manage key pairs, and delete all created resources.

Methods delegate to the collection of their noun: `Instances`, `Images`, `Volumes`, `VPCs`, ...
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pycloudlib.cloud import BaseCloud, ImageType
from pycloudlib.config import ConfigFile, Settings, load_settings
from pycloudlib.created import CreatedResources, check_is_text
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.endpoints import endpoint_in
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.regions import region_names, require_region
from pycloudlib.ec2.api.session import open_session
from pycloudlib.ec2.capture import Capture
from pycloudlib.ec2.fleet import Fleet
from pycloudlib.ec2.images.catalogue import IMAGE_TIMEOUT, Images
from pycloudlib.ec2.images.catalogue import KIND as IMAGE
from pycloudlib.ec2.images.image import Image
from pycloudlib.ec2.images.queries import release_query
from pycloudlib.ec2.images.registration import Registration
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instance_collection import Instances, LaunchOptions
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.poller import Poller
from pycloudlib.ec2.instances.user_data import UserData
from pycloudlib.ec2.key_pairs import KIND as KEY_PAIR
from pycloudlib.ec2.key_pairs import KeyPairDescription, KeyPairs
from pycloudlib.ec2.network.security_groups import SecurityGroup, SecurityGroups
from pycloudlib.ec2.network.vpc_plan import GivenRule, VPCDraft, Zones
from pycloudlib.ec2.storage.notifications import publish
from pycloudlib.ec2.storage.snapshots import Snapshot
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.ec2.storage.volumes import VOLUME_TIMEOUT, Volumes
from pycloudlib.ec2.sweep.deletions import ORDER, command_by_hand
from pycloudlib.ec2.sweep.orphans import Orphan, checked_selection
from pycloudlib.ec2.sweep.retention import keep
from pycloudlib.ec2.sweep.sweep import Sweep, SweepReport
from pycloudlib.ec2.tagging import tag_resources
from pycloudlib.ec2.vpc import CREATE_TIMEOUT, VPC, VPCs
from pycloudlib.errors import InstanceStateError, InvalidArgumentError
from pycloudlib.interrupts import sweep_command
from pycloudlib.key import KeyPair
from pycloudlib.lifecycle import Ledger, UndoOrder, finish_despite_interrupt
from pycloudlib.setting_values import CloudInitFailure, HostKeysMode
from pycloudlib.tags import Ownership, timestamped

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client, EC2ServiceResource
    from mypy_boto3_ec2.service_resource import Instance
    from typing_extensions import Self

logger = logging.getLogger(__name__)

ALL_REGIONS = "all"


class EC2(BaseCloud):
    """Amazon EC2 in one region, or another endpoint that implements its API.

    As a context manager, delete all created resources on exit, and raise CleanupError with everything that could not be
    deleted. After the `with` block, create calls raise IllegalStateError until the object is entered again, since
    nothing would delete their resources. Settings without an argument come from the environment, then the settings
    file, then boto3's own chain.

    Args:
        tag: the name prefix of created resources: lowercase letters, digits, and hyphens; default "pycloudlib".
        timestamp_suffix: whether to append the time and random digits to the tag; default yes.
        config_file: the path of a settings file, or an open text stream; default PYCLOUDLIB_CONFIG, or
            ~/.config/pycloudlib.toml, or /etc/pycloudlib.toml.
        access_key_id: the AWS access key id.
        secret_access_key: the AWS secret access key.
        session_token: the session token of temporary credentials.
        region: the region, such as "eu-central-1".
        profile: a profile of ~/.aws/config.
        endpoint_url: the URL of an endpoint other than AWS's, such as "http://127.0.0.1:4566".
        ttl: seconds after which created resources expire, or a text such as "90m"; default never.
        host_keys: how to verify the host keys of instances: "pinned" (default), "console", or "insecure".

    Raises:
        ConfigError: the settings are invalid; the message names every problem.
        CloudSetupError: the region is missing, or the endpoint is invalid.
        CredentialsError: there are no credentials.
        InvalidTagNameError: the tag cannot be a resource name.
    """

    _type = "ec2"

    def __init__(
        self,
        tag: str = "pycloudlib",
        timestamp_suffix: bool = True,
        config_file: ConfigFile | None = None,
        *,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        ttl: float | str | None = None,
        host_keys: HostKeysMode | None = None,
    ) -> None:
        arguments = {
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
            "session_token": session_token,
            "region": region,
            "profile": profile,
            "endpoint_url": endpoint_url,
            "ttl": ttl,
            "host_keys": host_keys,
        }
        self._set_up(load_settings(config_file, overrides=arguments), tag, timestamp_suffix=timestamp_suffix)

    @classmethod
    def from_settings(cls, settings: Settings, tag: str = "pycloudlib", *, timestamp_suffix: bool = True) -> Self:
        """Open a session with loaded settings.

        Args:
            settings: the result of `load_settings()`.
            tag: the name prefix of created resources: lowercase letters, digits, and hyphens; default "pycloudlib".
            timestamp_suffix: whether to append the time and random digits to the tag; default yes.

        Raises:
            CloudSetupError: the region is missing, or the endpoint is invalid.
            CredentialsError: there are no credentials.
            InvalidTagNameError: the tag cannot be a resource name.
        """
        opened = cls.__new__(cls)
        opened._set_up(settings, tag, timestamp_suffix=timestamp_suffix)
        return opened

    def _set_up(self, settings: Settings, tag: str, *, timestamp_suffix: bool) -> None:
        super().__init__(
            tag,
            timestamp_suffix=timestamp_suffix,
            public_key_path=settings.public_key_path,
            private_key_path=settings.private_key_path,
            key_name=settings.key_name,
        )
        self._settings = settings
        self._session = open_session(settings)
        self._ownership = Ownership.of_this_process(settings.ttl)
        self._ledger = Ledger(self._by_hand)
        self._region_context = RegionContext(
            self.client, self.region, self.tag, self._ownership, self._ledger, self._session
        )
        self._images = Images(self._region_context)
        self._vpcs = VPCs(self._region_context)
        self._key_pairs = KeyPairs(self.client, ledger=self._ledger, ownership=self._ownership, prefix=tag)
        self._instance_context = InstanceContext(
            region_context=self._region_context,
            client=self.client,
            poller=Poller(self.client),
            port=settings.ssh_port,
            host_keys=settings.host_keys,
            boot_timeout=settings.boot_timeout,
            on_deleted=self._ledger.forget,
            cloud_init_failure=settings.cloud_init_failure,
        )
        self._instances = Instances(
            self._instance_context,
            self._images,
            self._key_pairs,
            self._login_key,
            username=settings.username,
            waits=settings.wait_on_launch,
        )
        self._volumes = Volumes(self._region_context)
        self._security_groups = SecurityGroups(self._region_context)
        self._elsewhere: dict[str, Self] = {}
        self._is_cleaned_by_other = False
        self._is_closed = False
        self._lock = threading.Lock()

    def _by_hand(self, kind: str, resource_id: str) -> str:
        kind, _, region = kind.partition(" in ")
        orphan = Orphan(kind, resource_id, region or self.region)
        # The id of a resource from a lost response is unknown, but the resource has its run's tags.
        return command_by_hand(orphan, self._session.endpoint_url) if kind in ORDER else sweep_command()

    def regions(self) -> list[str]:
        """Return the names of the regions that the account can use (DescribeRegions)."""
        return region_names(self.client)

    def in_region(self, name: str) -> Self:
        """Return a session in another region with the same settings, tag, and key; the same object on every call.

        `clean()` of this object also cleans up the other one, which can be cleaned up earlier, also as a context
        manager. An endpoint other than AWS's own is assumed to serve all regions.

        Args:
            name: the region, such as "eu-central-1". This object's own region also gets a separate object.

        Raises:
            InvalidArgumentError: the account cannot use the region; the message suggests the closest one.
        """
        if not isinstance(name, str) or name not in self._elsewhere:
            require_region(self.client, name)
            opened = self._opened_in(name)
            with self._lock:
                # Another thread may have opened the region meanwhile.
                if self._elsewhere.setdefault(name, opened) is opened and self._is_closed:
                    opened._close()
        return self._elsewhere[name]

    def _close(self) -> None:
        """Reject further creations, here and in the other regions."""
        self._ledger.close()
        with self._lock:
            self._is_closed = True
            for elsewhere in self._elsewhere.values():
                elsewhere._close()

    def _reopen(self) -> None:
        """Allow creations again, here and in the other regions."""
        self._ledger.open()
        with self._lock:
            self._is_closed = False
            for elsewhere in self._elsewhere.values():
                elsewhere._reopen()

    def _opened_in(self, region: str) -> Self:
        endpoint_url = endpoint_in(region, here=self.region, endpoint_url=self._settings.endpoint_url)
        settings = replace(self._settings, region=region, endpoint_url=endpoint_url)
        regional_cloud = type(self).from_settings(settings, self.tag, timestamp_suffix=False)
        regional_cloud._is_cleaned_by_other = True
        chosen = self._login_key.chosen
        if chosen is not None:
            # A key pair that was uploaded here does not exist there.
            regional_cloud.key_pair = replace(chosen, name=None) if chosen.name in self._ledger else chosen
        return regional_cloud

    @property
    def region(self) -> str:
        """The name of the region, such as "eu-central-1"."""
        return self._session.region

    @property
    def client(self) -> EC2Client:
        """The boto3 client, for everything that this library does not cover. It raises botocore's exceptions."""
        return self._session.client

    @property
    def resource(self) -> EC2ServiceResource:
        """The boto3 resource, for everything that this library does not cover. It raises botocore's exceptions."""
        return self._session.resource

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings in use, without the secrets."""
        return self._settings.as_mapping()

    @property
    def created_instances(self) -> CreatedResources[EC2Instance]:
        """The instances that `clean()` deletes: launched here and not deleted yet, oldest first.

        Remove an instance from this list to keep it, or append one to have `clean()` delete it.
        """
        return CreatedResources(self._instances.recorded, self._instances.record, self._instances.forget)

    @created_instances.setter
    def created_instances(self, instances: Iterable[EC2Instance]) -> None:
        self.created_instances.replace(instances)

    def launch(
        self,
        image_id: str,
        instance_type: str | None = None,
        user_data: UserData | None = None,
        vpc: VPC | None = None,
        *,
        wait: bool | None = None,
        disk_size_gb: int = 15,
        username: str | None = None,
        enable_ipv6: bool = False,
        keep_on_failure: bool = False,
        cloud_init_failure: CloudInitFailure | None = None,
        **kwargs: Any,
    ) -> EC2Instance:
        """Launch an instance (RunInstances).

        Args:
            image_id: the AMI id.
            instance_type: the instance type; default "t3.micro".
            user_data: user data for cloud-init: text, bytes, or a MIME message of at most 16 KiB; default none. It is
                never logged.
            vpc: a VPC from `get_or_create_vpc()`; default the subnet and security groups in `kwargs`, or the default
                VPC.
            wait: whether to wait until cloud-init is done; default the setting `wait_on_launch`, which defaults to yes.
            disk_size_gb: the size of the root volume in GiB; default 15. The image's size is the minimum.
            username: the login user; default the configured one, that of the image's owner or name, or "ubuntu".
            enable_ipv6: whether to assign an IPv6 address, if the VPC or subnet has an IPv6 block, and to enable the
                metadata service over IPv6; default no.
            keep_on_failure: whether to keep an instance that does not become ready; default no, delete it.
            cloud_init_failure: "raise" or "warn": whether an error of cloud-init raises, or is logged as a warning, in
                this boot and later ones; default the setting of this name, which defaults to "raise".
            **kwargs: parameters of RunInstances. TagSpecifications, MetadataOptions, BlockDeviceMappings, and
                NetworkInterfaces are merged with the library's own; the caller's values take precedence. InstanceType
                and UserData may replace `instance_type` and `user_data`.

        Raises:
            ImageNotFoundError: the AMI does not exist.
            KeyPairNotFoundError: the key pair does not exist in EC2.
            UnsetSSHKeyError: there is no SSH key; the message says how to generate one.
            InvalidArgumentError: an argument is invalid.
            CloudError: EC2 rejected the request.
            BootError: the instance cannot become ready; the error's attribute `instance` holds it.
            BootTimeoutError: the instance was not ready in time.
        """
        options = LaunchOptions(
            image_id,
            instance_type,
            user_data,
            vpc,
            wait,
            disk_size_gb,
            username,
            enable_ipv6,
            keep_on_failure,
            cloud_init_failure,
            kwargs,
        )
        return self._instances.launch(options)

    def launch_many(
        self,
        image_id: str,
        count: int,
        instance_type: str | None = None,
        user_data: UserData | None = None,
        vpc: VPC | None = None,
        *,
        min_count: int | None = None,
        wait: bool | None = None,
        disk_size_gb: int = 15,
        username: str | None = None,
        enable_ipv6: bool = False,
        keep_on_failure: bool = False,
        cloud_init_failure: CloudInitFailure | None = None,
        **kwargs: Any,
    ) -> Fleet:
        """Launch many identical instances with one call (RunInstances).

        Args:
            image_id: the AMI id.
            count: the number of instances, 1 to 1000.
            instance_type: the instance type; default "t3.micro".
            user_data: as for `launch()`.
            vpc: as for `launch()`.
            min_count: the minimum number of instances if EC2 lacks capacity for `count`; with less capacity, none is
                launched. Default `count`.
            wait: whether to wait until cloud-init is done in all instances; default as for `launch()`.
            disk_size_gb: the size of each root volume in GiB; default 15. The image's size is the minimum.
            username: as for `launch()`.
            enable_ipv6: as for `launch()`.
            keep_on_failure: whether to keep the instances if some do not become ready; default no, delete all.
            cloud_init_failure: as for `launch()`.
            **kwargs: as for `launch()`.

        Raises:
            ImageNotFoundError: the AMI does not exist.
            KeyPairNotFoundError: the key pair does not exist in EC2.
            UnsetSSHKeyError: there is no SSH key; the message says how to generate one.
            InvalidArgumentError: an argument is invalid.
            CloudError: EC2 rejected the request; a CapacityError for lack of capacity.
            FleetError: some instances cannot become ready, or were not ready in time; the message names each.
        """
        options = LaunchOptions(
            image_id,
            instance_type,
            user_data,
            vpc,
            wait,
            disk_size_gb,
            username,
            enable_ipv6,
            keep_on_failure,
            cloud_init_failure,
            kwargs,
        )
        return self._instances.launch_many(options, count, min_count)

    def get_instance(self, instance_id: str | Instance | EC2Instance, *, username: str | None = None) -> EC2Instance:
        """Return a handle to an existing instance, which `clean()` deletes only if it was launched here.

        Args:
            instance_id: the id, such as "i-0123456789abcdef0", or a boto3 instance of `ec2.resource`.
            username: the login user; default as for `launch()`.

        Raises:
            InstanceNotFoundError: the instance does not exist.
            InvalidArgumentError: `instance_id` is neither an id nor an instance.
        """
        return self._instances.get(instance_id, username)

    def instances(self, filters: Mapping[str, Any] | None = None, /, **more: Any) -> list[EC2Instance]:
        """Return the account's instances that match (DescribeInstances). EC2 lists terminated ones for about an hour.

        Args:
            filters: values by EC2's filter names, such as {"tag:team": "blue"}; default none.
            **more: `state`, `image`, `type`, `zone`, `vpc`, `subnet`, and `key`, each with one or several values; `tag`
                with values by key, or with keys only; and EC2's filters, with underscores for hyphens. All must match.

        Returns:
            The instances; those launched here are the objects in `created_instances`.

        Raises:
            InvalidArgumentError: a filter is unknown (the message suggests the closest one), or a state is.
            CloudError: EC2 rejected the request.
        """
        return self._instances.find(filters or {}, more)

    @property
    def created_images(self) -> CreatedResources[str]:
        """The ids of the images that `clean()` deletes: created here, in this region, and not deleted yet.

        Remove an image from this list to keep it, or append one to have `clean()` delete it. Oldest first.
        """
        return CreatedResources(partial(self._ledger.ids, IMAGE), self._record_image, self._ledger.forget)

    @created_images.setter
    def created_images(self, image_ids: Iterable[str]) -> None:
        self.created_images.replace(image_ids)

    def _record_image(self, image_id: str) -> None:
        check_is_text("an image id", image_id)
        self._ledger.record(IMAGE, image_id, partial(self._images.delete, image_id), order=UndoOrder.IMAGE)

    def daily_image(
        self,
        release: str,
        *,
        arch: str = "x86_64",
        image_type: ImageType = ImageType.GENERIC,
        include_deprecated: bool = False,
    ) -> str:
        """Return the newest daily image of an Ubuntu or Debian release (DescribeImages).

        Args:
            release: the code name or version number, such as "noble", "24.04", "bookworm", or "12".
            arch: "x86_64" (default) or "arm64".
            image_type: the image type; default GENERIC. Pro types have no dailies: the newest release is returned.
            include_deprecated: whether to include deprecated images; default no.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: no image matches; the message names the filters.
            InvalidArgumentError: the release, the architecture, or the image type is unknown.
        """
        query = release_query(
            release, daily=True, arch=arch, image_type=image_type, include_deprecated=include_deprecated
        )
        return self._images.newest(query).image_id

    def released_image(
        self,
        release: str,
        *,
        arch: str = "x86_64",
        image_type: ImageType = ImageType.GENERIC,
        include_deprecated: bool = False,
    ) -> str:
        """Return the newest released image of an Ubuntu or Debian release (DescribeImages).

        Args:
            release: the code name or version number, such as "noble", "24.04", "bookworm", or "12".
            arch: "x86_64" (default) or "arm64".
            image_type: the image type; default GENERIC.
            include_deprecated: whether to include deprecated images; default no.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: no image matches; the message names the filters.
            InvalidArgumentError: the release, the architecture, or the image type is unknown.
        """
        query = release_query(
            release, daily=False, arch=arch, image_type=image_type, include_deprecated=include_deprecated
        )
        return self._images.newest(query).image_id

    def image_serial(self, image_id: str, image_type: ImageType | None = None) -> str:
        """Return the build serial in an image's name, such as "20240423" or "20240423.1" (DescribeImages).

        Args:
            image_id: the AMI id.
            image_type: the type that the image's name must have; default any.

        Raises:
            ImageNotFoundError: the AMI does not exist, or has another type.
            InvalidArgumentError: the name has no serial, or the image type is unknown.
        """
        return self._images.serial(image_id, image_type)

    def get_image_id_from_name(self, name: str) -> str:
        """Return the newest image of a name, owned by the account, Canonical, Debian, or Amazon (DescribeImages).

        Args:
            name: the name, with the wildcards `*` and `?`.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: no image matches.
        """
        return self._images.named(name).image_id

    def images(
        self,
        *,
        owner: str | Iterable[str] | None = "self",
        include_deprecated: bool = False,
        **filters: object,
    ) -> list[Image]:
        """Return the images that match, oldest first (DescribeImages).

        Args:
            owner: an account id, "self" (default), "amazon", or "aws-marketplace"; several of them; or None for all
                owners, which may return a hundred thousand images.
            include_deprecated: whether to include deprecated images; default no.
            **filters: EC2's filters, with underscores for hyphens: `name="debian-12-*"`, `state="available"`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html
        """
        owners = [owner] if isinstance(owner, str) else owner or ()
        descriptions = self._images.find(owners, filters, include_deprecated=include_deprecated)
        return [Image(description, self._images) for description in descriptions]

    def image(self, image_id: str) -> Image:
        """Return a handle to an existing image, which `clean()` does not delete (DescribeImages).

        Args:
            image_id: the AMI id, such as "ami-0123456789abcdef0".

        Raises:
            ImageNotFoundError: the AMI does not exist.
        """
        return Image(self._images.describe(image_id), self._images)

    def snapshot(
        self,
        instance: EC2Instance | str,
        clean: bool = True,
        *,
        name: str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        wait: bool = True,
        timeout: float = IMAGE_TIMEOUT,
    ) -> str:
        """Create an image of an instance and all of its volumes (CreateImage).

        The instance is stopped for the image, and started again while EC2 still creates it. A stopped instance remains
        stopped. `clean()` of this object deletes the image and its snapshots.

        Args:
            instance: the instance, or its id.
            clean: whether to call `instance.clean()` first, so that instances of the image run their first boot;
                default yes. The instance itself then also runs a first boot when it starts again.
            name: the name, unique among the account's images; default the tag and the time.
            description: the description, at most 255 characters; default none.
            tags: further tags of the image and its snapshots; default none.
            wait: whether to wait until the image is available and the instance is ready again; default yes.
            timeout: seconds for all of it: cleaning, stopping, the image, and the next boot of the instance; default
                3600. Stopping and booting also end after the instance's `stop_timeout` and `boot_timeout`.

        Returns:
            The AMI id.

        Raises:
            InvalidArgumentError: an argument is invalid.
            InstanceStateError: the instance is neither running nor stopped, or it is stopped and `clean` is true.
            IllegalStateError: the image failed; the message has EC2's reason. The image is deleted.
            PycloudlibTimeoutError: the image was not available in time. The image is deleted, at the latest by
                `clean()`. The instance is started again, unless it is not stopped within another 10 seconds.
            InstanceError: the instance did not become ready again in time; the image remains.
            PycloudlibError: `instance.clean()` failed, or EC2 rejected the request.
        """
        name = timestamped(self.tag) if name is None else name
        capture = Capture(name, description, tags, clean=clean, wait=wait, timeout=timeout)
        source_instance = self.get_instance(instance) if isinstance(instance, str) else instance
        return capture.of(source_instance, self._images)

    def register_image(
        self,
        snapshot_id: Snapshot | str,
        name: str,
        *,
        description: str = "",
        architecture: str = "x86_64",
        root_device_name: str = "/dev/xvda",
        ena: bool = True,
        boot_mode: str | None = None,
        uefi_data: str | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: float = IMAGE_TIMEOUT,
    ) -> str:
        """Create an image from the snapshot of a root volume (RegisterImage).

        `clean()` deletes the image, and the snapshot only if it was also created here.

        Args:
            snapshot_id: the snapshot, or its id; it must be completed.
            name: the name, unique among the account's images.
            description: the description, at most 255 characters; default none.
            architecture: "x86_64" (default), "arm64", or "i386".
            root_device_name: the root device; default "/dev/xvda".
            ena: whether the guest supports the Elastic Network Adapter, as every recent one does; default yes.
            boot_mode: "legacy-bios", "uefi", or "uefi-preferred"; default the architecture's default.
            uefi_data: the UEFI variable store in AWS's format, in base64; with a platform key, instances have Secure
                Boot. It needs UEFI as the boot mode. Default an empty store.
            tags: further tags; default none.
            timeout: seconds until the image must be available; default 3600.

        Returns:
            The AMI id.

        Raises:
            NoResponseError: EC2 did not respond in time. `clean()` deletes the image.
            InvalidArgumentError: an argument is invalid.
            ResourceNotFoundError: the snapshot does not exist.
            IllegalStateError: the snapshot is not completed, or the image failed.
            CloudError: EC2 rejected the request; for example, the name is taken.
        """
        registration = Registration(
            name,
            description,
            architecture=architecture,
            root_device_name=root_device_name,
            ena=ena,
            boot_mode=boot_mode,
            uefi_data=uefi_data,
            tags=tags,
            timeout=timeout,
        )
        return registration.of(snapshot_id, self._images)

    def delete_image(self, image_id: str) -> None:
        """Delete an image and its snapshots (DeregisterImage, DeleteSnapshot). No-op if it is deleted.

        Snapshots that another image of the account uses are kept. Instances of the image keep running.

        Args:
            image_id: the AMI id.

        Raises:
            ImageNotFoundError: `image_id` is not an AMI id.
            CloudError: EC2 rejected the request.
            CleanupError: some snapshots could not be deleted.
        """
        self._images.delete(image_id)

    image_delete = delete_image

    def volumes(self, **filters: object) -> list[Volume]:
        """Return the volumes that match, sorted by id (DescribeVolumes).

        Args:
            **filters: EC2's filters, with underscores for hyphens: `status="available"`, `size=[8, 16]`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html
        """
        return [Volume(description, self._volumes) for description in self._volumes.find(filters)]

    def volume(self, volume_id: str) -> Volume:
        """Return a handle to an existing volume, which `clean()` does not delete (DescribeVolumes).

        Args:
            volume_id: the id, such as "vol-0123456789abcdef0".

        Raises:
            ResourceNotFoundError: the volume does not exist.
        """
        return Volume(self._volumes.describe(volume_id), self._volumes)

    def create_volume(
        self,
        size_gb: int | None = None,
        drive_type: str = "gp2",
        *,
        zone: str | None = None,
        iops: int | None = None,
        snapshot_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Volume:
        """Create a detached volume, which `clean()` deletes (CreateVolume).

        Args:
            size_gb: the size in GiB; default the size of the snapshot.
            drive_type: "gp2" (default), "gp3", "io1", "io2", "st1", "sc1", or "standard".
            zone: the availability zone; default the region's first.
            iops: I/O operations per second, for gp3, io1, and io2; default the minimum of the type.
            snapshot_id: the snapshot with the initial contents; default none, an empty volume.
            tags: further tags; default none.
            wait: whether to wait until the volume is available; default yes.

        Raises:
            InvalidArgumentError: an argument is invalid.
            IllegalStateError: the snapshot is not completed, or the volume failed.
            CloudError: EC2 rejected the request.
        """
        volume_id = self._volumes.create(
            zone=zone or self._volumes.first_zone(),
            size_gb=size_gb,
            drive_type=drive_type,
            iops=iops,
            snapshot_id=snapshot_id,
            tags=tags,
        )
        if wait:
            available = self._volumes.wait_until_available(volume_id, Deadline.after(VOLUME_TIMEOUT))
            return Volume(available, self._volumes)
        return self.volume(volume_id)

    def snapshots(self, **filters: object) -> list[Snapshot]:
        """Return the account's own snapshots that match, sorted by id (DescribeSnapshots).

        Args:
            **filters: EC2's filters, with underscores for hyphens: `volume_id="vol-1"`, `status="completed"`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html
        """
        return self._volumes.snapshots.find(filters)

    def notify(self, topic_arn: str, subject: str, message: str) -> str:
        """Publish a message to an SNS topic (SNS Publish).

        Args:
            topic_arn: the ARN of the topic, in any region, such as "arn:aws:sns:eu-central-1:123456789012:builds".
            subject: the subject line of emails: 1 to 100 printable ASCII characters.
            message: the message: 1 byte to 256 KiB of UTF-8.

        Returns:
            The message id.

        Raises:
            InvalidArgumentError: an argument is invalid.
            ResourceNotFoundError: the topic does not exist.
            CloudError: SNS rejected the request.
        """
        return publish(self._session, topic_arn, subject, message)

    @property
    def created_vpcs(self) -> CreatedResources[VPC]:
        """The VPCs that `clean()` deletes: created here and not deleted yet, oldest first.

        Remove a VPC from this list to keep it, or append one to have `clean()` delete it.
        """
        return CreatedResources(self._vpcs.created, self._vpcs.record, self._vpcs.forget)

    @created_vpcs.setter
    def created_vpcs(self, vpcs: Iterable[VPC]) -> None:
        self.created_vpcs.replace(vpcs)

    def get_or_create_vpc(
        self,
        name: str,
        ipv4_cidr: str = "192.168.1.0/20",
        *,
        ingress: Iterable[GivenRule] = (),
        zones: Zones = None,
        timeout: float = CREATE_TIMEOUT,
    ) -> VPC:
        """Return the VPC of a name, or create one with IPv4, IPv6, and a route to the internet (CreateVpc).

        A new VPC's security group allows SSH from the setting `ssh_cidr` (default anywhere), ICMP, and all traffic
        between members. Instances get public addresses. `clean()` deletes the VPC if it was created here. An existing
        VPC is not changed: the other arguments apply to a new one only. If processes race to create VPCs of the same
        name, or several exist, all processes get the oldest.

        Args:
            name: the tag "Name", and the name of the security group.
            ipv4_cidr: the IPv4 CIDR block, /16 to /28. Host bits are cleared, so the default is 192.168.0.0/20.
            ingress: further ingress rules, each a `Rule` or a tuple (protocol, from_port, to_port, source); default
                none.
            zones: the availability zones with subnets: "all", a list, or a dict of CIDR blocks by zone; default one
                subnet in the first zone.
            timeout: seconds, including waits for another process to complete a VPC of this name; default 300.

        Raises:
            InvalidArgumentError: an argument is invalid. Nothing was created.
            IllegalStateError: the VPC of this name remained incomplete, for example after a crash of its creator; the
                message has the creator's run, and how to delete the VPC.
            NoResponseError: EC2 did not respond in time. `clean()` deletes the resources created until then.
            PycloudlibTimeoutError: the VPC was not created in time. `clean()` deletes its remaining resources.
            CapacityError: the account has reached its limit of VPCs.
            CloudError: EC2 rejected a request; everything created was deleted.
        """
        draft = VPCDraft.of(
            name,
            ipv4_cidr,
            ingress,
            zones,
            ssh_cidr=self._settings.ssh_cidr,
            ssh_port=self._settings.ssh_port,
        )
        vpc = self._vpcs.get_or_create(draft, Deadline.after(timeout))
        logger.info("using the VPC %s: %s with %s", name, vpc.id, vpc.ipv4_cidr)
        return vpc

    def security_groups(self, **filters: object) -> list[SecurityGroup]:
        """Return the security groups of the account in this region, sorted by name (DescribeSecurityGroups).

        Args:
            **filters: EC2's filters, with underscores for hyphens: `group_name="web"`, `vpc_id=vpc.id`,
                `tag={"team": "blue"}`; a list matches any of its values. Default all groups.
        """
        return self._security_groups.find(filters)

    def create_security_group(
        self,
        name: str,
        description: str,
        vpc: VPC | str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> SecurityGroup:
        """Create a security group, which allows all outbound and no inbound traffic (CreateSecurityGroup).

        `clean()` deletes the group.

        Args:
            name: the name, unique in its VPC.
            description: the description.
            vpc: the VPC, or its id; default the default VPC.
            tags: further tags; default none.

        Raises:
            InvalidArgumentError: an argument is invalid.
            CloudError: EC2 rejected the request; for example, the name is taken.
        """
        vpc_id = vpc.id if isinstance(vpc, VPC) else vpc
        return self._security_groups.create(name, description, vpc_id=vpc_id, tags=tags)

    @property
    def created_keys(self) -> CreatedResources[str]:
        """The names of the key pairs that `clean()` deletes from EC2: uploaded here and not deleted yet.

        Remove a key pair from this list to keep it, or append one to have `clean()` delete it. Oldest first.
        """
        return CreatedResources(partial(self._ledger.ids, KEY_PAIR), self._record_key, self._ledger.forget)

    @created_keys.setter
    def created_keys(self, names: Iterable[str]) -> None:
        self.created_keys.replace(names)

    def _record_key(self, name: str) -> None:
        check_is_text("the name of a key pair", name)
        self._ledger.record(KEY_PAIR, name, partial(self._key_pairs.delete, name), order=UndoOrder.KEY_PAIR)

    def list_keys(self) -> list[str]:
        """Return the names of all key pairs of the account in this region (DescribeKeyPairs)."""
        return self._key_pairs.names()

    def key_pairs(self) -> list[KeyPairDescription]:
        """Return all key pairs of the account in this region, with their fingerprints (DescribeKeyPairs)."""
        return self._key_pairs.all()

    def upload_key(
        self,
        public_key_path: str | PathLike[str],
        private_key_path: str | PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Import a public key (ImportKeyPair), and use the key pair for all further launches.

        `clean()` deletes the key pair from EC2, unless it existed before.

        Args:
            public_key_path: the public key, or a `.pem` file with both keys.
            private_key_path: the private key; default the public key's path without ".pub".
            name: the name of the key pair in EC2; default the tag.

        Raises:
            KeyPairError: the key is unusable, or EC2 has another key under the name.
        """
        key_pair = KeyPair.load(public_key_path, private_key_path, name or self.tag)
        self._key_pairs.upload(key_pair, name or self.tag)
        self.key_pair = key_pair

    def delete_key(self, name: str) -> None:
        """Delete a key pair from EC2 (DeleteKeyPair). No-op if it does not exist.

        Args:
            name: the name of the key pair in EC2.
        """
        self._key_pairs.delete(name)
        chosen = self._login_key.chosen
        if chosen is not None and chosen.name == name:
            self.key_pair = replace(chosen, name=None)

    def tag_resources(self, ids: str | Iterable[str], tags: Mapping[str, str]) -> None:
        """Tag resources of any type, up to 1000 per call, replacing existing values (CreateTags).

        Args:
            ids: the ids of instances, volumes, images, snapshots, VPCs, and so on.
            tags: at most 45 tags (44 with a `ttl`), whose keys must not begin with "aws:" or "pycloudlib:".

        Raises:
            InvalidArgumentError: an id or a tag is invalid; nothing was tagged.
            ResourceNotFoundError: a resource does not exist.
        """
        tag_resources(self._region_context, ids, tags)

    def sweep(
        self,
        *,
        older_than: float | None = None,
        run: str | None = None,
        owner: str | None = None,
        expired: bool = False,
        dry_run: bool = True,
        regions: str | Iterable[str] | None = None,
    ) -> SweepReport:
        """Find resources that runs of this library left behind, and delete them unless `dry_run`.

        The sweep selects resources by this library's tags, and never deletes untagged ones. It skips this process's own
        resources unless `run` names them, and resources attached to an instance that remains. (Describe and Delete
        actions of each resource type)

        Args:
            older_than: the minimum age in seconds; default any age.
            run: the tag "pycloudlib:run", or a prefix of it; default any run but this process's.
            owner: the tag "pycloudlib:owner"; default this user on this host; "any" for all owners.
            expired: whether to select only resources past their expiry time; default no.
            dry_run: whether to find resources without deleting them; default yes.
            regions: names of regions, or "all" for all that the account can use; default this object's own.

        Returns:
            The found, deleted, and remaining resources; each remaining one has the reason and the command to delete it.

        Raises:
            InvalidArgumentError: an argument is invalid, or the account cannot use a region.
            CloudSetupError: EC2 is not reachable, or rejects the credentials.
        """
        selection = checked_selection(
            self._ownership.tags(self.tag), older_than=older_than, run=run, owner=owner, expired=expired
        )
        if not isinstance(dry_run, bool):
            raise InvalidArgumentError(f"dry_run is {dry_run!r}; it must be True or False")
        return Sweep(self._contexts_in(regions), selection, self._ownership.now()).run(dry_run=dry_run)

    def _contexts_in(self, regions: str | Iterable[str] | None) -> list[RegionContext]:
        if regions is None:
            return [self._region_context]
        region_names = (
            self.regions() if regions == ALL_REGIONS else [regions] if isinstance(regions, str) else list(regions)
        )
        if not region_names:
            raise InvalidArgumentError("there are no regions to search")
        return [
            self._region_context if name == self.region else self.in_region(name)._region_context
            for name in dict.fromkeys(region_names)
        ]

    def keep(self, instance: EC2Instance) -> str:
        """Keep an instance, its attached resources, and the VPC that was created for it here (CreateTags).

        `clean()` and a sweep of this run do not delete them, because they move to a run of their own. Their expiry time
        remains. EC2's key pair is deleted, which does not prevent logins.

        Args:
            instance: an instance launched here.

        Returns:
            The new run: `sweep(run=..., owner="any", dry_run=False)` deletes its resources.

        Raises:
            InvalidArgumentError: `instance` is not an EC2Instance.
            InstanceStateError: the instance is deleted, possibly by `clean()` in another thread.
            CloudError: EC2 rejected the request; the instance is not kept.
        """
        if not isinstance(instance, EC2Instance):
            raise InvalidArgumentError(f"{instance!r} is not an instance from launch() or get_instance()")
        run = keep(self._region_context, instance.id)
        # Afterward: clean() in another thread may have been faster.
        state = instance.state
        if state.is_ending:
            message = f"{instance.id} cannot be kept: it is {state}"
            raise InstanceStateError(message, instance_id=instance.id, state=str(state))
        return run

    def leave_to_sweep(self, resource_id: str) -> None:
        """Exempt a resource that was created here from `clean()`, but not from a sweep.

        Args:
            resource_id: the id of an instance, an image, and so on. No-op if the id is not recorded here.
        """
        self._ledger.forget(resource_id)

    def clean(self) -> list[Exception]:
        """Delete everything created here and in the regions of `in_region()`: instances first, in parallel.

        Errors do not stop the cleanup; the next call tries the remaining resources again. While `clean()` runs, create
        calls of other threads raise IllegalStateError. A create call in flight is awaited for up to 120 s, and its
        resources are deleted too. Afterward the object can be used again, except after its `with` block; see EC2.

        Returns:
            The errors, each naming its resource; empty if everything is deleted.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; raised once everything is deleted. A second Ctrl-C aborts
                immediately.
        """
        errors: list[Exception] = []
        caller = threading.get_ident()
        try:
            finish_despite_interrupt(lambda: self._clean_everywhere(errors, caller))
        except KeyboardInterrupt:
            # The exception replaces the returned list.
            for error in errors:
                logger.error("could not delete %s", error)
            raise
        return errors

    def _clean_everywhere(self, errors: list[Exception], caller: int) -> None:
        with ExitStack() as afterwards:
            # Clean the other regions even if this one fails.
            for elsewhere in list(self._elsewhere.values()):
                afterwards.callback(elsewhere._clean_everywhere, errors, caller)
            errors += self._clean_here(caller)

    def _clean_here(self, caller: int) -> list[Exception]:
        with ExitStack() as watching:
            # Poll all instances together.
            for instance in self.created_instances:
                watching.enter_context(self._instance_context.poller.watching(instance.id))
            try:
                self._instances.terminate_recorded()
            finally:
                errors = self._ledger.undo_all(caller=caller)
        return errors

    def __enter__(self) -> Self:
        self._reopen()
        return super().__enter__()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_cleaned_by_other:
            # Before clean(): prevent other threads from creating resources after it.
            self._close()
        super().__exit__(exception_type, exception, traceback)
