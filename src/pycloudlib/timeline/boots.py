"""The boot timelines of real instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycloudlib.errors import InstanceError
from pycloudlib.guest.probes import run_probes
from pycloudlib.tags import NAME
from pycloudlib.timeline.guest import QUESTIONS, boot_by_itself, boot_record

if TYPE_CHECKING:
    from pycloudlib.ec2.instance import EC2Instance
    from pycloudlib.timeline.model import BootRecord

TIMEOUT = 300.0
"""Seconds for all probes: under emulation, programs start slowly."""


def of_launched_instance(instance: EC2Instance, label: str) -> BootRecord:
    """Return the boot record of an instance that was launched, started, or restarted, and awaited here.

    Args:
        instance: the instance.
        label: the group of the boot in comparisons, such as the image's name.

    Raises:
        InstanceError: the guest does not report the time of its boot.
        SSHError: the connection failed or was lost.
    """
    results = run_probes(instance.execute, QUESTIONS, timeout=TIMEOUT)
    record = boot_record(results, instance.timeline, label=label, image_id=instance.image_id, instance_id=instance.id)
    return _required(record, instance)


def of_running_instance(instance: EC2Instance) -> BootRecord:
    """Return the record of the latest boot of a running instance: seconds since its kernel started.

    Args:
        instance: the instance.

    Raises:
        InstanceError: the guest does not report the time of its boot.
        SSHError: the connection failed or was lost.
    """
    results = run_probes(instance.execute, QUESTIONS, timeout=TIMEOUT)
    record = boot_by_itself(
        results, label=instance.tags.get(NAME, instance.id), image_id=instance.image_id, instance_id=instance.id
    )
    return _required(record, instance)


def _required(record: BootRecord | None, instance: EC2Instance) -> BootRecord:
    if record is None:
        raise InstanceError(f"{instance.id} does not report its boot time", instance_id=instance.id, instance=instance)
    return record
