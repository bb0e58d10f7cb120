"""Requests to change the state of instances (StartInstances, StopInstances, RebootInstances, TerminateInstances)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import responded

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

Operation = Literal["reboot_instances", "start_instances", "stop_instances", "terminate_instances"]


def request_state(client: EC2Client, operation: Operation, ids: Sequence[str], deadline: Deadline) -> None:
    """Request a state change of one or several instances with one call.

    Args:
        client: the boto3 EC2 client.
        operation: the boto3 method.
        ids: the instance ids; EC2 rejects the whole call for one of them.
        deadline: when to stop waiting for EC2.

    Raises:
        IllegalStateError: the state of an instance does not allow it.
        CloudError: EC2 rejected the request.
        NoResponseError: EC2 did not respond in time.
    """
    call: Callable[..., Any] = getattr(client, operation)
    subject = ids[0] if len(ids) == 1 else f"{len(ids)} instances"
    action = f"{operation.removesuffix('_instances')} {subject}"
    responded(partial(call, InstanceIds=list(ids)), what=action, deadline=deadline)
