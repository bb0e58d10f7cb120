"""Instances that are kept after their tests, with the commands to log in and to delete them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pycloudlib.errors import PycloudlibError
from pycloudlib.interrupts import sweep_command
from pycloudlib.tags import EXPIRES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.ec2.instance import EC2Instance

SSH_PORT = 22


@dataclass(frozen=True)
class Kept:
    """A kept instance.

    Args:
        instance_id: the instance id.
        reach: the command that logs in.
        expires: the expiration time.
        delete: the command that deletes it.
    """

    instance_id: str
    reach: str
    expires: str
    delete: str

    def __str__(self) -> str:
        return f"{self.instance_id}: {self.reach}\n    expires: {self.expires}\n    delete it: {self.delete}"


def keep(cloud: EC2, instance: EC2Instance, sweep_arguments: Sequence[str]) -> Kept:
    """Keep an instance.

    Args:
        cloud: the EC2 session that launched it.
        instance: the instance.
        sweep_arguments: the options of `pycloudlib sweep` for the same cloud.

    Raises:
        CloudError: EC2 rejected the request; the instance is not kept.
    """
    run = cloud.keep(instance)
    expires = instance.tags.get(EXPIRES) or "never"
    return Kept(
        instance.id, _reach(instance), expires, shlex.join([*shlex.split(sweep_command(run)), *sweep_arguments])
    )


def _reach(instance: EC2Instance) -> str:
    try:
        address = instance.ip
    except PycloudlibError as error:
        return f"cannot be reached: {error}"
    key = ["-i", str(instance.key_pair.private_key_path)] if instance.key_pair else []
    port = ["-p", str(instance.port)] if instance.port != SSH_PORT else []
    return shlex.join(["ssh", *key, *port, f"{instance.username}@{address}"])
