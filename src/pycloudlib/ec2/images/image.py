"""One AMI: who may launch it, its copies in other regions, its tags and its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.regions import require_region
from pycloudlib.ec2.images import launch_permissions
from pycloudlib.ec2.images.catalogue import IMAGE_TIMEOUT, ImageDescription, Images
from pycloudlib.ec2.images.launch_permissions import LaunchPermissions
from pycloudlib.errors import InvalidArgumentError


class Image:
    """An AMI. EC2.image() and EC2.images() give those that are there.

    Args:
        description: what EC2 said of it.
        images: those of its region.
    """

    def __init__(self, description: ImageDescription, images: Images) -> None:
        self._seen = description
        self._images = images

    @property
    def id(self) -> str:
        """Its id, such as "ami-0123456789abcdef0"."""
        return self._seen.id

    @property
    def name(self) -> str:
        """Its name."""
        return self._seen.name

    @property
    def description(self) -> str:
        """What it is, in words."""
        return self._seen.description

    @property
    def owner_id(self) -> str:
        """The account that owns it."""
        return self._seen.owner_id

    @property
    def architecture(self) -> str:
        """Of the machines that run it: "x86_64", "arm64", ..."""
        return self._seen.architecture

    @property
    def creation_date(self) -> str:
        """When it was made: ISO 8601, UTC."""
        return self._seen.creation_date

    @property
    def root_device_name(self) -> str:
        """The device name of its root volume, such as "/dev/xvda"."""
        return self._seen.root_device_name

    @property
    def root_size_gb(self) -> int:
        """GiB of its root volume: the least that a launch can ask for."""
        return self._seen.root_size_gb

    @property
    def snapshot_ids(self) -> tuple[str, ...]:
        """The snapshots that it is made of, as last seen."""
        return self._seen.snapshot_ids

    @property
    def tags(self) -> dict[str, str]:
        """Its tags, as last seen; refresh() asks again."""
        return dict(self._seen.tags)

    @property
    def state(self) -> str:
        """Its state now, "pending", "available", "failed", ...: EC2 is asked each time (DescribeImages).

        Raises:
            ImageNotFoundError: EC2 does not know it any more.
        """
        self.refresh()
        return self._seen.state

    def refresh(self) -> None:
        """Ask EC2 about it (DescribeImages).

        Raises:
            ImageNotFoundError: EC2 does not know it any more.
        """
        self._seen = self._images.describe(self.id)

    def wait(self, timeout: float = IMAGE_TIMEOUT) -> None:
        """Wait until it is available.

        Args:
            timeout: seconds; default 3600.

        Raises:
            IllegalStateError: it failed; with EC2's own reason.
            PycloudlibTimeoutError: it was not available in time.
        """
        self._seen = self._images.wait_until_available(self.id, Deadline.after(timeout))

    def launch_permissions(self) -> LaunchPermissions:
        """Ask who may launch it (DescribeImageAttribute).

        Raises:
            PermissionDeniedError: it is somebody else's.
        """
        return launch_permissions.launch_permissions(self._images.scope.client, self.id)

    def share(self, account_ids: str | Iterable[str]) -> None:
        """Let others launch it (ModifyImageAttribute); with whom it is shared already is fine.

        Args:
            account_ids: an account id of 12 digits, several of them, or "all" for everybody.

        Raises:
            InvalidArgumentError: no account id; says what is allowed.
            IllegalStateError: it is not available yet.
            PermissionDeniedError: it is somebody else's.
            CloudError: EC2 refused; for example, the account blocks public images.
        """
        launch_permissions.checked_targets(account_ids)
        self._images.available(self.id)
        launch_permissions.change(self._images.scope.client, self.id, "Add", account_ids)

    def unshare(self, account_ids: str | Iterable[str]) -> None:
        """Let others launch it no longer (ModifyImageAttribute); with whom it is not shared is fine.

        Args:
            account_ids: an account id of 12 digits, several of them, or "all" for everybody. Accounts that are named
                stay so when everybody is taken away; make_private() leaves nobody.

        Raises:
            InvalidArgumentError: no account id; says what is allowed.
            PermissionDeniedError: it is somebody else's.
        """
        launch_permissions.change(self._images.scope.client, self.id, "Remove", account_ids)

    def make_private(self) -> None:
        """Let nobody but its owner launch it (ModifyImageAttribute).

        Raises:
            PermissionDeniedError: it is somebody else's.
        """
        launch_permissions.remove_all(self._images.scope.client, self.id)

    def copy_to_region(
        self, region: str, name: str | None = None, wait: bool = True, timeout: float = IMAGE_TIMEOUT
    ) -> str:
        """Copy it to another region (CopyImage), with its description and tags; clean() deletes the copy there.

        Args:
            region: such as "eu-central-1".
            name: its name there; default the same.
            wait: whether to wait until the copy is available; default yes.
            timeout: seconds; default 3600.

        Returns:
            The AMI id there.

        Raises:
            InvalidArgumentError: the name cannot be one, or there is no such region, or it is in that region.
            IllegalStateError: it is not available yet, or the copying failed; nothing is left there then.
            PycloudlibTimeoutError: the copy was not available in time; it is deleted again, or by clean(). A
                NoResponseError if EC2 did not respond.
            CloudError: EC2 refused.
        """
        deadline = Deadline.after(timeout)
        scope = self._images.scope
        _expect_other_region(self._images, self.id, region, deadline)
        # Its tags may have changed since.
        self._seen = self._images.describe(self.id, deadline)
        source = self._images.available(self.id, deadline)
        there = Images(scope.in_region(region))
        copy_id = there.copy(source, scope.region, name or source.name, deadline)
        if wait:
            there.wait_or_delete(copy_id, deadline)
        return copy_id

    def tag(self, tags: Mapping[str, str]) -> None:
        """Give it tags (CreateTags); one that it has gets the new value.

        Args:
            tags: at most 50.

        Raises:
            InvalidArgumentError: EC2 would refuse one, or it is this library's own.
            CloudError: EC2 refused.
        """
        self._images.scope.tags_for("image", extra=tags)  # refuses what EC2 would refuse
        pairs: Any = [{"Key": key, "Value": value} for key, value in tags.items()]
        if not pairs:
            return
        with translated():
            self._images.scope.client.create_tags(Resources=[self.id], Tags=pairs)
        self.refresh()

    def delete(self) -> None:
        """Delete it (DeregisterImage) and every snapshot behind it (DeleteSnapshot); one that is gone already is fine.

        A snapshot that another image of one's own needs too is left to that one. Instances that run it go on.

        Raises:
            CloudError: EC2 refused.
            CleanupError: some of the snapshots could not be deleted.
        """
        self._images.delete(self.id)

    def __repr__(self) -> str:
        return f"<Image {self.id} {self.name} {self._seen.state}>"


def _expect_other_region(images: Images, image_id: str, region: str, deadline: Deadline) -> None:
    if region == images.scope.region:
        raise InvalidArgumentError(f"{image_id} is in {region} already")
    require_region(images.scope.client, region, deadline)
