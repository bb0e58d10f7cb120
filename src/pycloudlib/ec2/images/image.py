"""An AMI: launch permissions, copies in other regions, tags, and deletion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.regions import require_region
from pycloudlib.ec2.images import launch_permissions
from pycloudlib.ec2.images.catalogue import IMAGE_TIMEOUT, Images
from pycloudlib.ec2.images.description import ImageDescription
from pycloudlib.ec2.images.launch_permissions import LaunchPermissions
from pycloudlib.errors import InvalidArgumentError


class Image:
    """An AMI. `EC2.image()` and `EC2.images()` return existing ones.

    Args:
        description: EC2's description of the image.
        images: the images of its region.
    """

    def __init__(self, description: ImageDescription, images: Images) -> None:
        self._seen = description
        self._images = images

    @property
    def id(self) -> str:
        """The AMI id, such as "ami-0123456789abcdef0"."""
        return self._seen.id

    @property
    def name(self) -> str:
        """The name."""
        return self._seen.name

    @property
    def description(self) -> str:
        """The description text."""
        return self._seen.description

    @property
    def owner_id(self) -> str:
        """The account that owns the image."""
        return self._seen.owner_id

    @property
    def architecture(self) -> str:
        """The architecture: "x86_64", "arm64", ..."""
        return self._seen.architecture

    @property
    def creation_date(self) -> str:
        """The creation time: ISO 8601, UTC."""
        return self._seen.creation_date

    @property
    def root_device_name(self) -> str:
        """The device name of the root volume, such as "/dev/xvda"."""
        return self._seen.root_device_name

    @property
    def root_size_gb(self) -> int:
        """The size of the root volume in GiB, which is the minimum for a launch."""
        return self._seen.root_size_gb

    @property
    def snapshot_ids(self) -> tuple[str, ...]:
        """The ids of the image's snapshots, as of the latest description."""
        return self._seen.snapshot_ids

    @property
    def tags(self) -> dict[str, str]:
        """The tags, as of the latest description; `refresh()` updates them."""
        return dict(self._seen.tags)

    @property
    def state(self) -> str:
        """The current state: "pending", "available", "failed", ... Each access calls DescribeImages.

        Raises:
            ImageNotFoundError: the image no longer exists.
        """
        self.refresh()
        return self._seen.state

    def refresh(self) -> None:
        """Update the description (DescribeImages).

        Raises:
            ImageNotFoundError: the image no longer exists.
        """
        self._seen = self._images.describe(self.id)

    def wait(self, timeout: float = IMAGE_TIMEOUT) -> None:
        """Wait until the image is available.

        Args:
            timeout: seconds; default 3600.

        Raises:
            IllegalStateError: the image failed; the message has EC2's reason.
            PycloudlibTimeoutError: the image was not available in time.
        """
        self._seen = self._images.wait_until_available(self.id, Deadline.after(timeout))

    def launch_permissions(self) -> LaunchPermissions:
        """Return the launch permissions (DescribeImageAttribute).

        Raises:
            PermissionDeniedError: another account owns the image.
        """
        return launch_permissions.launch_permissions(self._images.context.client, self.id)

    def share(self, account_ids: str | Iterable[str]) -> None:
        """Share the image with other accounts (ModifyImageAttribute). Idempotent.

        Args:
            account_ids: an account id of 12 digits, several of them, or "all" for everybody.

        Raises:
            InvalidArgumentError: an account id is invalid; the message says what is allowed.
            IllegalStateError: the image is not available yet.
            PermissionDeniedError: another account owns the image.
            CloudError: EC2 rejected the request; for example, the account blocks public images.
        """
        launch_permissions.checked_targets(account_ids)
        self._images.available(self.id)
        launch_permissions.change(self._images.context.client, self.id, "Add", account_ids)

    def unshare(self, account_ids: str | Iterable[str]) -> None:
        """Stop sharing the image with accounts (ModifyImageAttribute). Idempotent.

        Args:
            account_ids: an account id of 12 digits, several of them, or "all" for everybody. Removing "all" keeps the
                permissions of single accounts; `make_private()` removes every permission.

        Raises:
            InvalidArgumentError: an account id is invalid; the message says what is allowed.
            PermissionDeniedError: another account owns the image.
        """
        launch_permissions.change(self._images.context.client, self.id, "Remove", account_ids)

    def make_private(self) -> None:
        """Remove all launch permissions, except the owner's (ModifyImageAttribute).

        Raises:
            PermissionDeniedError: another account owns the image.
        """
        launch_permissions.remove_all(self._images.context.client, self.id)

    def copy_to_region(
        self, region: str, name: str | None = None, wait: bool = True, timeout: float = IMAGE_TIMEOUT
    ) -> str:
        """Copy the image to another region with its description and tags (CopyImage). `clean()` deletes the copy.

        Args:
            region: the region, such as "eu-central-1".
            name: the name of the copy; default the same.
            wait: whether to wait until the copy is available; default yes.
            timeout: seconds; default 3600.

        Returns:
            The AMI id of the copy.

        Raises:
            InvalidArgumentError: the name is invalid, the region does not exist, or the image is in that region.
            IllegalStateError: the image is not available yet, or the copy failed; nothing is left in the other region.
            PycloudlibTimeoutError: the copy was not available in time. It is deleted, at the latest by `clean()`. A
                NoResponseError if EC2 did not respond.
            CloudError: EC2 rejected the request.
        """
        deadline = Deadline.after(timeout)
        context = self._images.context
        _expect_other_region(self._images, self.id, region, deadline)
        # The tags may have changed.
        self._seen = self._images.describe(self.id, deadline)
        source = self._images.available(self.id, deadline)
        regional_images = Images(context.in_region(region))
        copy_id = regional_images.copy(source, context.region, name or source.name, deadline)
        if wait:
            regional_images.wait_or_delete(copy_id, deadline)
        return copy_id

    def tag(self, tags: Mapping[str, str]) -> None:
        """Add tags to the image, or change their values (CreateTags).

        Args:
            tags: the tags, at most 50.

        Raises:
            InvalidArgumentError: a tag is invalid, or uses one of this library's keys.
            CloudError: EC2 rejected the request.
        """
        self._images.context.tags_for("image", extra=tags)  # validates the tags
        pairs: Any = [{"Key": key, "Value": value} for key, value in tags.items()]
        if not pairs:
            return
        with translated():
            self._images.context.client.create_tags(Resources=[self.id], Tags=pairs)
        self.refresh()

    def delete(self) -> None:
        """Delete the image and its snapshots (DeregisterImage, DeleteSnapshot). No-op if it is deleted.

        Snapshots that another image of the account uses are kept. Instances of the image keep running.

        Raises:
            CloudError: EC2 rejected the request.
            CleanupError: some snapshots could not be deleted.
        """
        self._images.delete(self.id)

    def __repr__(self) -> str:
        return f"<Image {self.id} {self.name} {self._seen.state}>"


def _expect_other_region(images: Images, image_id: str, region: str, deadline: Deadline) -> None:
    if region == images.context.region:
        raise InvalidArgumentError(f"{image_id} is in {region} already")
    require_region(images.context.client, region, deadline)
