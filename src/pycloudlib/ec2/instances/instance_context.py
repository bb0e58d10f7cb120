"""The cloud's context for an instance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.instances.poller import Poller
from pycloudlib.setting_values import CloudInitFailure
from pycloudlib.ssh.host_keys import KeyOwners, Mode

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@dataclass(frozen=True)
class InstanceContext:
    """The cloud's context for an instance.

    Args:
        region_context: the context in which the instance's devices are created.
        client: the boto3 EC2 client.
        poller: polls the states of all instances.
        port: the port of sshd on every instance.
        host_keys: how to verify host keys: "console", "pinned", or "insecure".
        boot_timeout: seconds until an instance must be ready.
        on_deleted: called with the id of a terminated instance.
        cloud_init_failure: the reaction to a cloud-init error while waiting: "raise" (default) or "warn".
        key_owners: the instance of each host key.
    """

    region_context: RegionContext
    client: EC2Client
    poller: Poller
    port: int
    host_keys: Mode
    boot_timeout: float
    on_deleted: Callable[[str], object]
    cloud_init_failure: CloudInitFailure = "raise"
    key_owners: KeyOwners = field(default_factory=KeyOwners)
