"""VPCs and security groups."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial

from pycloudlib.created import CreatedResources
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.network.rules import ANYWHERE
from pycloudlib.ec2.network.security_groups import SecurityGroup, SecurityGroups
from pycloudlib.ec2.network.vpc_plan import (
    SSH_PORT,
    GivenRule,
    VPCPlan,
    Zones,
    check_vpc_name,
    checked_ingress,
    checked_vpc_network,
    planned_subnets,
)
from pycloudlib.ec2.vpc import CREATE_TIMEOUT, VPC

logger = logging.getLogger(__name__)


class NetworkCalls(Facade):
    """The methods for VPCs and security groups."""

    @property
    def created_vpcs(self) -> CreatedResources[VPC]:
        """The VPCs that `clean()` deletes: created here and not deleted yet, oldest first.

        Remove a VPC from this list to keep it, or append one to have `clean()` delete it.
        """
        return CreatedResources(self._vpcs.created, self._vpcs.record, self._forget_vpc)

    @created_vpcs.setter
    def created_vpcs(self, vpcs: Iterable[VPC]) -> None:
        self.created_vpcs.replace(vpcs)

    def _forget_vpc(self, vpc: VPC) -> None:
        self._ledger.forget(vpc.id)

    def get_or_create_vpc(
        self,
        name: str,
        ipv4_cidr: str = "192.168.1.0/20",
        *,
        ingress: Iterable[GivenRule] = (),
        zones: Zones = None,
        timeout: float = CREATE_TIMEOUT,
    ) -> VPC:
        """Return the VPC of a name, or create one with IPv4, IPv6, and a route to the internet (CreateVpc).

        A new VPC's security group allows SSH from the setting `ssh_cidr` (default anywhere), ICMP, and all traffic
        between members. Instances get public addresses. `clean()` deletes the VPC if it was created here. An existing
        VPC is not changed: the other arguments apply to a new one only. If processes race to create VPCs of the same
        name, or several exist, all processes get the oldest.

        Args:
            name: the tag "Name", and the name of the security group.
            ipv4_cidr: the IPv4 CIDR block, /16 to /28. Host bits are cleared, so the default is 192.168.0.0/20.
            ingress: further ingress rules, each a `Rule` or a tuple (protocol, from_port, to_port, source); default
                none.
            zones: the availability zones with subnets: "all", a list, or a dict of CIDR blocks by zone; default one
                subnet in the first zone.
            timeout: seconds, including waits for another process to complete a VPC of this name; default 300.

        Raises:
            InvalidArgumentError: an argument is invalid. Nothing was created.
            IllegalStateError: the VPC of this name remained incomplete, for example after a crash of its creator; the
                message has the creator's run, and how to delete the VPC.
            NoResponseError: EC2 did not respond in time. `clean()` deletes the resources created until then.
            PycloudlibTimeoutError: the VPC was not created in time. `clean()` deletes what could not be deleted in
                time.
            CapacityError: the account has reached its limit of VPCs.
            CloudError: EC2 rejected a request; everything created was deleted.
        """
        check_vpc_name(name)
        network = checked_vpc_network(ipv4_cidr)
        further = checked_ingress(ingress)
        plan = partial(
            VPCPlan,
            name=name,
            ipv4_cidr=str(network),
            ssh_sources=(str(self._settings.ssh_cidr),) if self._settings.ssh_cidr else ANYWHERE,
            ssh_ports=tuple(sorted({SSH_PORT, self._settings.ssh_port})),
            ingress=further,
        )
        deadline = Deadline.after(timeout)
        vpc = self._vpcs.get_or_create(
            name, lambda: plan(subnets=planned_subnets(network, zones, self._vpcs.zones(deadline))), deadline
        )
        logger.info("using the VPC %s: %s with %s", name, vpc.id, vpc.ipv4_cidr)
        return vpc

    def security_groups(self, **filters: object) -> list[SecurityGroup]:
        """Return the security groups of the account in this region, sorted by name (DescribeSecurityGroups).

        Args:
            **filters: EC2's filters, with underscores for hyphens: `group_name="web"`, `vpc_id=vpc.id`,
                `tag={"team": "blue"}`; a list matches any of its values. Default all groups.
        """
        return SecurityGroups(self._region_context).find(filters)

    def create_security_group(
        self,
        name: str,
        description: str,
        vpc: VPC | str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> SecurityGroup:
        """Create a security group, which allows all outbound and no inbound traffic (CreateSecurityGroup).

        `clean()` deletes the group.

        Args:
            name: the name, unique in its VPC.
            description: the description.
            vpc: the VPC, or its id; default the default VPC.
            tags: further tags; default none.

        Raises:
            InvalidArgumentError: an argument is invalid.
            CloudError: EC2 rejected the request; for example, the name is taken.
        """
        vpc_id = vpc.id if isinstance(vpc, VPC) else vpc
        return SecurityGroups(self._region_context).create(name, description, vpc_id=vpc_id, tags=tags)
