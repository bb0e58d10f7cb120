"""Waiting for what EC2 says of an instance."""

from __future__ import annotations

from pycloudlib import EC2Instance
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.waiting import wait_until


def wait_for_state(instance: EC2Instance, state: InstanceState) -> None:
    """Wait at most four minutes until EC2 says that an instance is in a state."""
    wait_until(
        lambda: instance.state is state,
        what=f"{instance.id} to be {state}",
        deadline=Deadline.after(240),
        interval=0.5,
        last_seen=lambda: instance.state,
    )
