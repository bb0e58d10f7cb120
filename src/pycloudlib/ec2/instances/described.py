"""The attributes of an instance in EC2's description."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.description import InstanceDescription, InstanceState
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.status import Status
from pycloudlib.errors import InstanceStateError
from pycloudlib.instance import BaseInstance
from pycloudlib.key import KeyPair
from pycloudlib.ssh.host_keys import HostKeys

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.service_resource import Instance


class DescribedInstance(BaseInstance):
    """An instance with EC2's latest description.

    Args:
        description: EC2's description of the instance.
        context: the cloud's context.
        username: the login user.
        key_pair: the key pair for the login; None to disable logins.
        launched: whether the instance was just launched, so that EC2 may not find it yet; default no.
    """

    _type = "ec2"

    def __init__(
        self,
        description: InstanceDescription,
        context: InstanceContext,
        *,
        username: str,
        key_pair: KeyPair | None,
        launched: bool = False,
    ) -> None:
        super().__init__(
            description.instance_id,
            username=username,
            key_pair=key_pair,
            port=context.port,
            host_keys=HostKeys(context.host_keys),
        )
        self._context = context
        self._status = Status(description, context.poller, launched=launched)
        self._create_parts(context, launched=launched)

    def _create_parts(self, context: InstanceContext, *, launched: bool) -> None:
        """Create the objects to which the instance delegates. Subclasses extend this method, not the constructor.

        Args:
            context: the cloud context.
            launched: whether the instance is newly launched.
        """

    @property
    def description(self) -> InstanceDescription:
        """The latest description; `refresh()` updates it."""
        return self._status.seen

    @property
    def name(self) -> str:
        """The instance id, as in pycloudlib. The tag "Name" is in `tags`."""
        return self.id

    @property
    def tags(self) -> dict[str, str]:
        """The tags, as of the latest description; `refresh()` updates them."""
        return dict(self._status.seen.tags)

    @property
    def image_id(self) -> str:
        """The AMI from which the instance was launched."""
        return self._status.seen.image_id

    @property
    def instance_type(self) -> str:
        """The instance type, such as "t3.micro"."""
        return self._status.seen.instance_type

    @property
    def availability_zone(self) -> str:
        """The availability zone, such as "eu-central-1a"."""
        return self._status.seen.availability_zone

    @property
    def state(self) -> InstanceState:
        """The current state. Each access calls DescribeInstances.

        Raises:
            InstanceNotFoundError: the instance no longer exists.
        """
        return self._status.refresh().state

    def _state_by(self, deadline: Deadline) -> InstanceState:
        """Return the current state, like `state` (DescribeInstances).

        Args:
            deadline: when to stop waiting for EC2.

        Raises:
            InstanceNotFoundError: the instance no longer exists.
            NoResponseError: EC2 did not respond in time.
        """
        return self._status.refresh(deadline).state

    @property
    def ip(self) -> str:
        """The public IPv4 address, or else the private IPv4 address, or else the IPv6 address.

        Raises:
            InstanceStateError: the instance was deleted, or has no address.
        """
        self._refuse_if_deleted("reached")
        if self._status.seen.state is not InstanceState.RUNNING:
            self.refresh()
        address = self._status.seen.address
        if address is None:
            raise self._state_error("it has no address")
        return address

    @property
    def private_ip(self) -> str:
        """The private IPv4 address.

        Raises:
            InstanceStateError: the instance has none.
        """
        if self._status.seen.private_ip is None:
            raise self._state_error("it has no private address")
        return self._status.seen.private_ip

    @property
    def public_dns_name(self) -> str:
        """The public DNS name; empty without one."""
        return self._status.seen.public_dns_name

    @property
    def private_dns_name(self) -> str:
        """The private DNS name; empty without one."""
        return self._status.seen.private_dns_name

    @property
    def _client(self) -> EC2Client:
        """The boto3 client, under the name that test suites for pycloudlib use."""
        return self._context.client

    @property
    def _instance(self) -> Instance:
        """The boto3 resource of this instance, under the name that test suites for pycloudlib use."""
        return self._context.region_context.session.resource.Instance(self.id)

    def refresh(self) -> None:
        """Update the state, addresses, and tags (DescribeInstances).

        Raises:
            InstanceNotFoundError: the instance no longer exists.
        """
        self._status.refresh()

    @property
    def deletion_requested(self) -> bool:
        """Whether this object has called TerminateInstances."""
        return self._status.deletion_requested

    def _refuse_if_deleted(self, what: str) -> None:
        if self._status.deletion_requested:
            raise self._state_error(f"it cannot be {what}: it was deleted")

    def _state_error(self, reason: str) -> InstanceStateError:
        return InstanceStateError(
            f"{self.id}: {reason}",
            instance_id=self.id,
            state=str(self._status.seen.state),
            instance=self,
        )
