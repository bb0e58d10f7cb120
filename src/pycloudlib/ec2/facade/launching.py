"""Launches of one or many instances."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pycloudlib import progress
from pycloudlib.created import CreatedResources
from pycloudlib.deadline import SYSTEM_CLOCK
from pycloudlib.ec2.api.creating import CreateRequest, create_several
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.fleet import Fleet, terminate_together
from pycloudlib.ec2.images.catalogue import DEFAULT_USERNAME
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.cloud_init_failure import checked_cloud_init_failure
from pycloudlib.ec2.instances.poller import InstanceDescription
from pycloudlib.ec2.instances.run_network import choose_network
from pycloudlib.ec2.instances.run_request import (
    DEFAULT_INSTANCE_TYPE,
    RunRequest,
    check_arguments,
    check_count,
    checked_parameters,
    with_own_spellings,
)
from pycloudlib.ec2.instances.user_data import UserData, checked_user_data
from pycloudlib.ec2.vpc import VPC
from pycloudlib.errors import FleetError, InvalidArgumentError, PycloudlibError, UnsetSSHKeyError
from pycloudlib.guest.expiry import with_expiry
from pycloudlib.key import KeyPair
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.setting_values import CloudInitFailure

logger = logging.getLogger(__name__)

INSTANCE = "instance"


@dataclass(frozen=True)
class _Wanted:
    """The common arguments of `launch()` and `launch_many()`."""

    image_id: str
    instance_type: str | None
    user_data: UserData | None
    vpc: VPC | None
    wait: bool | None
    disk_size_gb: int
    username: str | None
    enable_ipv6: bool
    keep_on_failure: bool
    cloud_init_failure: CloudInitFailure | None
    more: Mapping[str, Any]


class LaunchCalls(Facade):
    """The methods that launch instances."""

    @property
    def created_instances(self) -> CreatedResources[EC2Instance]:
        """The instances that `clean()` deletes: launched here and not deleted yet, oldest first.

        Remove an instance from this list to keep it, or append one to have `clean()` delete it.
        """
        return CreatedResources(self._recorded_instances, self._record_instance, self._forget_instance)

    @created_instances.setter
    def created_instances(self, instances: Iterable[EC2Instance]) -> None:
        self.created_instances.replace(instances)

    def _recorded_instances(self) -> list[EC2Instance]:
        # The ledger records an instance just before its object exists.
        ids = self._ledger.ids(INSTANCE)
        return [self._instances[instance_id] for instance_id in ids if instance_id in self._instances]

    def _record_instance(self, instance: EC2Instance) -> None:
        if not isinstance(instance, EC2Instance):
            raise InvalidArgumentError(f"{instance!r} is no instance, such as launch() and get_instance() return")
        self._instances[instance.id] = instance
        self._ledger.record(INSTANCE, instance.id, instance.delete, order=UndoOrder.INSTANCE)

    def _forget_instance(self, instance: EC2Instance) -> None:
        self._ledger.forget(instance.id)

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
        wanted = _Wanted(
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
        (instance,) = self._launched(wanted)
        if self._waits(wanted):
            self._wait_or_delete(instance, keep_on_failure=keep_on_failure)
        return instance

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
        check_count(count, min_count)
        wanted = _Wanted(
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
        fleet = Fleet(self._launched(wanted, count=count, min_count=min_count), self._instance_context)
        if self._waits(wanted):
            self._wait_or_delete(fleet, keep_on_failure=keep_on_failure)
        return fleet

    def _launched(self, wanted: _Wanted, *, count: int = 1, min_count: int | None = None) -> list[EC2Instance]:
        began = SYSTEM_CLOCK.now()
        wanted = replace(wanted, **with_own_spellings(wanted.instance_type, wanted.user_data, wanted.more))
        more = checked_parameters(self.client, wanted.more)
        waits = self._waits(wanted)
        on_failure = checked_cloud_init_failure(wanted.cloud_init_failure, self._instance_context.cloud_init_failure)
        instance_type = DEFAULT_INSTANCE_TYPE if wanted.instance_type is None else wanted.instance_type
        check_arguments(
            wanted.image_id,
            instance_type,
            disk_size_gb=wanted.disk_size_gb,
            username=wanted.username,
            switches={
                "wait": waits,
                "enable_ipv6": wanted.enable_ipv6,
                "keep_on_failure": wanted.keep_on_failure,
            },
            more=more,
        )
        user_data, more = self._ending_in_time(checked_user_data(wanted.user_data), more)
        image = self._images.available(wanted.image_id)
        request = RunRequest(
            image,
            instance_type,
            self.tag,
            user_data,
            wanted.disk_size_gb,
            wanted.enable_ipv6,
            more,
            choose_network(self.client, wanted.vpc, more, enable_ipv6=wanted.enable_ipv6),
            count,
            min_count,
        )
        request.parameters(self._ownership, "checked before a key is uploaded")
        key_pair = self._key_pair_for_launch(more, wait=waits)
        key_name: dict[str, str] = {}
        if key_pair is not None and "KeyName" not in more:
            key_name = {"KeyName": self._key_pairs.name_for_launch(key_pair)}
        username = self._username(wanted.username, image.username)
        records = create_several(self._ledger, self._create_request(request, key_name))
        instances = self._record_launched(records, username, key_pair, on_failure)
        for instance in instances[: progress.MANY]:
            progress.report(instance.id, f"was launched from {instance.image_id}", SYSTEM_CLOCK.now() - began)
        return instances

    def _waits(self, wanted: _Wanted) -> bool:
        return self._settings.wait_on_launch if wanted.wait is None else wanted.wait

    def _create_request(self, request: RunRequest, key_name: dict[str, str]) -> CreateRequest:
        def call(idempotency_tag: str) -> Sequence[Any]:
            parameters = request.parameters(self._ownership, idempotency_tag) | key_name
            return self.client.run_instances(**parameters)["Instances"]

        def find(filters: Any) -> list[Any]:
            found = self.client.describe_instances(Filters=filters)["Reservations"]
            return [record for reservation in found for record in reservation["Instances"]]

        def known(record: Mapping[str, Any]) -> EC2Instance:
            # An interrupted launch has not created an object for the instance.
            launched = self._instances.get(record["InstanceId"]) or self._made(record, username="", key_pair=None)
            return self._instances.setdefault(launched.id, launched)

        return CreateRequest(
            kind=INSTANCE,
            id_key="InstanceId",
            order=UndoOrder.INSTANCE,
            call=call,
            find=find,
            delete=lambda record: known(record).delete(),
            count=request.count,
            begin_deletion=lambda records: terminate_together(
                self._instance_context, [known(record) for record in records]
            ),
            # A complete record takes 14 KB, more than all other state of an instance.
            abridged=lambda record: {name: record[name] for name in ("InstanceId", "State")},
        )

    def _made(self, record: Mapping[str, Any], *, username: str, key_pair: KeyPair | None) -> EC2Instance:
        described = InstanceDescription.of(record)
        return EC2Instance(described, self._instance_context, username=username, key_pair=key_pair, launched=True)

    def _ending_in_time(
        self, user_data: str | bytes | None, more: dict[str, Any]
    ) -> tuple[str | bytes | None, dict[str, Any]]:
        """With a `ttl`, make the guest power itself off on expiry, which terminates the instance."""
        ttl = self._ownership.ttl
        if ttl is None:
            return user_data, more
        if more.get("InstanceInitiatedShutdownBehavior") == "stop":
            logger.warning("an instance that is only stopped after its ttl of %d s is still to be paid for", ttl)
        with_switch = with_expiry(user_data, self._ownership.now() + timedelta(seconds=ttl))
        return checked_user_data(with_switch), {"InstanceInitiatedShutdownBehavior": "terminate", **more}

    def _record_launched(
        self,
        records: Sequence[Mapping[str, Any]],
        username: str,
        key_pair: KeyPair | None,
        on_failure: CloudInitFailure,
    ) -> list[EC2Instance]:
        instances = [self._made(record, username=username, key_pair=key_pair) for record in records]
        for instance in instances:
            instance.cloud_init_failure = on_failure
            self._instances[instance.id] = instance
            logger.info("launched %s from %s", instance.id, instance.image_id)
        return instances

    def _wait_or_delete(self, launched: EC2Instance | Fleet, *, keep_on_failure: bool) -> None:
        try:
            launched.wait()
        except BaseException as error:
            # Also on Ctrl-C: only this method knows the instances yet.
            _explain(error, launched)
            if not keep_on_failure:
                self._delete_failed(launched)
            raise

    def _delete_failed(self, launched: EC2Instance | Fleet) -> None:
        for error in launched.delete(wait=False):
            logger.error("what was launched was not deleted and is left to clean(): %s", error)

    def _key_pair_for_launch(self, parameters: Mapping[str, Any], *, wait: bool) -> KeyPair | None:
        # A launch needs a key pair for logins, unless KeyName is given and nothing waits for a login.
        return self.key_pair if wait or "KeyName" not in parameters else self._key_pair_if_any()

    def _key_pair_if_any(self) -> KeyPair | None:
        try:
            return self.key_pair
        except UnsetSSHKeyError:
            return None

    def _username(self, argument: str | None, images_user: str | None) -> str:
        return argument or self._settings.username or images_user or DEFAULT_USERNAME


def _explain(error: BaseException, launched: EC2Instance | Fleet) -> None:
    """Add the instance's state to the error that ended its launch, before deleting the instance."""
    if isinstance(launched, EC2Instance):
        if isinstance(error, PycloudlibError):
            launched.explain(error)
        return
    if isinstance(error, FleetError):
        for instance in launched:
            if instance.id in error.errors:
                _explain(error.errors[instance.id], instance)
