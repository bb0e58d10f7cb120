"""FIS experiments that disrupt the connectivity of subnets, and that packets obey them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.local.api import experiment_templates, experiments
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.documents import fetch_network
from pycloudlib.local.machines.simulated import SimulatedDriver
from pycloudlib.local.network.faults import NetworkFaults
from pycloudlib.local.network.topology import Topology
from pycloudlib.waiting import wait_until
from support.guest_network import PATIENCE
from support.namespaces_ec2 import client_of, namespaces_ec2
from support.packet_lab import INTERNET, PacketLab, why_not
from support.plain_ec2 import refusal

ACTION = "aws:network:disrupt-connectivity"
ROLE = "arn:aws:iam::123456789012:role/fis"
SUBNET = "subnet-0123456789abcdef0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    with namespaces_ec2(tmp_path_factory.mktemp("disruptions"), "disrupted") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LocalEC2) -> Any:
    return client_of(server, "ec2")


@pytest.fixture(scope="module")
def fis(server: LocalEC2) -> Any:
    return client_of(server, "fis")


def arn(subnet_id: str) -> str:
    return f"arn:aws:ec2:us-east-1:123456789012:subnet/{subnet_id}"


def template(*subnet_ids: str, scope: str = "all", duration: str = "PT10M", **parameters: str) -> dict[str, Any]:
    parameters = {"scope": scope, "duration": duration, **parameters}
    target = {"resourceType": "aws:ec2:subnet", "resourceArns": list(map(arn, subnet_ids)), "selectionMode": "ALL"}
    return {
        "description": "disrupt",
        "stopConditions": [{"source": "none"}],
        "roleArn": ROLE,
        "targets": {"subnets": target},
        "actions": {"disrupt": {"actionId": ACTION, "parameters": parameters, "targets": {"Subnets": "subnets"}}},
    }


def start(fis: Any, wanted: dict[str, Any]) -> str:
    template_id = fis.create_experiment_template(**wanted)["experimentTemplate"]["id"]
    return str(fis.start_experiment(experimentTemplateId=template_id)["experiment"]["id"])


def status(fis: Any, experiment_id: str) -> str:
    return str(fis.get_experiment(id=experiment_id)["experiment"]["state"]["status"])


def acls_of(client: Any, subnet_id: str) -> list[dict[str, Any]]:
    """The network ACL of a subnet, and the clones that there are."""
    own = client.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [subnet_id]}])
    clones = client.describe_network_acls(Filters=[{"Name": "tag:managedByFIS", "Values": ["true"]}])
    return [*own["NetworkAcls"], *clones["NetworkAcls"]]


class Subnets:
    """Two interfaces in one subnet, one in another zone, and one in another VPC that is not peered."""

    def __init__(self, client: Any) -> None:
        zones = {one["AvailabilityZone"]: one for one in client.describe_subnets()["Subnets"]}
        self.first, self.other = zones["us-east-1a"], zones["us-east-1b"]
        made = [
            client.create_network_interface(SubnetId=subnet["SubnetId"])["NetworkInterface"]
            for subnet in (self.first, self.first, self.other)
        ]
        self.one, self.near, self.far = (interface["NetworkInterfaceId"] for interface in made)
        self.addresses = {one["NetworkInterfaceId"]: str(one["PrivateIpAddress"]) for one in made}
        self.id = str(self.first["SubnetId"])
        self.vpc_id = str(self.first["VpcId"])


@pytest.fixture(scope="module")
def subnets(client: Any) -> Subnets:
    return Subnets(client)


class Network:
    """The network that the server has recorded, with packets, as if machines with public addresses ran."""

    def __init__(self, server: LocalEC2, packets: PacketLab) -> None:
        self._server = server
        self.packets = packets
        self.packets.build(self.topology())

    def topology(self) -> Topology:
        topology = fetch_network(self._server.info).topology
        vpcs = {}
        for vpc_id, vpc in topology.vpcs.items():
            interfaces = {}
            for number, (interface_id, one) in enumerate(vpc.interfaces.items(), 5):
                public = replace(one.attachment.addresses[0], public_ip=f"127.9.9.{number}")
                attachment = replace(one.attachment, addresses=(public,))
                interfaces[interface_id] = replace(one, attachment=attachment, instance_id=f"i-{number}", running=True)
            vpcs[vpc_id] = replace(vpc, interfaces=interfaces)
        return replace(topology, vpcs=vpcs)

    def reaches(self, source: str, address: str, *, expected: bool) -> bool:
        self.packets.apply(self.topology())
        return self.packets.reaches(source, address, expected=expected)


@pytest.fixture(scope="module")
def network(server: LocalEC2, subnets: Subnets) -> Iterator[Network]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PacketLab() as packets:
        yield Network(server, packets)


@pytest.mark.parametrize(
    ("scope", "far", "internet"), [("all", False, False), ("availability-zone", False, True), ("vpc", True, False)]
)
def test_packets_obey_an_experiment_until_it_is_stopped(
    fis: Any, network: Network, subnets: Subnets, *, scope: str, far: bool, internet: bool
) -> None:
    near_address, far_address = (subnets.addresses[one] for one in (subnets.near, subnets.far))
    for address in (near_address, far_address, INTERNET):
        assert network.reaches(subnets.one, address, expected=True)
    experiment_id = start(fis, template(subnets.id, scope=scope))
    assert network.reaches(subnets.one, near_address, expected=True)
    assert network.reaches(subnets.one, far_address, expected=far) is far
    assert network.reaches(subnets.far, subnets.addresses[subnets.one], expected=far) is far
    assert network.reaches(subnets.one, INTERNET, expected=internet) is internet
    fis.stop_experiment(id=experiment_id)
    for address in (far_address, INTERNET):
        assert network.reaches(subnets.one, address, expected=True)


def test_packets_to_a_prefix_list_are_dropped(client: Any, fis: Any, network: Network, subnets: Subnets) -> None:
    made = client.create_managed_prefix_list(
        PrefixListName="peers", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": f"{INTERNET}/32"}]
    )["PrefixList"]
    for identifier in (made["PrefixListId"], made["PrefixListArn"], "peers"):
        experiment_id = start(fis, template(subnets.id, scope="prefix-list", prefixListIdentifier=identifier))
        assert not network.reaches(subnets.one, INTERNET, expected=False)
        assert network.reaches(subnets.one, subnets.addresses[subnets.far], expected=True)
        fis.stop_experiment(id=experiment_id)
        assert network.reaches(subnets.one, INTERNET, expected=True)


def test_a_clone_of_the_network_acl_stands_in_for_it(client: Any, fis: Any, subnets: Subnets) -> None:
    (original,) = acls_of(client, subnets.id)
    experiment_id = start(fis, template(subnets.id))
    _, clone = acls_of(client, subnets.id)
    assert [one["SubnetId"] for one in clone["Associations"]] == [subnets.id]
    for egress in (False, True):
        entries = sorted((one["RuleNumber"], one["RuleAction"]) for one in clone["Entries"] if one["Egress"] == egress)
        actions = [action for _, action in entries]
        assert actions == ["deny", "deny", "allow", "deny"]
    assert [status(fis, experiment_id) for _ in range(5)] == ["running"] * 5
    fis.stop_experiment(id=experiment_id)
    assert status(fis, experiment_id) == "stopped"
    assert acls_of(client, subnets.id)[0]["NetworkAclId"] == original["NetworkAclId"]
    assert len(acls_of(client, subnets.id)) == 1


def test_a_network_acl_given_meanwhile_stays(client: Any, fis: Any, subnets: Subnets) -> None:
    (original,) = acls_of(client, subnets.id)
    experiment_id = start(fis, template(subnets.id))
    given = client.create_network_acl(VpcId=subnets.vpc_id)["NetworkAcl"]["NetworkAclId"]

    def associate(acl_id: str) -> None:
        associations = acls_of(client, subnets.id)[0]["Associations"]
        (own,) = (one for one in associations if one["SubnetId"] == subnets.id)
        client.replace_network_acl_association(AssociationId=own["NetworkAclAssociationId"], NetworkAclId=acl_id)

    associate(given)
    fis.stop_experiment(id=experiment_id)
    assert [one["NetworkAclId"] for one in acls_of(client, subnets.id)] == [given]
    associate(original["NetworkAclId"])


def test_subnets_are_selected_by_tags(client: Any, fis: Any, subnets: Subnets) -> None:
    client.create_tags(Resources=[subnets.id], Tags=[{"Key": "tier", "Value": "web"}])
    wanted = template()
    del wanted["targets"]["subnets"]["resourceArns"]
    wanted["targets"]["subnets"]["resourceTags"] = {"tier": "web"}
    experiment_id = start(fis, wanted)
    assert acls_of(client, subnets.id)[1]["Associations"][0]["SubnetId"] == subnets.id
    fis.stop_experiment(id=experiment_id)


def test_disrupted_subnet_is_no_target_again(client: Any, fis: Any, subnets: Subnets) -> None:
    experiment_id = start(fis, template(subnets.id))
    other = str(subnets.other["SubnetId"])
    assert refusal(start, fis=fis, wanted=template(other, subnets.id)) == "ValidationException"
    assert len(acls_of(client, other)) == 2  # nothing has changed: its own, and the clone of the first experiment
    fis.stop_experiment(id=experiment_id)
    twice = template(subnets.id)
    twice["actions"]["again"] = twice["actions"]["disrupt"]
    assert refusal(start, fis=fis, wanted=twice) == "ValidationException"
    assert len(acls_of(client, subnets.id)) == 1


def test_scope_without_addresses_is_refused(client: Any, fis: Any) -> None:
    vpc_id = client.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet_id = client.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    with pytest.raises(fis.exceptions.ValidationException, match="no subnet in another Availability Zone"):
        start(fis, template(subnet_id, scope="availability-zone"))
    with pytest.raises(fis.exceptions.ValidationException, match="The prefix list 'pl-1' does not exist"):
        start(fis, template(subnet_id, scope="prefix-list", prefixListIdentifier="pl-1"))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (template(SUBNET, scope="s3"), "does not have the scope 's3'; it has all, availability-zone, vpc, prefix-list"),
        (template(SUBNET, scope="dynamodb"), "does not have the scope 'dynamodb'"),
        (template(SUBNET, scope="subnet"), "does not have the scope 'subnet'"),
        (template(SUBNET, duration="PT59S"), "duration is 'PT59S'; it must be from PT1M to PT12H"),
        (template(SUBNET, duration="PT12H1S"), "it must be from PT1M to PT12H"),
        (template(SUBNET, duration="P1D"), "it must be from PT1M to PT12H"),
        (template(SUBNET, scope="prefix-list"), "needs the parameter prefixListIdentifier"),
        (
            template(SUBNET, prefixListIdentifier="pl-1"),
            "needs the parameter prefixListIdentifier, and no other has it",
        ),
        (
            template(SUBNET, ports="80"),
            "does not have the parameter ports; it has duration, prefixListIdentifier, scope",
        ),
        (template(SUBNET), "Target resolution returned empty set"),
    ],
)
def test_what_a_disruption_cannot_do_is_refused(fis: Any, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(fis.exceptions.ValidationException, match=message):
        start(fis, wanted)


def test_simulated_machines_have_no_disruptions(local: LocalEC2) -> None:
    fis = client_of(local, "fis")
    (subnet_id,) = [
        one["SubnetId"]
        for one in client_of(local, "ec2").describe_subnets()["Subnets"]
        if one["AvailabilityZone"] == "us-east-1a"
    ]
    with pytest.raises(fis.exceptions.ValidationException, match="needs the namespaces network: start the local EC2"):
        start(fis, template(subnet_id))


# What follows shortens AWS's least duration, which a server does not.


@pytest.fixture
def brief(records: LocalEC2Backend, monkeypatch: pytest.MonkeyPatch) -> experiments.LocalExperiments:
    monkeypatch.setattr(experiment_templates, "SHORTEST", timedelta(seconds=1))
    monkeypatch.setattr(experiments, "regional_backends", lambda _account_id: {"us-east-1": records})
    monkeypatch.setattr(SimulatedDriver, "faults", NetworkFaults(lambda: None))
    return experiments.LocalExperiments("us-east-1", "123456789012")


def clones(records: LocalEC2Backend) -> list[str]:
    return [acl.id for acl in records.network_acls.values() if acl.get_filter_value("tag:managedByFIS") == "true"]


def test_an_experiment_ends_with_its_duration(records: LocalEC2Backend, brief: experiments.LocalExperiments) -> None:
    subnets = [subnet for of_zone in records.subnets.values() for subnet in of_zone.values()][:2]
    wanted = template(subnets[0].id, duration="PT1S")
    wanted["targets"]["others"] = template(subnets[1].id)["targets"]["subnets"]
    longer = template(duration="PT2S")["actions"]["disrupt"]
    wanted["actions"]["longer"] = {**longer, "targets": {"Subnets": "others"}}
    made = brief.create_experiment_template(
        client_token=None,
        description="disrupt",
        stop_conditions=wanted["stopConditions"],
        targets=wanted["targets"],
        actions=wanted["actions"],
        role_arn=ROLE,
    )
    started = brief.start_experiment(None, made["id"])
    assert len(clones(records)) == 2
    wait_until(
        lambda: brief.get_experiment(started["id"])["state"]["status"] == "completed",
        what="the experiment to end",
        deadline=Deadline.after(PATIENCE),
    )
    assert clones(records) == []
    brief.stop_experiment(started["id"])
    assert brief.get_experiment(started["id"])["state"]["status"] == "completed"


def test_a_stopped_experiment_leaves_no_timer(records: LocalEC2Backend, brief: experiments.LocalExperiments) -> None:
    subnet = next(subnet for of_zone in records.subnets.values() for subnet in of_zone.values())
    wanted = template(subnet.id)
    made = brief.create_experiment_template(
        client_token=None,
        description="disrupt",
        stop_conditions=wanted["stopConditions"],
        targets=wanted["targets"],
        actions=wanted["actions"],
        role_arn=ROLE,
    )
    before = set(threading.enumerate())
    started = brief.start_experiment(None, made["id"])
    (timer,) = set(threading.enumerate()) - before
    brief.stop_experiment(started["id"])
    timer.join(PATIENCE)
    assert not timer.is_alive()


def test_a_subnet_may_be_deleted_meanwhile(records: LocalEC2Backend, brief: experiments.LocalExperiments) -> None:
    subnet = next(subnet for of_zone in records.subnets.values() for subnet in of_zone.values())
    records.disrupt_connectivity(subnet, "all")
    records.delete_subnet(subnet.id)
    associated = [one.subnet_id for acl in records.network_acls.values() for one in acl.associations]
    assert subnet.id not in associated
    records.restore_connectivity(subnet.id)
    records.restore_connectivity(subnet.id)
    assert clones(records) == []
