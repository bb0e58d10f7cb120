"""Creation of an image from an instance: clean, stop, create the image, and start again while EC2 still creates it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from pycloudlib.deadline import Deadline, check_timeout
from pycloudlib.ec2.images.catalogue import IMAGE_TIMEOUT, UNDO_TIMEOUT, Images, check_image_name
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.ec2.storage.snapshots import check_description
from pycloudlib.errors import InstanceStateError, PycloudlibError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Capture:
    """The options for creating an image of an instance (CreateImage).

    Args:
        name: the name, unique among the account's images.
        description: the description; at most 255 characters; default none.
        tags: further tags of the image and its snapshots; default none.
        clean: whether to clean the guest so that instances of the image run their first boot; default yes.
        wait: whether to wait until the image is available and the instance is ready again; default yes.
        timeout: seconds for all of it, from the cleaning until the instance is ready again; default 3600.

    Raises:
        InvalidArgumentError: the name, the description, or the timeout is invalid.
    """

    name: str
    description: str = ""
    tags: Mapping[str, str] | None = None
    clean: bool = True
    wait: bool = True
    timeout: float = IMAGE_TIMEOUT

    def __post_init__(self) -> None:
        check_image_name(self.name)
        check_description(self.description)
        check_timeout(self.timeout)

    def of(self, instance: EC2Instance, images: Images) -> str:
        """Create the image. An instance that was running is started again, also after an error.

        Args:
            instance: the instance, which must be running or stopped.
            images: the images of the instance's region.

        Returns:
            The AMI id.

        Raises:
            InstanceStateError: the instance is neither running nor stopped, or it is stopped and `clean` is true.
            IllegalStateError: the image failed; the message has EC2's reason. The image is deleted.
            PycloudlibTimeoutError: the image was not available in time. The image is deleted.
            InstanceError: the instance did not become ready again in time; the image remains.
            PycloudlibError: `instance.clean()` failed, or EC2 rejected the request.
        """
        images.context.tags_for("image", "snapshot", name=self.name, extra=self.tags)
        deadline = Deadline.after(self.timeout)
        runs = self._runs(instance, deadline)
        if runs and self.clean:
            instance._clean_by(deadline)
        with _restarted_on_exit(instance, deadline) if runs else nullcontext():
            if runs:
                instance._shutdown_by(deadline.at_most(instance.stop_timeout))
            image_id = images.create(
                instance.id, self.name, self.description, self.tags, username=instance.username, deadline=deadline
            )
        if self.wait:
            images.wait_or_delete(image_id, deadline)
            if runs:
                instance._wait_by(deadline.at_most(instance.boot_timeout))
        return image_id

    def _runs(self, instance: EC2Instance, deadline: Deadline) -> bool:
        state = instance._state_by(deadline)
        if state is InstanceState.RUNNING:
            return True
        if state is not InstanceState.STOPPED:
            raise _refusal(instance, state, "it must be running or stopped")
        if self.clean:
            raise _refusal(instance, state, "start it first, or pass clean=False")
        return False


@contextmanager
def _restarted_on_exit(instance: EC2Instance, deadline: Deadline) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # Also after Ctrl-C: do not leave the instance stopped.
        _start_or_log(instance, deadline.at_most(instance.stop_timeout).at_least(UNDO_TIMEOUT))
        raise
    instance._start_by(deadline.at_most(instance.boot_timeout))


def _start_or_log(instance: EC2Instance, deadline: Deadline) -> None:
    try:
        if instance._state_by(deadline) is InstanceState.RUNNING:
            # EC2 rejected the stop request.
            return
        instance._wait_for_stop_by(deadline)
        instance._start_by(deadline)
    except PycloudlibError as error:
        logger.error("%s was not started again: %s", instance.id, error)


def _refusal(instance: EC2Instance, state: InstanceState, advice: str) -> InstanceStateError:
    return InstanceStateError(
        f"cannot create an image of {instance.id}: it is {state}; {advice}",
        instance_id=instance.id,
        state=str(state),
        instance=instance,
    )
