"""The instances of one region: launch, lookup, and the list of those that `clean()` deletes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from pycloudlib import progress
from pycloudlib.deadline import SYSTEM_CLOCK
from pycloudlib.ec2.api.creating import CreateRequest, create_several
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.fleet import Fleet, terminate_together
from pycloudlib.ec2.images.catalogue import Images
from pycloudlib.ec2.images.description import DEFAULT_USERNAME
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.cloud_init_failure import checked_cloud_init_failure
from pycloudlib.ec2.instances.description import InstanceDescription
from pycloudlib.ec2.instances.filters import instance_filters
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.run_network import choose_network
from pycloudlib.ec2.instances.run_request import (
    DEFAULT_INSTANCE_TYPE,
    RunRequest,
    check_arguments,
    check_count,
    checked_parameters,
    with_idempotency_token,
    with_own_spellings,
)
from pycloudlib.ec2.instances.user_data import UserData, checked_user_data
from pycloudlib.ec2.key_pairs import KeyPairs
from pycloudlib.ec2.vpc import VPC
from pycloudlib.errors import (
    FleetError,
    ImageNotFoundError,
    InstanceNotFoundError,
    InvalidArgumentError,
    PycloudlibError,
)
from pycloudlib.guest.expiry import with_expiry
from pycloudlib.key import KeyPair, LoginKey
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.setting_values import CloudInitFailure

logger = logging.getLogger(__name__)

KIND = "instance"


@dataclass(frozen=True)
class LaunchOptions:
    """The arguments of `EC2.launch()` and `EC2.launch_many()`, which document them."""

    image_id: str
    instance_type: str | None
    user_data: UserData | None = field(repr=False)
    vpc: VPC | None
    wait: bool | None
    disk_size_gb: int
    username: str | None
    enable_ipv6: bool
    keep_on_failure: bool
    cloud_init_failure: CloudInitFailure | None
    parameters: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class _Launch:
    """A checked launch."""

    began: float
    request: RunRequest
    username: str
    waits: bool
    keeps_failed: bool
    cloud_init_failure: CloudInitFailure


class Instances:
    """The instances of one region.

    Args:
        context: the cloud's context of each instance.
        images: the images of the region.
        key_pairs: the key pairs of the region.
        login_key: the SSH key pair of launched instances.
        username: the configured login user; default that of the image.
        waits: whether a launch waits until the instances are ready, unless its argument says otherwise.
    """

    def __init__(
        self,
        context: InstanceContext,
        images: Images,
        key_pairs: KeyPairs,
        login_key: LoginKey,
        *,
        username: str | None,
        waits: bool,
    ) -> None:
        self._context = context
        self._region = context.region_context
        self._images = images
        self._key_pairs = key_pairs
        self._login_key = login_key
        self._username = username
        self._waits = waits
        self._known: dict[str, EC2Instance] = {}

    def recorded(self) -> list[EC2Instance]:
        """Return the instances that `clean()` deletes, oldest first."""
        # The ledger records an instance just before its object exists.
        return [self._known[instance_id] for instance_id in self._region.ledger.ids(KIND) if instance_id in self._known]

    def record(self, instance: EC2Instance) -> None:
        """Have `clean()` delete an instance.

        Raises:
            InvalidArgumentError: `instance` is not an EC2Instance.
        """
        if not isinstance(instance, EC2Instance):
            raise InvalidArgumentError(f"{instance!r} is not an instance from launch() or get_instance()")
        self._known[instance.id] = instance
        self._region.record(KIND, instance.id, instance.delete, UndoOrder.INSTANCE)

    def forget(self, instance: EC2Instance) -> None:
        """Exempt an instance from `clean()`."""
        self._region.ledger.forget(instance.id)

    def terminate_recorded(self) -> None:
        """Request the termination of all recorded instances with few calls, without waiting for it."""
        terminate_together(self._context, self.recorded())

    def launch(self, options: LaunchOptions) -> EC2Instance:
        """Launch an instance. See `EC2.launch()`."""
        launch = self._checked(options)
        (instance,) = self._run(launch)
        if launch.waits:
            _wait_or_delete(instance, keeps_failed=launch.keeps_failed)
        return instance

    def launch_many(self, options: LaunchOptions, count: int, min_count: int | None) -> Fleet:
        """Launch many identical instances. See `EC2.launch_many()`."""
        check_count(count, min_count)
        launch = self._checked(options, count, min_count)
        fleet = Fleet(self._run(launch), self._context)
        if launch.waits:
            _wait_or_delete(fleet, keeps_failed=launch.keeps_failed)
        return fleet

    def get(self, instance: object, username: str | None = None) -> EC2Instance:
        """Return a handle to an existing instance (DescribeInstances). See `EC2.get_instance()`."""
        instance_id = _id_of(instance)
        created = self._known.get(instance_id)
        if created is not None and username in (None, created.username):
            return created
        description = self._context.poller.describe(instance_id)
        if description is None:
            message = f"no instance {instance_id!r} in {self._region.region}"
            raise InstanceNotFoundError(instance_id, message=message, operation="DescribeInstances")
        return self._handle(description, username, {})

    def find(self, filters: Mapping[str, Any], more: Mapping[str, Any]) -> list[EC2Instance]:
        """Return the instances that match (DescribeInstances). See `EC2.instances()`."""
        query_filters: Any = instance_filters(filters, more)
        with translated():
            pages = list(self._context.client.get_paginator("describe_instances").paginate(Filters=query_filters))
        records = [
            record for page in pages for reservation in page["Reservations"] for record in reservation["Instances"]
        ]
        images_users: dict[str, str | None] = {}
        return [
            self._known.get(description.instance_id) or self._handle(description, None, images_users)
            for description in map(InstanceDescription.of, records)
        ]

    def _checked(self, options: LaunchOptions, count: int = 1, min_count: int | None = None) -> _Launch:
        began = SYSTEM_CLOCK.now()
        arguments = with_own_spellings(options.instance_type, options.user_data, options.parameters)
        options = replace(options, **arguments)
        parameters = checked_parameters(self._context.client, options.parameters)
        waits = self._waits if options.wait is None else options.wait
        cloud_init_failure = checked_cloud_init_failure(options.cloud_init_failure, self._context.cloud_init_failure)
        instance_type = DEFAULT_INSTANCE_TYPE if options.instance_type is None else options.instance_type
        check_arguments(
            options.image_id,
            instance_type,
            disk_size_gb=options.disk_size_gb,
            username=options.username,
            switches={
                "wait": waits,
                "enable_ipv6": options.enable_ipv6,
                "keep_on_failure": options.keep_on_failure,
            },
            more=parameters,
        )
        user_data, parameters = self._with_expiry(checked_user_data(options.user_data), parameters)
        image = self._images.available(options.image_id)
        request = RunRequest(
            image,
            instance_type,
            self._region.name,
            user_data,
            options.disk_size_gb,
            options.enable_ipv6,
            parameters,
            choose_network(self._context.client, options.vpc, parameters, enable_ipv6=options.enable_ipv6),
            count,
            min_count,
        )
        username = options.username or self._username or image.username or DEFAULT_USERNAME
        return _Launch(began, request, username, waits, options.keep_on_failure, cloud_init_failure)

    def _with_expiry(
        self, user_data: str | bytes | None, parameters: dict[str, Any]
    ) -> tuple[str | bytes | None, dict[str, Any]]:
        """With a `ttl`, make the guest power itself off on expiry, which terminates the instance."""
        ownership = self._region.ownership
        if ownership.ttl is None:
            return user_data, parameters
        if parameters.get("InstanceInitiatedShutdownBehavior") == "stop":
            logger.warning("an instance that is only stopped after its ttl of %d s still costs money", ownership.ttl)
        with_switch = with_expiry(user_data, ownership.now() + timedelta(seconds=ownership.ttl))
        return checked_user_data(with_switch), {"InstanceInitiatedShutdownBehavior": "terminate", **parameters}

    def _run(self, launch: _Launch) -> list[EC2Instance]:
        parameters = launch.request.parameters(self._region.ownership)
        key_pair = self._key_pair_for(launch)
        if key_pair is not None and "KeyName" not in parameters:
            parameters["KeyName"] = self._key_pairs.name_for_launch(key_pair)
        records = create_several(self._region.ledger, self._create_request(parameters, launch.request.count))
        instances = [self._launched(record, launch, key_pair) for record in records]
        for instance in instances[: progress.MANY]:
            progress.report(instance.id, f"was launched from {instance.image_id}", SYSTEM_CLOCK.now() - launch.began)
        return instances

    def _key_pair_for(self, launch: _Launch) -> KeyPair | None:
        # A launch needs a key pair for logins, unless KeyName is given and nothing waits for a login.
        if launch.waits or "KeyName" not in launch.request.more:
            return self._login_key.get()
        return self._login_key.get_if_set()

    def _create_request(self, parameters: Mapping[str, Any], count: int) -> CreateRequest:
        client = self._context.client

        def call(idempotency_tag: str) -> Sequence[Any]:
            return client.run_instances(**with_idempotency_token(parameters, idempotency_tag))["Instances"]

        def find(filters: Any) -> list[Any]:
            reservations = client.describe_instances(Filters=filters)["Reservations"]
            return [record for reservation in reservations for record in reservation["Instances"]]

        def known(record: Mapping[str, Any]) -> EC2Instance:
            # An interrupted launch has not created an object for the instance.
            launched = self._known.get(record["InstanceId"]) or self._new(record, username="", key_pair=None)
            return self._known.setdefault(launched.id, launched)

        return CreateRequest(
            kind=KIND,
            id_key="InstanceId",
            order=UndoOrder.INSTANCE,
            call=call,
            find=find,
            delete=lambda record: known(record).delete(),
            count=count,
            begin_deletion=lambda records: terminate_together(self._context, [known(record) for record in records]),
            # A complete record takes 14 KB, more than all other state of an instance.
            abridged=lambda record: {name: record[name] for name in ("InstanceId", "State")},
        )

    def _launched(self, record: Mapping[str, Any], launch: _Launch, key_pair: KeyPair | None) -> EC2Instance:
        instance = self._new(record, username=launch.username, key_pair=key_pair)
        instance.cloud_init_failure = launch.cloud_init_failure
        self._known[instance.id] = instance
        logger.info("launched %s from %s", instance.id, instance.image_id)
        return instance

    def _new(self, record: Mapping[str, Any], *, username: str, key_pair: KeyPair | None) -> EC2Instance:
        description = InstanceDescription.of(record)
        return EC2Instance(description, self._context, username=username, key_pair=key_pair, launched=True)

    def _handle(
        self, description: InstanceDescription, username: str | None, images_users: dict[str, str | None]
    ) -> EC2Instance:
        username = username or self._username
        if not username:
            image_id = description.image_id
            if image_id not in images_users:
                images_users[image_id] = self._username_of_image(image_id)
            username = images_users[image_id] or DEFAULT_USERNAME
        return EC2Instance(description, self._context, username=username, key_pair=self._login_key.get_if_set())

    def _username_of_image(self, image_id: str) -> str | None:
        try:
            return self._images.get(image_id).username
        except ImageNotFoundError:
            # The image may have been deregistered since the launch.
            return None


def _id_of(instance: object) -> str:
    instance_id = instance if isinstance(instance, str) else getattr(instance, "id", None)
    if not isinstance(instance_id, str) or not instance_id:
        raise InvalidArgumentError(
            f"{instance!r} is not an instance: give an id such as 'i-0123456789abcdef0', or an instance of boto3's"
        )
    return instance_id


def _wait_or_delete(launched: EC2Instance | Fleet, *, keeps_failed: bool) -> None:
    try:
        launched.wait()
    except BaseException as error:
        # Also on Ctrl-C: the caller does not have the instances yet.
        _explain(error, launched)
        if not keeps_failed:
            for failure in launched.delete(wait=False):
                logger.error("could not delete a launched instance; clean() tries again: %s", failure)
        raise


def _explain(error: BaseException, launched: EC2Instance | Fleet) -> None:
    """Add the instance's state to the error that ended its launch, before deleting the instance."""
    if isinstance(launched, EC2Instance):
        if isinstance(error, PycloudlibError):
            launched._explain(error)
        return
    if isinstance(error, FleetError):
        for instance in launched:
            if instance.id in error.errors:
                _explain(error.errors[instance.id], instance)
