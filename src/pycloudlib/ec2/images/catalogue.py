"""The AMIs of a region, and the calls on them."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pycloudlib import progress
from pycloudlib.cloud import ImageType
from pycloudlib.deadline import SYSTEM_CLOCK, Deadline
from pycloudlib.ec2.api.creating import CreateRequest
from pycloudlib.ec2.api.creating import create as create_once
from pycloudlib.ec2.api.endpoints import is_aws
from pycloudlib.ec2.api.faults import NEVER, responded, translated
from pycloudlib.ec2.api.filters import described_filters
from pycloudlib.ec2.api.records import Records
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.images.description import ImageDescription
from pycloudlib.ec2.images.public_parameters import announced_image
from pycloudlib.ec2.images.publishers import AWS
from pycloudlib.ec2.images.queries import TRUSTED_OWNERS, ImageQuery, is_of_type
from pycloudlib.ec2.storage.snapshots import DELETE_TIMEOUT, Snapshots, check_description
from pycloudlib.errors import (
    CleanupError,
    IllegalStateError,
    ImageNotFoundError,
    InvalidArgumentError,
    NoResponseError,
    PermissionDeniedError,
    PycloudlibError,
)
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.waiting import acquired

logger = logging.getLogger(__name__)

KIND = "image"

AVAILABLE = "available"
HOPELESS = frozenset({"failed", "error", "invalid", "deregistered"})

IMAGE_TIMEOUT = 3600.0
"""Seconds to wait for an image."""

IMAGE_DELETE_TIMEOUT = 600.0
"""Seconds to delete an image and its snapshots, including retries."""

UNDO_TIMEOUT = 10.0
"""Minimum seconds to delete an image that was not available in time; clean() deletes the rest."""

_NOT_FOUND = "InvalidAMIID.NotFound"
_NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")


class Images:
    """The AMIs of one region. The description of an available AMI is cached.

    Args:
        context: the context of the region.
    """

    def __init__(self, context: RegionContext) -> None:
        self._context = context
        self.snapshots = Snapshots(context)
        self._records = Records(self._fetch, not_found=_NOT_FOUND)
        self._known: dict[str, ImageDescription] = {}
        self._lock = threading.Lock()
        self._describe_lock = threading.Lock()

    @property
    def context(self) -> RegionContext:
        """The context of the region."""
        return self._context

    def get(self, image_id: str, deadline: Deadline = NEVER) -> ImageDescription:
        """Return the description of an AMI, from the cache if it was available.

        Args:
            image_id: the AMI id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            ImageNotFoundError: the AMI does not exist.
            NoResponseError: EC2 did not respond in time.
        """
        # Serialize: many threads that launch the same image share one request.
        with acquired(
            self._describe_lock, what=f"another thread to describe an image, before {image_id!r}", deadline=deadline
        ):
            with self._lock:
                if isinstance(image_id, str) and image_id in self._known:
                    return self._known[image_id]
            return self.describe(image_id, deadline)

    def available(self, image_id: str, deadline: Deadline = NEVER) -> ImageDescription:
        """Return the description of an AMI, which must be available.

        Args:
            image_id: the AMI id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            ImageNotFoundError: the AMI does not exist.
            IllegalStateError: the AMI is not available.
        """
        image = self.get(image_id, deadline)
        if image.state != AVAILABLE:
            reason = f" ({image.state_reason})" if image.state_reason else ""
            raise IllegalStateError(
                f"{image_id} is {image.state}{reason}: it must be available first, see Image.wait()"
            )
        return image

    def describe(self, image_id: str, deadline: Deadline = NEVER) -> ImageDescription:
        """Return the latest description of an AMI (DescribeImages).

        Args:
            image_id: the AMI id.
            deadline: when to stop waiting for EC2; default never.

        Raises:
            ImageNotFoundError: the AMI does not exist.
            NoResponseError: EC2 did not respond in time.
        """
        image = self._records.get(image_id, deadline)
        with self._lock:
            if image.state == AVAILABLE:
                self._known[image_id] = image
        return image

    def find(
        self,
        owners: Iterable[str],
        filters: Mapping[str, object],
        *,
        include_deprecated: bool,
        deadline: Deadline = NEVER,
    ) -> list[ImageDescription]:
        """Return the matching images, oldest first (DescribeImages).

        Args:
            owners: account ids or aliases; empty for all owners.
            filters: see `described_filters()`.
            include_deprecated: whether to include deprecated images.
            deadline: when to stop waiting for EC2; default never.
        """
        query_filters: Any = described_filters(filters)
        query_owners: Any = {"Owners": list(owners)} if owners else {}
        describe = partial(
            self._context.client.describe_images,
            Filters=query_filters,
            IncludeDeprecated=include_deprecated,
            **query_owners,
        )
        response = responded(describe, what="describe images", deadline=deadline)
        images = [ImageDescription.of(record) for record in response["Images"]]
        return sorted(images, key=lambda image: (image.creation_date, image.name, image.id))

    def newest(self, query: ImageQuery) -> ImageDescription:
        """Return the newest image, by creation date (DescribeImages).

        In AWS's other partitions, such as GovCloud and China, publishers have other accounts. If a publisher's account
        there is unknown or has no such image, fall back to SSM's public parameters (GetParameters).

        Args:
            query: the query, with the owners of the partition "aws".

        Raises:
            ImageNotFoundError: no image matches; the message names the owners and filters.
        """
        partition = self._context.client.meta.partition
        local_query = self._in_this_partition(query)
        images = (
            self.find(local_query.owners, local_query.filters, include_deprecated=local_query.include_deprecated)
            if local_query.owners
            else []
        )
        if images:
            return images[-1]
        where = f"no image in {self._context.region}"
        if partition == AWS:
            raise ImageNotFoundError(message=f"{where} matches: {local_query}", operation="DescribeImages")
        image_id, reason = announced_image(self._context.session, self._context.region, local_query.parameters)
        if image_id:
            return self.get(image_id)
        outcome = (
            f"matches: {local_query}"
            if local_query.owners
            else f"of {' or '.join(query.owners)}, unknown in {partition}"
        )
        raise ImageNotFoundError(message=f"{where} {outcome}; {reason}", operation="DescribeImages")

    def _in_this_partition(self, query: ImageQuery) -> ImageQuery:
        meta = self._context.client.meta
        return query.in_partition(meta.partition, at_aws=is_aws(meta.endpoint_url))

    def named(self, name: str) -> ImageDescription:
        """Return the newest image of a name, owned by the account, Canonical, Debian, or Amazon (DescribeImages).

        Args:
            name: the name, with the wildcards `*` and `?`.

        Raises:
            ImageNotFoundError: no image matches.
        """
        query = ImageQuery(TRUSTED_OWNERS, {"name": name, "state": AVAILABLE}, include_deprecated=True)
        local_query = self._in_this_partition(query)
        images = self.find(local_query.owners, local_query.filters, include_deprecated=True)
        if not images:
            message = f"no image in {self._context.region} matches: {local_query}"
            raise ImageNotFoundError(message=message, operation="DescribeImages")
        return images[-1]

    def serial(self, image_id: str, image_type: ImageType | None) -> str:
        """Return the build serial in an image's name (DescribeImages). See `EC2.image_serial()`."""
        image = self.get(image_id)
        if image_type is not None and not is_of_type(image.name, image_type):
            raise ImageNotFoundError(
                image_id, message=f"{image_id} is not of type {image_type.value!r}: its name is {image.name!r}"
            )
        if image.serial is None:
            raise InvalidArgumentError(f"the name of {image_id} has no serial: {image.name!r}")
        return image.serial

    def create(
        self,
        instance_id: str,
        name: str,
        description: str,
        tags: Mapping[str, str] | None,
        *,
        username: str = "",
        deadline: Deadline = NEVER,
    ) -> str:
        """Start the creation of an image of an instance and all of its volumes (CreateImage).

        Args:
            instance_id: the instance id.
            name: the name, unique among the account's images.
            description: the description; empty for none.
            tags: further tags of the image and its snapshots.
            username: the login user of the instance; default unknown.
            deadline: when to stop waiting for EC2; default never.

        Returns:
            The AMI id.

        Raises:
            InvalidArgumentError: an argument is invalid.
            CloudError: EC2 rejected the request.
        """
        check_image_name(name)
        check_description(description)

        def call(idempotency_tag: str) -> list[Any]:
            specifications = self._context.tags_for(
                "image", "snapshot", name=name, extra=tags, idempotency_tag=idempotency_tag, username=username
            )
            return [
                self._context.client.create_image(
                    InstanceId=instance_id, Name=name, Description=description, TagSpecifications=specifications
                )
            ]

        return self._create(call, with_snapshots=True, deadline=deadline)

    def register(
        self,
        name: str,
        description: str,
        tags: Mapping[str, str] | None,
        parameters: Any,
        deadline: Deadline = NEVER,
    ) -> str:
        """Create an image from existing snapshots (RegisterImage).

        Args:
            name: the name, unique among the account's images.
            description: the description; empty for none.
            tags: further tags of the image.
            parameters: the other parameters of RegisterImage.
            deadline: when to stop waiting for EC2; default never.

        Returns:
            The AMI id.

        Raises:
            InvalidArgumentError: an argument is invalid.
            CloudError: EC2 rejected the request.
        """
        check_image_name(name)
        check_description(description)

        def call(idempotency_tag: str) -> list[Any]:
            specifications = self._context.tags_for("image", name=name, extra=tags, idempotency_tag=idempotency_tag)
            return [
                self._context.client.register_image(
                    Name=name, Description=description, TagSpecifications=specifications, **parameters
                )
            ]

        return self._create(call, with_snapshots=False, deadline=deadline)

    def copy(self, source: ImageDescription, source_region: str, name: str, deadline: Deadline) -> str:
        """Start the copy of an image from another region (CopyImage).

        Args:
            source: the image, whose description, user tags, and login user are copied too.
            source_region: the region of the source.
            name: the name, unique among the account's images in this region.
            deadline: when to stop waiting for EC2.

        Returns:
            The AMI id of the copy.

        Raises:
            InvalidArgumentError: the name is invalid.
            CloudError: EC2 rejected the request.
        """
        check_image_name(name)
        tags = {key: value for key, value in source.tags.items() if _is_users(key)}

        def call(idempotency_tag: str) -> list[Any]:
            specifications = self._context.tags_for(
                "image",
                "snapshot",
                name=name,
                extra=tags,
                idempotency_tag=idempotency_tag,
                username=source.username or "",
            )
            response = self._context.client.copy_image(
                SourceImageId=source.id,
                SourceRegion=source_region,
                Name=name,
                Description=source.description,
                TagSpecifications=specifications,
                ClientToken=idempotency_tag,
            )
            return [response]

        return self._create(call, with_snapshots=True, kind=f"image in {self._context.region}", deadline=deadline)

    def wait_until_available(self, image_id: str, deadline: Deadline) -> ImageDescription:
        """Wait until an image is available.

        Raises:
            IllegalStateError: the image failed; the message has EC2's reason.
            PycloudlibTimeoutError: the image was not available in time; the message has the last state.
        """
        began = SYSTEM_CLOCK.now()
        image = self._records.wait_for(image_id, AVAILABLE, hopeless=HOPELESS, deadline=deadline)
        progress.report(image_id, "is available", SYSTEM_CLOCK.now() - began)
        with self._lock:
            self._known[image_id] = image
        return image

    def wait_or_delete(self, image_id: str, deadline: Deadline) -> None:
        """Wait until a created image is available, and delete it after an error.

        Raises:
            IllegalStateError: the image failed; the message has EC2's reason.
            PycloudlibTimeoutError: the image was not available in time; the message has the last state.
        """
        try:
            self.wait_until_available(image_id, deadline)
        except BaseException:
            # Also after Ctrl-C: the caller does not have the id yet.
            self._delete_or_log(image_id, deadline.at_least(UNDO_TIMEOUT))
            raise

    def delete(self, image_id: str, *, with_snapshots: bool = True, deadline: Deadline | None = None) -> None:
        """Delete an image and its snapshots (DeregisterImage, DeleteSnapshot). No-op if it is deleted.

        Snapshots that another image of the account uses are kept. If EC2 denies a lookup, delete the known resources.

        Args:
            image_id: the AMI id.
            with_snapshots: whether to delete the snapshots too; default yes.
            deadline: when to give up; default IMAGE_DELETE_TIMEOUT seconds from now.

        Raises:
            CloudError: EC2 rejected the request.
            NoResponseError: EC2 did not respond in time.
            CleanupError: some snapshots could not be deleted, or EC2 does not reveal them.
        """
        deadline = deadline or Deadline.after(IMAGE_DELETE_TIMEOUT)
        errors: list[Exception] = []
        snapshot_ids = self._snapshots_behind(image_id, errors, deadline) if with_snapshots else ()
        with self._lock:
            self._known.pop(image_id, None)
        deregister = partial(self._context.client.deregister_image, ImageId=image_id)
        self._records.delete(deregister, image_id, deadline=deadline)
        needed = self._needed_by_others(image_id, deadline) if snapshot_ids else set()
        for snapshot_id in snapshot_ids:
            if snapshot_id in needed:
                logger.info("kept %s: another image uses it", snapshot_id)
                continue
            try:
                self.snapshots.delete(snapshot_id, patience=DELETE_TIMEOUT, freed_by=image_id, deadline=deadline)
            except NoResponseError as error:
                errors.append(error)
                break
            except PycloudlibError as error:
                errors.append(error)
        if errors:
            raise CleanupError(errors)
        self._context.ledger.forget(image_id)

    def _delete_or_log(self, image_id: str, deadline: Deadline) -> None:
        try:
            self.delete(image_id, deadline=deadline)
        except PycloudlibError as error:
            logger.error("could not delete %s; clean() tries again: %s", image_id, error)

    def _create(
        self,
        call: Callable[[str], list[Any]],
        *,
        with_snapshots: bool,
        deadline: Deadline,
        kind: str = KIND,
    ) -> str:
        describe = partial(self._context.client.describe_images, Owners=["self"])
        request = CreateRequest(
            kind=kind,
            id_key="ImageId",
            order=UndoOrder.IMAGE,
            call=call,
            find=lambda filters: describe(Filters=filters)["Images"],
            delete=lambda record: self.delete(record["ImageId"], with_snapshots=with_snapshots),
        )
        image_id: str = create_once(self._context.ledger, request, deadline)["ImageId"]
        self._records.created(image_id)
        logger.info("began the image %s", image_id)
        return image_id

    def _snapshots_behind(self, image_id: str, errors: list[Exception], deadline: Deadline) -> tuple[str, ...]:
        """Return the ids of the image's snapshots. Add a denied lookup to `errors` if no other source reveals them."""
        refusals: list[Exception] = []
        with self._lock:
            cached = self._known.get(image_id) if isinstance(image_id, str) else None
        try:
            image = self.describe(image_id, deadline)
        except ImageNotFoundError as error:
            if error.code.endswith(".Malformed"):
                raise
            image = ImageDescription(image_id, state="deregistered")
        except PermissionDeniedError as error:
            refusals.append(error)
            image = cached or ImageDescription(image_id, state="unknown")
        if image.snapshot_ids and image.state == AVAILABLE:
            return image.snapshot_ids
        # For an image that is unfinished or was deregistered elsewhere, search the descriptions of the snapshots.
        texts = [f"Created by CreateImage(*) for {image_id}*", f"Copied for DestinationAmi {image_id}*"]
        try:
            described = [snapshot.id for snapshot in self.snapshots.find({"description": texts}, deadline)]
        except PermissionDeniedError as error:
            errors += [*refusals, error]
            described = []
        return tuple(dict.fromkeys([*image.snapshot_ids, *described]))

    def _needed_by_others(self, image_id: str, deadline: Deadline) -> set[str]:
        try:
            images = self.find(["self"], {}, include_deprecated=True, deadline=deadline)
        except PermissionDeniedError as error:
            # EC2 itself rejects the deletion of a snapshot that an image uses.
            logger.debug("deleting the snapshots of %s without describing them: %s", image_id, error)
            return set()
        return {snapshot_id for image in images if image.id != image_id for snapshot_id in image.snapshot_ids}

    def _fetch(self, image_id: str) -> ImageDescription:
        with translated():
            response = self._context.client.describe_images(ImageIds=[image_id], IncludeDeprecated=True)
        if not response["Images"]:
            raise ImageNotFoundError(
                image_id,
                message=f"no image {image_id!r} in {self._context.region}",
                code=_NOT_FOUND,
                operation="DescribeImages",
            )
        return ImageDescription.of(response["Images"][0])


def check_image_name(name: str) -> None:
    """Validate the name of an image.

    Raises:
        InvalidArgumentError: the name is invalid; the message says what is allowed.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"the name of an image is {name!r}; it must have 3 to 128 letters, digits, spaces and ()[]./-'@_"
        )


def _is_users(key: str) -> bool:
    return key != "Name" and not key.startswith(("pycloudlib:", "aws:"))
