"""The base of EC2's public methods: settings, session, and ledger of created resources."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pycloudlib.cloud import BaseCloud
from pycloudlib.config import ConfigFile, Settings, load_settings
from pycloudlib.ec2.api.endpoints import endpoint_in
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.regions import region_names, require_region
from pycloudlib.ec2.api.session import open_session
from pycloudlib.ec2.images.catalogue import Images
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.poller import Poller
from pycloudlib.ec2.key_pairs import KeyPairs
from pycloudlib.ec2.sweep.deletions import ORDER, command_by_hand
from pycloudlib.ec2.sweep.orphans import Orphan
from pycloudlib.ec2.vpc import VPCs
from pycloudlib.interrupts import sweep_command
from pycloudlib.lifecycle import Ledger
from pycloudlib.setting_values import HostKeysMode
from pycloudlib.tags import Ownership

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client, EC2ServiceResource
    from typing_extensions import Self


class Facade(BaseCloud):
    """A session with EC2, and the ledger of resources that it created."""

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
        self._instances: dict[str, EC2Instance] = {}
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
        there = type(self).from_settings(settings, self.tag, timestamp_suffix=False)
        there._is_cleaned_by_other = True
        if self._key_pair is not None:
            # A key pair that was uploaded here does not exist there.
            uploaded = self._key_pair.name in self._ledger
            there.key_pair = replace(self._key_pair, name=None) if uploaded else self._key_pair
        return there

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
