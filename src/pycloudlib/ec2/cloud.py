"""EC2: launch instances, find images, manage keys, and delete what was created."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from pycloudlib.cloud import BaseCloud, ImageType
from pycloudlib.config import ConfigFile, load_settings
from pycloudlib.ec2.faults import translated
from pycloudlib.ec2.images import DEFAULT_USERNAME, Images, release_query
from pycloudlib.ec2.instance import Access, EC2Instance
from pycloudlib.ec2.key_pairs import KIND as KEY_PAIR
from pycloudlib.ec2.key_pairs import KeyPairs
from pycloudlib.ec2.poller import InstanceDescription, Poller
from pycloudlib.ec2.run_request import RunRequest, check_user_data, checked_parameters
from pycloudlib.ec2.session import open_session
from pycloudlib.errors import (
    ImageNotFoundError,
    InstanceError,
    InstanceNotFoundError,
    InvalidArgumentError,
    PycloudlibError,
    UnsetSSHKeyError,
)
from pycloudlib.key import KeyPair
from pycloudlib.lifecycle import Ledger, UndoOrder
from pycloudlib.tags import Ownership

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client, EC2ServiceResource

logger = logging.getLogger(__name__)

INSTANCE = "instance"

TERMINATED_AT_ONCE = 100
"""Instances in one TerminateInstances."""


class EC2(BaseCloud):
    """Amazon EC2, in one region, or whatever speaks its API at another endpoint.

    As a context manager it deletes in the end what it created, and raises CleanupError with everything that it could
    not delete. What the arguments leave open, the environment says, then the settings file, then boto3's own chain.

    Args:
        tag: names what is created: lower-case letters, digits and hyphens; default "pycloudlib".
        timestamp_suffix: whether the time and some random digits are added to the tag; default yes.
        config_file: a settings file: its path, or an open text stream; default PYCLOUDLIB_CONFIG, or
            ~/.config/pycloudlib.toml, or /etc/pycloudlib.toml.
        access_key_id: the AWS access key.
        secret_access_key: the secret that belongs to it.
        session_token: of temporary credentials.
        region: such as "eu-central-1".
        profile: a profile of ~/.aws/config.
        endpoint_url: where EC2 is, when it is not AWS's own; such as "http://127.0.0.1:4566".

    Raises:
        ConfigError: the settings cannot be used; with every problem found.
        CloudSetupError: no region, or no valid endpoint.
        CredentialsError: no credentials.
        InvalidTagNameError: the tag cannot name resources.
    """

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
    ) -> None:
        arguments = {
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
            "session_token": session_token,
            "region": region,
            "profile": profile,
            "endpoint_url": endpoint_url,
        }
        settings = load_settings(config_file, overrides=arguments)
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
        self._ledger = Ledger()
        self._images = Images(self.client)
        self._key_pairs = KeyPairs(self.client, ledger=self._ledger, ownership=self._ownership, prefix=tag)
        self._access = Access(
            client=self.client,
            poller=Poller(self.client),
            port=settings.ssh_port,
            host_keys=settings.host_keys,
            boot_timeout=settings.boot_timeout,
            on_deleted=self._ledger.forget,
        )
        self._instances: dict[str, EC2Instance] = {}
        self._lock = threading.Lock()

    @property
    def region(self) -> str:
        """The name of the region, such as "eu-central-1"."""
        return self._session.region

    @property
    def client(self) -> EC2Client:
        """The plain boto3 client, for whatever this library does not cover. Its errors are botocore's."""
        return self._session.client

    @property
    def resource(self) -> EC2ServiceResource:
        """The plain boto3 service resource, for whatever this library does not cover. Its errors are botocore's."""
        return self._session.resource

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings in use, without the secrets."""
        return self._settings.as_mapping()

    @property
    def created_instances(self) -> list[EC2Instance]:
        """The instances that were launched here and are not deleted yet, oldest first."""
        return [self._instances[instance_id] for instance_id in self._ledger.ids(INSTANCE)]

    @property
    def created_keys(self) -> list[str]:
        """The names of the key pairs that were uploaded here and are not deleted yet, oldest first."""
        return self._ledger.ids(KEY_PAIR)

    # Instances

    def launch(
        self,
        image_id: str,
        instance_type: str = "t3.micro",
        user_data: str | bytes | None = None,
        *,
        wait: bool = True,
        disk_size_gb: int = 15,
        username: str | None = None,
        enable_ipv6: bool = False,
        keep_on_failure: bool = False,
        **kwargs: Any,
    ) -> EC2Instance:
        """Launch an instance (RunInstances).

        Args:
            image_id: the AMI.
            instance_type: default "t3.micro".
            user_data: for cloud-init, at most 16 KiB; default none. It is never logged.
            wait: whether to wait until cloud-init is done; default yes.
            disk_size_gb: GiB of the root volume, or as many as the image needs; default 15.
            username: who logs in; default the configured one, or the one that the image's owner or name tells, or
                "ubuntu".
            enable_ipv6: whether the metadata service answers over IPv6 too. An address comes from the subnet:
                `Ipv6AddressCount=1`.
            keep_on_failure: whether an instance that never becomes ready is left as it is; default: it is deleted.
            **kwargs: parameters of RunInstances. Tags, MetadataOptions and BlockDeviceMappings are merged with the
                library's own, in which the caller's values win.

        Raises:
            ImageNotFoundError: there is no such AMI.
            KeyPairNotFoundError: there is no such key pair in EC2.
            UnsetSSHKeyError: there is no SSH key; says how to make one.
            InvalidArgumentError: an argument that EC2 would refuse.
            CloudError: EC2 refused.
            BootError: the instance will never be ready; it is in the error's attribute `instance`.
            BootTimeoutError: it was not ready in time.
        """
        more = checked_parameters(self.client, kwargs)
        check_user_data(user_data)
        image = self._images.get(image_id)
        request = RunRequest(image, instance_type, self.tag, user_data, disk_size_gb, enable_ipv6, more)
        parameters = request.parameters(self._ownership)
        key_pair = self._key_pair_for_launch(more, wait=wait)
        if key_pair is not None and "KeyName" not in more:
            parameters["KeyName"] = self._key_pairs.name_for_launch(key_pair)
        with translated():
            record = self.client.run_instances(**parameters)["Instances"][0]
        instance = self._record_launched(record, self._username(username, image.username), key_pair)
        if wait:
            self._wait_or_delete(instance, keep_on_failure=keep_on_failure)
        return instance

    def get_instance(self, instance_id: str, *, username: str | None = None) -> EC2Instance:
        """Give an instance that exists already; clean() leaves it alone.

        Args:
            instance_id: such as "i-0123456789abcdef0".
            username: who logs in; default as for launch().

        Raises:
            InstanceNotFoundError: there is none.
        """
        created = self._instances.get(instance_id)
        if created is not None and username in (None, created.username):
            return created
        description = self._access.poller.describe(instance_id)
        if description is None:
            raise InstanceNotFoundError(
                f"no instance {instance_id!r} in {self.region}",
                resource_id=instance_id,
                operation="DescribeInstances",
            )
        images_user = None if username or self._settings.username else self._username_of_image(description.image_id)
        return EC2Instance(
            description,
            self._access,
            username=self._username(username, images_user),
            key_pair=self._key_pair_if_any(),
        )

    # Images

    def daily_image(
        self,
        release: str,
        *,
        arch: str = "x86_64",
        image_type: ImageType = ImageType.GENERIC,
        include_deprecated: bool = False,
    ) -> str:
        """Find the newest daily image of an Ubuntu or Debian release (DescribeImages).

        Args:
            release: code name or version number, such as "noble", "24.04", "bookworm" or "12".
            arch: "x86_64" or "arm64".
            image_type: default GENERIC. The Pro images have no daily builds: the newest released one is given.
            include_deprecated: whether images past their date of deprecation are found; default no.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: there is none; names the filters used.
            InvalidArgumentError: no such release, architecture, or type of image.
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
        """Find the newest released image of an Ubuntu or Debian release (DescribeImages).

        Args:
            release: code name or version number, such as "noble", "24.04", "bookworm" or "12".
            arch: "x86_64" or "arm64".
            image_type: default GENERIC.
            include_deprecated: whether images past their date of deprecation are found; default no.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: there is none; names the filters used.
            InvalidArgumentError: no such release, architecture, or type of image.
        """
        query = release_query(
            release, daily=False, arch=arch, image_type=image_type, include_deprecated=include_deprecated
        )
        return self._images.newest(query).image_id

    def image_serial(self, image_id: str) -> str:
        """Tell the day on which an image was built, as its name says: "20240423", "20240423.1".

        Args:
            image_id: the AMI.

        Raises:
            ImageNotFoundError: there is no such AMI.
            InvalidArgumentError: its name tells no day.
        """
        image = self._images.get(image_id)
        if image.serial is None:
            raise InvalidArgumentError(f"the name of {image_id} tells no serial: {image.name!r}")
        return image.serial

    def get_image_id_from_name(self, name: str) -> str:
        """Find the newest image of a name, among one's own and those of Canonical, Debian and Amazon.

        Args:
            name: the name; `*` and `?` stand for any characters and any one character.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: there is none.
        """
        return self._images.named(name).image_id

    # Keys

    def list_keys(self) -> list[str]:
        """List the names of all key pairs of the account in this region (DescribeKeyPairs)."""
        return self._key_pairs.names()

    def upload_key(
        self,
        public_key_path: str | PathLike[str],
        private_key_path: str | PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Let EC2 know a public key (ImportKeyPair), and reach the instances launched from now on with it.

        clean() deletes it from EC2 again, unless EC2 had it before.

        Args:
            public_key_path: the public key; or one `.pem` file for both keys.
            private_key_path: the private key; default the public key's path without ".pub".
            name: its name in EC2; default the tag.

        Raises:
            KeyPairError: the key cannot be used, or EC2 has another one under that name.
        """
        key_pair = KeyPair.load(public_key_path, private_key_path, name or self.tag)
        self._key_pairs.upload(key_pair, name or self.tag)
        self.key_pair = key_pair

    def delete_key(self, name: str) -> None:
        """Let EC2 forget a key pair (DeleteKeyPair); one that it does not know is no error.

        Args:
            name: its name in EC2.
        """
        self._key_pairs.delete(name)
        if self._key_pair is not None and self._key_pair.name == name:
            self.key_pair = replace(self._key_pair, name=None)

    # The end

    def clean(self) -> list[Exception]:
        """Delete everything that was created here, instances first, in parallel.

        Everything is tried, whatever fails; what could not be deleted is tried again by the next call.

        Returns:
            What went wrong, each naming its resource; empty when nothing is left.
        """
        with ExitStack() as watching:
            # So that every question about one of them is answered for all of them.
            for instance in self.created_instances:
                watching.enter_context(self._access.poller.watching(instance.id))
            try:
                self._terminate_together()
            finally:
                # Ctrl-C during the one call for all must not leave everything behind.
                errors = self._ledger.undo_all()
        return errors

    def _terminate_together(self) -> None:
        """Spare a hundred instances a hundred calls. Where one call for all fails, each is deleted by itself."""
        instances = self.created_instances
        for start in range(0, len(instances), TERMINATED_AT_ONCE):
            some = instances[start : start + TERMINATED_AT_ONCE]
            try:
                with translated():
                    self.client.terminate_instances(InstanceIds=[instance.id for instance in some])
            except PycloudlibError as error:
                logger.debug("terminating %d instances one by one: %s", len(some), error)
                continue
            for instance in some:
                instance.note_deletion()

    def _record_launched(self, record: Mapping[str, Any], username: str, key_pair: KeyPair | None) -> EC2Instance:
        description = InstanceDescription.of(record)
        instance = EC2Instance(description, self._access, username=username, key_pair=key_pair, launched=True)
        self._instances[instance.id] = instance
        self._ledger.record(INSTANCE, instance.id, instance.delete, order=UndoOrder.INSTANCE)
        logger.info("launched %s from %s", instance.id, instance.image_id)
        return instance

    def _wait_or_delete(self, instance: EC2Instance, *, keep_on_failure: bool) -> None:
        try:
            instance.wait()
        except BaseException as error:
            # Ctrl-C too: nobody but this method knows the instance yet.
            if isinstance(error, InstanceError):
                error.instance = instance
            if not keep_on_failure:
                self._delete_failed(instance)
            raise

    def _delete_failed(self, instance: EC2Instance) -> None:
        for error in instance.delete(wait=False):
            logger.error("%s was not deleted and is left to clean(): %s", instance.id, error)

    def _key_pair_for_launch(self, parameters: Mapping[str, Any], *, wait: bool) -> KeyPair | None:
        # Without a key nobody can log in, and EC2 needs one to put in, unless it is told by name.
        return self.key_pair if wait or "KeyName" not in parameters else self._key_pair_if_any()

    def _key_pair_if_any(self) -> KeyPair | None:
        try:
            return self.key_pair
        except UnsetSSHKeyError:
            return None

    def _username(self, argument: str | None, images_user: str | None) -> str:
        return argument or self._settings.username or images_user or DEFAULT_USERNAME

    def _username_of_image(self, image_id: str) -> str | None:
        try:
            return self._images.get(image_id).username
        except ImageNotFoundError:
            # The image of an instance may be deregistered while the instance lives on.
            return None
