"""Making an image of an instance: cleaned, shut down, imaged, and started again while the image is still being made."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pycloudlib.deadline import Deadline, check_timeout
from pycloudlib.ec2.images.catalogue import IMAGE_TIMEOUT, Images, check_image_name
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.poller import InstanceState
from pycloudlib.ec2.storage.snapshots import check_description
from pycloudlib.errors import InstanceStateError, PycloudlibError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Capture:
    """How an image of an instance is made.

    Args:
        name: unique among one's own images.
        description: in words; at most 255 characters.
        tags: further tags of the image and its snapshots.
        clean: whether the guest is made to boot as for the first time.
        wait: whether to wait until the image is available and the instance is ready again.
        timeout: seconds for the image.

    Raises:
        InvalidArgumentError: EC2 would refuse the name or the description, or the timeout is no number.
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
        """Make the image. An instance that ran before runs again afterwards, whatever happens.

        Args:
            instance: it runs, or is stopped.
            images: those of its region.

        Returns:
            The AMI id.

        Raises:
            InstanceStateError: it neither runs nor is stopped; or it is stopped and should be cleaned.
            IllegalStateError: the image failed; with EC2's own reason. It is deleted again.
            PycloudlibTimeoutError: the image was not available in time; it is deleted again.
            InstanceError: the instance was not ready again; the image stays.
            PycloudlibError: cleaning failed, or EC2 refused.
        """
        images.scope.tags_for("image", "snapshot", name=self.name, extra=self.tags)
        runs = self._runs(instance)
        if runs and self.clean:
            instance.clean()
        with _started_again(instance) if runs else _as_it_is():
            if runs:
                instance.shutdown()
            deadline = Deadline.after(self.timeout)
            image_id = images.create(
                instance.id, self.name, self.description, self.tags, username=instance.username, deadline=deadline
            )
        if self.wait:
            images.wait_or_delete(image_id, deadline)
            if runs:
                instance.wait()
        return image_id

    def _runs(self, instance: EC2Instance) -> bool:
        state = instance.state_by(Deadline.after(self.timeout))
        if state is InstanceState.RUNNING:
            return True
        if state is not InstanceState.STOPPED:
            raise _refusal(instance, state, "it must run or be stopped")
        if self.clean:
            raise _refusal(instance, state, "start it first, or pass clean=False")
        return False


@contextmanager
def _started_again(instance: EC2Instance) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # Ctrl-C too: whoever is interrupted here would find it stopped.
        _start_or_log(instance)
        raise
    instance.start(wait=False)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _start_or_log(instance: EC2Instance) -> None:
    try:
        if instance.state is InstanceState.RUNNING:
            # It was refused to be stopped.
            return
        instance.wait_for_stop()
        instance.start(wait=False)
    except PycloudlibError as error:
        logger.error("%s was not started again: %s", instance.id, error)


def _refusal(instance: EC2Instance, state: InstanceState, advice: str) -> InstanceStateError:
    return InstanceStateError(
        f"{instance.id}: no image can be made of it: it is {state}; {advice}",
        instance_id=instance.id,
        state=str(state),
        instance=instance,
    )
