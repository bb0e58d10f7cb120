"""Instances: lookup and listing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.facade.launching import LaunchCalls
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.filters import instance_filters
from pycloudlib.ec2.instances.poller import InstanceDescription
from pycloudlib.errors import ImageNotFoundError, InstanceNotFoundError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ec2.service_resource import Instance


class InstanceCalls(LaunchCalls):
    """The methods for existing instances."""

    def get_instance(self, instance_id: str | Instance | EC2Instance, *, username: str | None = None) -> EC2Instance:
        """Return a handle to an existing instance, which `clean()` deletes only if it was launched here.

        Args:
            instance_id: the id, such as "i-0123456789abcdef0", or a boto3 instance of `ec2.resource`.
            username: the login user; default as for `launch()`.

        Raises:
            InstanceNotFoundError: the instance does not exist.
            InvalidArgumentError: `instance_id` is neither an id nor an instance.
        """
        wanted = _id_of(instance_id)
        created = self._instances.get(wanted)
        if created is not None and username in (None, created.username):
            return created
        description = self._instance_context.poller.describe(wanted)
        if description is None:
            raise InstanceNotFoundError(
                wanted,
                message=f"no instance {wanted!r} in {self.region}",
                operation="DescribeInstances",
            )
        return self._instance_of(description, username, {})

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
        asked: Any = instance_filters(filters or {}, more)
        with translated():
            pages = list(self.client.get_paginator("describe_instances").paginate(Filters=asked))
        records = [
            record for page in pages for reservation in page["Reservations"] for record in reservation["Instances"]
        ]
        images_users: dict[str, str | None] = {}
        return [
            self._instances.get(description.instance_id) or self._instance_of(description, None, images_users)
            for description in map(InstanceDescription.of, records)
        ]

    def _instance_of(
        self, description: InstanceDescription, username: str | None, images_users: dict[str, str | None]
    ) -> EC2Instance:
        image_id = description.image_id
        if not username and not self._settings.username and image_id not in images_users:
            images_users[image_id] = self._username_of_image(image_id)
        return EC2Instance(
            description,
            self._instance_context,
            username=self._username(username, images_users.get(image_id)),
            key_pair=self._key_pair_if_any(),
        )

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
            f"{instance!r} is no instance: give an id such as 'i-0123456789abcdef0', or an instance of boto3's"
        )
    return instance_id
