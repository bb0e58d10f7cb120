"""What an instance needs of its cloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pycloudlib.ec2.api.scope import Scope
from pycloudlib.ec2.instances.poller import Poller
from pycloudlib.setting_values import CloudInitFailure
from pycloudlib.ssh.host_keys import KeyOwners, Mode

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@dataclass(frozen=True)
class Access:
    """What an instance needs of its cloud.

    Args:
        scope: where its devices are created.
        client: the boto3 EC2 client.
        poller: who asks EC2 for states, for everybody.
        port: where the sshd of every instance listens.
        host_keys: how an instance proves who it is: "console", "pinned" or "insecure".
        boot_timeout: seconds until an instance must be ready.
        on_deleted: told the id of an instance that is gone.
        cloud_init_failure: what waiting does when cloud-init ended in error: "raise" or "warn".
        key_owners: which instance has which host key.
    """

    scope: Scope
    client: EC2Client
    poller: Poller
    port: int
    host_keys: Mode
    boot_timeout: float
    on_deleted: Callable[[str], object]
    cloud_init_failure: CloudInitFailure = "raise"
    key_owners: KeyOwners = field(default_factory=KeyOwners)
