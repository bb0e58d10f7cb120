"""Finding images, making them, and deleting them."""

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
    """What is asked about images."""

    @property
    def created_images(self) -> CreatedResources[str]:
        """The ids of the images that clean() deletes: those made here, in this region, and not deleted yet.

        clean() keeps an image that is removed from this list, and deletes one that is appended to it. Oldest first.
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

    def image_serial(self, image_id: str, image_type: ImageType | None = None) -> str:
        """Return the serial of an image, which is the day of its build, as its name says: "20240423", "20240423.1".

        Args:
            image_id: the AMI.
            image_type: the type that the image must have by its name; default any.

        Raises:
            ImageNotFoundError: there is no such AMI, or it is of another type.
            InvalidArgumentError: its name has no serial, or there is no such type.
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
        """Find the newest image of a name, among one's own and those of Canonical, Debian and Amazon.

        Args:
            name: the name; `*` and `?` stand for any characters and any one character.

        Returns:
            The AMI id.

        Raises:
            ImageNotFoundError: there is none.
        """
        return self._images.named(name).image_id

    def images(
        self,
        *,
        owner: str | Iterable[str] | None = "self",
        include_deprecated: bool = False,
        **filters: object,
    ) -> list[Image]:
        """List the images that match, oldest first (DescribeImages).

        Args:
            owner: an account id or "self" (default), "amazon", "aws-marketplace"; several of them; or None for
                everybody, which may be a hundred thousand.
            include_deprecated: whether images past their date of deprecation are found; default no.
            **filters: EC2's, with underscores for hyphens: `name="debian-12-*"`, `state="available"`; and
                `tag={"team": "blue"}`. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html
        """
        owners = [owner] if isinstance(owner, str) else owner or ()
        found = self._images.find(owners, filters, include_deprecated=include_deprecated)
        return [Image(one, self._images) for one in found]

    def image(self, image_id: str) -> Image:
        """Give an image that exists already; clean() leaves it alone.

        Args:
            image_id: such as "ami-0123456789abcdef0".

        Raises:
            ImageNotFoundError: there is none.
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
        """Make an image of an instance and all of its volumes (CreateImage).

        The instance is shut down for it, and started again while the image is still being made; one that is stopped
        stays so. clean() of this object deletes the image, with its snapshots.

        Args:
            instance: the instance, or its id.
            clean: whether `instance.clean()` is called first, so that the image boots as a first boot; default yes.
                The instance then has a first boot too when it is started again.
            name: unique among one's own images; default the tag and the time.
            description: in words, at most 255 characters; default none.
            tags: further tags of the image and its snapshots; default none.
            wait: whether to wait until the image is available and the instance is ready again; default yes.
            timeout: seconds for the image, from the moment at which it is asked for; default 3600.

        Returns:
            The AMI id.

        Raises:
            InvalidArgumentError: EC2 would refuse an argument.
            InstanceStateError: the instance neither runs nor is stopped; or it is stopped and should be cleaned.
            IllegalStateError: the image failed; with EC2's own reason. It is deleted again.
            PycloudlibTimeoutError: the image was not available in time; it is deleted again, or by clean().
            InstanceError: the instance was not ready again; the image stays.
            PycloudlibError: cleaning failed, or EC2 refused.
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
        """Make an image of the snapshot of a root volume (RegisterImage).

        clean() deletes the image; the snapshot only if it was made here too.

        Args:
            snapshot_id: the snapshot, or its id; it must be completed.
            name: unique among one's own images.
            description: in words, at most 255 characters; default none.
            architecture: "x86_64" (default), "arm64" or "i386".
            root_device_name: default "/dev/xvda".
            ena: whether the guest has a driver for the Elastic Network Adapter, as every recent one has; default yes.
            boot_mode: "legacy-bios", "uefi" or "uefi-preferred"; default what suits the architecture.
            tags: further tags; default none.
            timeout: seconds until it is available; default 3600.

        Returns:
            The AMI id.

        Raises:
            NoResponseError: EC2 did not respond in time. clean() deletes the image.
            InvalidArgumentError: EC2 would refuse an argument.
            ResourceNotFoundError: there is no such snapshot.
            IllegalStateError: the snapshot is not completed, or the image failed.
            CloudError: EC2 refused; for example, there is an image of this name.
        """
        if architecture not in ARCHITECTURES:
            raise InvalidArgumentError(f"architecture is {architecture!r}; allowed are {', '.join(ARCHITECTURES)}")
        if boot_mode is not None and boot_mode not in BOOT_MODES:
            raise InvalidArgumentError(f"boot_mode is {boot_mode!r}; allowed are {', '.join(BOOT_MODES)}")
        deadline = Deadline.after(timeout)
        snapshot = Snapshots(self._scope).completed(
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
        """Delete an image (DeregisterImage) and every snapshot behind it (DeleteSnapshot); one that is gone is fine.

        A snapshot that another image of one's own needs too is left to that one. Instances that run it go on.

        Args:
            image_id: the AMI.

        Raises:
            ImageNotFoundError: it is no AMI id at all.
            CloudError: EC2 refused.
            CleanupError: some of the snapshots could not be deleted.
        """
        self._images.delete(image_id)

    image_delete = delete_image
