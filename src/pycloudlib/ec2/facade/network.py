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
    """What is asked about VPCs and security groups."""

    @property
    def created_vpcs(self) -> CreatedResources[VPC]:
        """The VPCs that clean() deletes: those created here and not deleted yet, oldest first.

        clean() keeps a VPC that is removed from this list, and deletes one that is appended to it.
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
        """Find a VPC by its name, or create one: IPv4 and IPv6, with a route to the internet (CreateVpc).

        Its security group lets in SSH (from the setting `ssh_cidr`, default from anywhere), ICMP, and all traffic
        among its members. Instances in it get public addresses. clean() deletes it if it was created here. Of one that
        is found, nothing is created or changed: the further arguments are for new ones. When several processes create
        one of the same name at the same time, all of them get the oldest; so they do when there are several.

        Args:
            name: the tag "Name", and the name of its security group.
            ipv4_cidr: its network, /16 to /28; host bits are dropped, so that the default is 192.168.0.0/20.
            ingress: what else is let in: each a `Rule`, or a tuple (protocol, from_port, to_port, source).
            zones: where it has subnets: "all", a list of availability zones, or a dict with the network for each;
                default one subnet in the first zone.
            timeout: seconds, including the time in which another process completes a VPC of this name; default 300.

        Raises:
            InvalidArgumentError: there can be no such VPC. Nothing was created.
            IllegalStateError: the VPC of this name stayed incomplete, as when its creator has crashed; says which run
                that was, and how to delete it.
            NoResponseError: EC2 did not respond in time. clean() deletes what was created by then.
            PycloudlibTimeoutError: it was not created in time. clean() deletes what could not be deleted in time.
            CapacityError: the account has as many VPCs as it may have.
            CloudError: EC2 refused; nothing is left.
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
        """List the security groups of the account in this region, by name (DescribeSecurityGroups).

        Args:
            **filters: EC2's filters, with underscores for hyphens: `group_name="web"`, `vpc_id=vpc.id`,
                `tag={"team": "blue"}`; a list of values means any of them. Default all.
        """
        return SecurityGroups(self._scope).find(filters)

    def create_security_group(
        self,
        name: str,
        description: str,
        vpc: VPC | str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> SecurityGroup:
        """Make a security group; it lets everything out and nothing in (CreateSecurityGroup). clean() deletes it.

        Args:
            name: its name, unique in its VPC.
            description: in words.
            vpc: where, or its id; default the default VPC.
            tags: further tags.

        Raises:
            InvalidArgumentError: EC2 would refuse an argument.
            CloudError: EC2 refused; for example, there is one of this name.
        """
        vpc_id = vpc.id if isinstance(vpc, VPC) else vpc
        return SecurityGroups(self._scope).create(name, description, vpc_id=vpc_id, tags=tags)
