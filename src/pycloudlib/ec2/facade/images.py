"""Images: lookup, creation, and deletion."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

from pycloudlib.cloud import ImageType
from pycloudlib.created import CreatedResources, check_is_text
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.capture import Capture
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.images.catalogue import ARCHITECTURES, BOOT_MODES, IMAGE_TIMEOUT
from pycloudlib.ec2.images.catalogue import KIND as IMAGE
from pycloudlib.ec2.images.image import Image
from pycloudlib.ec2.images.queries import is_of_type, release_query
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.storage.snapshots import Snapshot, Snapshots
from pycloudlib.errors import ImageNotFoundError, InvalidArgumentError
from pycloudlib.lifecycle import UndoOrder
from pycloudlib.tags import timestamped

logger = logging.getLogger(__name__)


class ImageCalls(Facade):
    """The methods for images."""

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
        image = self._images.get(image_id)
        if image_type is not None and not is_of_type(image.name, image_type):
            raise ImageNotFoundError(
                image_id, message=f"{image_id} is not of type {image_type.value!r}: its name is {image.name!r}"
            )
        if image.serial is None:
            raise InvalidArgumentError(f"the name of {image_id} tells no serial: {image.name!r}")
        return image.serial

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
        found = self._images.find(owners, filters, include_deprecated=include_deprecated)
        return [Image(one, self._images) for one in found]

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
        found = cast("EC2Instance", self.get_instance(instance)) if isinstance(instance, str) else instance
        return capture.of(found, self._images)

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
        if architecture not in ARCHITECTURES:
            raise InvalidArgumentError(f"architecture is {architecture!r}; allowed are {', '.join(ARCHITECTURES)}")
        if boot_mode is not None and boot_mode not in BOOT_MODES:
            raise InvalidArgumentError(f"boot_mode is {boot_mode!r}; allowed are {', '.join(BOOT_MODES)}")
        deadline = Deadline.after(timeout)
        snapshot = Snapshots(self._region_context).completed(
            snapshot_id.id if isinstance(snapshot_id, Snapshot) else snapshot_id, deadline
        )
        parameters: dict[str, Any] = {
            "Architecture": architecture,
            "RootDeviceName": root_device_name,
            "VirtualizationType": "hvm",
            "EnaSupport": ena,
            "BlockDeviceMappings": [{"DeviceName": root_device_name, "Ebs": {"SnapshotId": snapshot.id}}],
        }
        if boot_mode is not None:
            parameters["BootMode"] = boot_mode
        image_id = self._images.register(name, description, tags, parameters, deadline)
        self._images.wait_or_delete(image_id, deadline)
        return image_id

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
