"""Boots of real instances, asked where their time went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycloudlib.errors import InstanceError
from pycloudlib.guest.questions import ask
from pycloudlib.tags import NAME
from pycloudlib.timeline.guest import QUESTIONS, boot_by_itself, boot_record

if TYPE_CHECKING:
    from pycloudlib.ec2.instance import EC2Instance
    from pycloudlib.timeline.model import BootRecord

TIMEOUT = 300.0
"""Seconds for the questions: under emulation, programs start slowly."""


def of_launched_instance(instance: EC2Instance, label: str) -> BootRecord:
    """The boot of an instance that was launched, started or restarted here, and waited for.

    Args:
        instance: the instance.
        label: what its boot is compared by, such as the image's name.

    Raises:
        InstanceError: it does not tell the time.
        SSHError: it could not be asked.
    """
    answers = ask(instance.execute, QUESTIONS, timeout=TIMEOUT)
    record = boot_record(answers, instance.timeline, label=label, image_id=instance.image_id, instance_id=instance.id)
    return _told(record, instance)


def of_running_instance(instance: EC2Instance) -> BootRecord:
    """The latest boot of an instance that somebody else waited for: seconds since its kernel started.

    Args:
        instance: the instance.

    Raises:
        InstanceError: it does not tell the time.
        SSHError: it could not be asked.
    """
    answers = ask(instance.execute, QUESTIONS, timeout=TIMEOUT)
    record = boot_by_itself(
        answers, label=instance.tags.get(NAME, instance.id), image_id=instance.image_id, instance_id=instance.id
    )
    return _told(record, instance)


def _told(record: BootRecord | None, instance: EC2Instance) -> BootRecord:
    if record is None:
        raise InstanceError(f"{instance.id} does not tell when it booted", instance_id=instance.id, instance=instance)
    return record
