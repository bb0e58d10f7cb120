"""sweep() finds what other runs created and left, by this library's tags, and deletes that and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.sweep.orphans import INSTANCE, KINDS
from pycloudlib.errors import InvalidArgumentError
from pycloudlib.tags import Ownership, tag_specifications, timestamped, utc_now

if TYPE_CHECKING:
    from contract.conftest import Endpoint

HOUR = 3600


@dataclass
class Traces:
    """What somebody created, all of it tagged alike, and did not delete.

    Args:
        ec2: where.
        run: who: the run.
        owner: who: user@host.
        age: seconds since then.
        ttl: seconds for which it was meant to live; None for ever.
        tagged: whether it carries this library's tags; otherwise others.
    """

    ec2: EC2
    run: str
    owner: str
    age: float = 2 * HOUR
    ttl: int | None = None
    tagged: bool = True
    vpc_id: str = ""
    ids: list[str] = field(default_factory=list)

    def tags(self, *resource_types: str) -> Any:
        own = Ownership(self.run, self.owner, self.ttl, now=self._then).tags("trace")
        return tag_specifications(resource_types, own if self.tagged else {"Name": "trace", "team": "others"})

    def _then(self) -> datetime:
        return utc_now() - timedelta(seconds=self.age)

    def network(self) -> None:
        client = self.ec2.client
        vpc = client.create_vpc(CidrBlock="10.77.0.0/16", TagSpecifications=self.tags("vpc"))
        self.vpc_id = vpc_id = vpc["Vpc"]["VpcId"]
        gateway_tags = self.tags("internet-gateway")
        gateway = client.create_internet_gateway(TagSpecifications=gateway_tags)["InternetGateway"]["InternetGatewayId"]
        client.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
        table = client.create_route_table(VpcId=vpc_id, TagSpecifications=self.tags("route-table"))
        table_id = table["RouteTable"]["RouteTableId"]
        client.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        subnet_tags = self.tags("subnet")
        subnet = client.create_subnet(VpcId=vpc_id, CidrBlock="10.77.1.0/24", TagSpecifications=subnet_tags)
        subnet_id = subnet["Subnet"]["SubnetId"]
        client.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)
        groups = [self.security_group(name) for name in ("one", "other")]
        for group, other in (groups, reversed(groups)):
            pairs: Any = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}]
            client.authorize_security_group_ingress(GroupId=group, IpPermissions=pairs)
        interface_tags = self.tags("network-interface")
        interface = client.create_network_interface(
            SubnetId=subnet_id, Groups=groups[:1], TagSpecifications=interface_tags
        )
        interface_id = interface["NetworkInterface"]["NetworkInterfaceId"]
        address = client.allocate_address(Domain="vpc", TagSpecifications=self.tags("elastic-ip"))
        client.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=interface_id)
        self.ids += [vpc_id, gateway, table_id, subnet_id, *groups, interface_id, address["AllocationId"]]

    def security_group(self, name: str) -> str:
        created = self.ec2.client.create_security_group(
            GroupName=name, Description=name, VpcId=self.vpc_id, TagSpecifications=self.tags("security-group")
        )
        return created["GroupId"]

    def volume(self) -> str:
        zone = f"{self.ec2.region}a"
        created = self.ec2.client.create_volume(AvailabilityZone=zone, Size=1, TagSpecifications=self.tags("volume"))
        self.ids.append(created["VolumeId"])
        return created["VolumeId"]

    def snapshot(self, volume_id: str) -> str:
        created = self.ec2.client.create_snapshot(VolumeId=volume_id, TagSpecifications=self.tags("snapshot"))
        self.ec2.client.get_waiter("snapshot_completed").wait(
            SnapshotIds=[created["SnapshotId"]], WaiterConfig={"Delay": 1}
        )
        self.ids.append(created["SnapshotId"])
        return created["SnapshotId"]

    def image(self, snapshot_id: str) -> str:
        mappings: Any = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}]
        created = self.ec2.client.register_image(
            Name=timestamped("trace"),
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=mappings,
            TagSpecifications=self.tags("image"),
        )
        # Once more, because moto forgets the tags of what it registers.
        (specification,) = self.tags("image")
        self.ec2.client.create_tags(Resources=[created["ImageId"]], Tags=specification["Tags"])
        self.ids.append(created["ImageId"])
        return created["ImageId"]

    def key_pair(self) -> str:
        name = timestamped("trace")
        self.ec2.client.create_key_pair(KeyName=name, TagSpecifications=self.tags("key-pair"))
        self.ids.append(name)
        return name

    def instance(self, image_id: str, **parameters: Any) -> str:
        created = self.ec2.client.run_instances(
            ImageId=image_id,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=self.tags("instance", "volume", "network-interface"),
            **parameters,
        )
        instance_id = created["Instances"][0]["InstanceId"]
        self.ids.append(instance_id)
        return instance_id

    def one_of_everything(self, image_id: str) -> None:
        self.network()
        self.image(self.snapshot(self.volume()))
        self.key_pair()
        self.instance(image_id)

    def left(self) -> set[str]:
        """What of it is still there, whatever a sweep may say."""
        found = [one.id for kind in KINDS for one in kind.find(self.ec2._region_context)]
        untagged = [] if self.tagged else [one for one in self.ids if _is_there(self.ec2, one)]
        return {one for one in self.ids if one in found} | set(untagged)


def _is_there(ec2: EC2, resource_id: str) -> bool:
    client = ec2.client
    calls = {
        "vol": lambda: client.describe_volumes(VolumeIds=[resource_id])["Volumes"],
        "snap": lambda: client.describe_snapshots(SnapshotIds=[resource_id])["Snapshots"],
        "trace": lambda: client.describe_key_pairs(KeyNames=[resource_id])["KeyPairs"],
    }
    return bool(calls[resource_id.partition("-")[0]]())


@pytest.fixture
def run(ec2: EC2) -> Iterator[str]:
    """The id of a run that has ended, of which nothing is left after the test."""
    run = timestamped("run")
    yield run
    found = ec2.sweep(run=run, owner="any").found
    for orphan in found:
        if orphan.kind == INSTANCE:
            ec2.client.modify_instance_attribute(InstanceId=orphan.id, DisableApiTermination={"Value": False})
    assert not found or ec2.sweep(run=run, owner="any", dry_run=False).is_clean


@pytest.fixture
def owner() -> str:
    return f"{timestamped('somebody')}@elsewhere"


def test_a_dry_run_finds_one_of_everything_and_deletes_nothing(ec2: EC2, run: str, owner: str, image_id: str) -> None:
    traces = Traces(ec2, run, owner)
    traces.one_of_everything(image_id)
    report = ec2.sweep(owner=owner)
    # An instance has a volume and an interface of its own, where EC2 tags them too.
    assert {one.id for one in report.found} >= set(traces.ids)
    assert {one.kind for one in report.found} == {kind.name for kind in KINDS}
    assert {one.run for one in report.found} == {run}
    assert (report.deleted, report.dry_run, report.is_clean) == ((), True, False)
    assert [one.orphan for one in report.left] == list(report.found)
    assert traces.left() == set(traces.ids)


def test_a_sweep_deletes_one_of_everything(ec2: EC2, run: str, owner: str, image_id: str) -> None:
    traces = Traces(ec2, run, owner)
    traces.one_of_everything(image_id)
    report = ec2.sweep(owner=owner, dry_run=False)
    assert [str(one) for one in report.left] == []
    assert report.is_clean
    assert Counter(report.deleted) == Counter(report.found)
    assert traces.left() == set()
    assert ec2.sweep(owner=owner).found == ()


def test_what_others_created_stays(ec2: EC2, run: str, owner: str) -> None:
    meant = Traces(ec2, run, owner)
    decoys = [
        Traces(ec2, run, f"not-{owner}"),
        Traces(ec2, f"{run}-other", owner, age=HOUR / 2),
        Traces(ec2, run, owner, tagged=False),
    ]
    for traces in (meant, *decoys):
        traces.snapshot(traces.volume())
        traces.key_pair()
    report = ec2.sweep(owner=owner, older_than=HOUR, dry_run=False)
    assert report.is_clean
    assert {one.id for one in report.deleted} == set(meant.ids)
    assert [traces.left() for traces in decoys] == [set(traces.ids) for traces in decoys]


def test_only_what_is_past_its_time_is_expired(ec2: EC2, run: str, owner: str) -> None:
    over = Traces(ec2, run, owner, age=2 * HOUR, ttl=HOUR)
    others = [Traces(ec2, run, owner, age=2 * HOUR, ttl=3 * HOUR), Traces(ec2, run, owner)]
    for traces in (over, *others):
        traces.key_pair()
    assert {one.id for one in ec2.sweep(owner=owner, expired=True, dry_run=False).deleted} == set(over.ids)
    assert [traces.left() for traces in others] == [set(traces.ids) for traces in others]


def test_a_run_is_found_by_how_its_id_begins(ec2: EC2, run: str, owner: str) -> None:
    workers = [Traces(ec2, f"{run}-gw{number}", owner) for number in range(2)]
    for traces in workers:
        traces.key_pair()
    assert {one.id for one in ec2.sweep(run=run, owner="any").found} == {workers[0].ids[0], workers[1].ids[0]}
    assert {one.id for one in ec2.sweep(run=f"{run}-gw1", owner="any").found} == set(workers[1].ids)
    assert ec2.sweep(run=f"{run}-gw1", owner=f"not-{owner}").found == ()


def test_this_process_own_resources_are_left_alone_unless_its_run_is_named(ec2: EC2) -> None:
    own = ec2._ownership
    mine = Traces(ec2, own.run, own.owner, age=0)
    name = mine.key_pair()
    assert name not in {one.id for one in ec2.sweep().found}
    assert name in {one.id for one in ec2.sweep(run=own.run).found}
    ec2.client.delete_key_pair(KeyName=name)


def test_sweep_keeps_a_protected_instance_and_reports_the_delete_command(
    ec2: EC2, run: str, owner: str, image_id: str
) -> None:
    traces = Traces(ec2, run, owner)
    protected = traces.instance(image_id)
    ec2.client.modify_instance_attribute(InstanceId=protected, DisableApiTermination={"Value": True})
    other = traces.instance(image_id)
    report = ec2.sweep(owner=owner, dry_run=False)
    assert other in {one.id for one in report.deleted}
    left = {one.orphan.id: one for one in report.left}
    assert protected in left
    assert "--no-disable-api-termination" in left[protected].by_hand
    assert f"terminate-instances --region {ec2.region}" in left[protected].by_hand
    assert all(one.orphan.instance_id == protected for one in report.left if one.orphan.id != protected)
    assert not report.is_clean


def test_a_volume_in_an_instance_that_stays_stays_with_it(ec2: EC2, run: str, owner: str, image_id: str) -> None:
    stays = Traces(ec2, run, f"not-{owner}").instance(image_id)
    ec2.client.get_waiter("instance_running").wait(InstanceIds=[stays], WaiterConfig={"Delay": 1})
    reservations = ec2.client.describe_instances(InstanceIds=[stays])["Reservations"]
    zone = reservations[0]["Instances"][0]["Placement"]["AvailabilityZone"]
    traces = Traces(ec2, run, owner)
    volume = ec2.client.create_volume(AvailabilityZone=zone, Size=1, TagSpecifications=traces.tags("volume"))
    volume_id = volume["VolumeId"]
    ec2.client.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig={"Delay": 1})
    ec2.client.attach_volume(InstanceId=stays, VolumeId=volume_id, Device="/dev/sdf")
    (left,) = ec2.sweep(owner=owner, dry_run=False).left
    assert left.orphan.id == volume_id
    assert stays in left.reason


def test_sweep_of_several_regions_reports_each_region(ec2: EC2, endpoint: Endpoint, run: str, owner: str) -> None:
    elsewhere = ec2.in_region("eu-west-1")
    here, there = Traces(ec2, run, owner), Traces(elsewhere, run, owner)
    here.key_pair()
    there.key_pair()
    report = ec2.sweep(owner=owner, regions=[endpoint.region, "eu-west-1"], dry_run=False)
    assert {(one.region, one.id) for one in report.deleted} == {
        (endpoint.region, here.ids[0]),
        ("eu-west-1", there.ids[0]),
    }
    assert (here.left(), there.left()) == (set(), set())


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_a_sweep_of_all_regions_looks_into_each(ec2: EC2, run: str, owner: str) -> None:
    there = Traces(ec2.in_region("eu-west-1"), run, owner)
    there.key_pair()
    report = ec2.sweep(owner=owner, regions="all")
    assert [(one.region, one.id) for one in report.found] == [("eu-west-1", there.ids[0])]


@pytest.mark.parametrize("endpoint", ["moto"], indirect=True)
@pytest.mark.parametrize(
    "arguments",
    [
        {"older_than": -1},
        {"older_than": "2h"},
        {"older_than": True},
        {"older_than": float("nan")},
        {"run": ""},
        {"owner": ""},
        {"expired": 1},
        {"dry_run": None},
        {"regions": []},
        {"regions": "nowhere-1"},
    ],
    ids=str,
)
def test_arguments_that_mean_nothing_are_refused(ec2: EC2, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(arguments)).rstrip("s")):
        ec2.sweep(**arguments)
