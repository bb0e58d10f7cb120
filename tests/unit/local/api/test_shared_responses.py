"""Responses that list records: shared while nothing changes, and never stale."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.local.api.http_messages import ClientGoneError
from pycloudlib.local.api.models.records_lock import RecordsLock
from pycloudlib.local.api.shared_responses import MOST, SharedResponses
from pycloudlib.waiting import wait_until
from support.local_network import Launch, attach, create, describe, detach, primary, wait_for
from support.plain_ec2 import ZONE, PlainEC2, connect, simulated_ec2
from support.query_api import AUTHORIZATION, FORM, QueryAPI

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ROLE = "arn:aws:iam::123456789012:role/fis"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    """A server whose log has only what happened in these tests."""
    with simulated_ec2(tmp_path_factory.mktemp("state")) as local:
        yield local


class Records:
    """A number that is listed, and how often it was read."""

    def __init__(self) -> None:
        self.lock = RecordsLock()
        self.responses = SharedResponses(self.lock)
        self.value = 0
        self.reads = 0

    def set(self, value: int) -> None:
        with self.lock:
            self.value = value

    def read(self) -> int:
        self.reads += 1
        return self.value

    def list(
        self,
        request: object = "",
        serialize: Callable[[int], bytes] = lambda value: b"%d" % value,
        require_client: Callable[[], None] = lambda: None,
    ) -> bytes:
        return self.responses.body(request, read=self.read, serialize=serialize, require_client=require_client)


def test_response_is_shared_until_a_change() -> None:
    records = Records()
    assert [records.list(), records.list()] == [b"0", b"0"]
    assert records.reads == 1
    records.set(1)
    assert records.list() == b"1"


def test_reading_changes_nothing() -> None:
    records = Records()
    records.list()
    with records.lock.reading():
        pass
    records.list()
    assert records.reads == 1


def test_change_within_reading_counts() -> None:
    records = Records()
    records.list()
    with records.lock.reading():
        records.set(1)
    assert records.list() == b"1"


def test_change_counts_although_its_holder_raised() -> None:
    records = Records()
    records.list()

    def fail() -> None:
        with records.lock:
            records.value = 1
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        fail()
    assert records.list() == b"1"


def test_different_requests_have_different_responses() -> None:
    records = Records()
    records.list("one")
    records.list("other")
    assert records.reads == 2


def test_few_responses_are_kept() -> None:
    records = Records()
    for number in range(MOST + 1):
        records.list(number)
    records.list(MOST)
    assert records.reads == MOST + 1
    records.list(0)
    assert records.reads == MOST + 2


def test_failure_is_not_shared() -> None:
    records = Records()

    def fail(_: int) -> bytes:
        raise ValueError("cannot be written")

    with pytest.raises(ValueError, match="cannot be written"):
        records.list(serialize=fail)
    assert records.list() == b"0"


def test_request_during_a_build_shows_changes_before_it() -> None:
    records = Records()
    serializing, go_on = threading.Event(), threading.Event()

    def serialize(value: int) -> bytes:
        serializing.set()
        assert go_on.wait(60)
        return b"%d" % value

    with ThreadPoolExecutor(8) as clients:
        first = clients.submit(records.list, "", serialize)
        assert serializing.wait(60)
        # Serialization holds no lock.
        records.set(1)
        later = [clients.submit(records.list) for _ in range(7)]
        go_on.set()
        assert first.result(60) == b"0"
        assert {one.result(60) for one in later} == {b"1"}
    assert records.reads == 2


def test_one_response_is_built_at_a_time() -> None:
    records = Records()
    under_way: list[int] = []
    most: list[int] = []

    def serialize(value: int) -> bytes:
        under_way.append(value)
        most.append(len(under_way))
        under_way.pop()
        return b"%d" % value

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda number: records.list(number, serialize), range(32)))
    assert set(most) == {1}


def test_nothing_is_built_for_clients_that_have_gone() -> None:
    records = Records()
    serializing, go_on = threading.Event(), threading.Event()

    def serialize(value: int) -> bytes:
        serializing.set()
        assert go_on.wait(60)
        return b"%d" % value

    def gone() -> None:
        raise ClientGoneError("gone")

    with ThreadPoolExecutor(4) as clients:
        first = clients.submit(records.list, 0, serialize)
        assert serializing.wait(60)
        waiting = [clients.submit(records.list, number, require_client=gone) for number in (1, 2, 3)]
        go_on.set()
        assert first.result(60) == b"0"
        for one in waiting:
            with pytest.raises(ClientGoneError):
                one.result(60)
    assert records.reads == 1
    assert records.list(1) == b"0"


# What the server lists


def listed(client: EC2Client) -> dict[str, Any]:
    """All instances, of a response that is shared."""
    return {
        one["InstanceId"]: one for launch in client.describe_instances()["Reservations"] for one in launch["Instances"]
    }


def assert_listing_shows(client: EC2Client, instance_id: str) -> None:
    """Compare the listing with the response to a request by id, which is never shared."""

    def is_compared() -> bool:
        before, seen = describe(client, instance_id), listed(client)[instance_id]
        if describe(client, instance_id) != before:
            return False  # its state passed meanwhile
        assert seen == before
        return True

    wait_until(is_compared, what="instances to be listed while none changes", deadline=Deadline.after(60), interval=0)


def delete_tags(client: EC2Client, instance_id: str) -> None:
    client.delete_tags(Resources=[instance_id], Tags=[{"Key": "stage"}])


def attach_volume(client: EC2Client, instance_id: str) -> None:
    volume_id = client.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    client.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")


def attach_interface(client: EC2Client, instance_id: str) -> None:
    attach(client, create(client, describe(client, instance_id)["SubnetId"]), instance_id)


def associate_address(client: EC2Client, instance_id: str) -> None:
    client.associate_address(InstanceId=instance_id, AllocationId=client.allocate_address()["AllocationId"])


def replace_groups(client: EC2Client, instance_id: str) -> None:
    vpc_id = describe(client, instance_id)["VpcId"]
    group_id = client.create_security_group(GroupName=instance_id, Description="web", VpcId=vpc_id)["GroupId"]
    client.modify_instance_attribute(InstanceId=instance_id, Groups=[group_id])


CHANGES: dict[str, Callable[[EC2Client, str], Any]] = {
    "tags": lambda client, one: client.create_tags(Resources=[one], Tags=[{"Key": "stage", "Value": "two"}]),
    "deleted tags": delete_tags,
    "source check": lambda client, one: client.modify_instance_attribute(
        InstanceId=one, SourceDestCheck={"Value": False}
    ),
    "security groups": replace_groups,
    "metadata options": lambda client, one: client.modify_instance_metadata_options(
        InstanceId=one, HttpTokens="required"
    ),
    "monitoring": lambda client, one: client.monitor_instances(InstanceIds=[one]),
    "volume": attach_volume,
    "volume attribute": lambda client, one: client.modify_instance_attribute(
        InstanceId=one,
        BlockDeviceMappings=[
            {
                "DeviceName": describe(client, one)["RootDeviceName"],
                "Ebs": {
                    "DeleteOnTermination": not describe(client, one)["BlockDeviceMappings"][0]["Ebs"][
                        "DeleteOnTermination"
                    ]
                },
            }
        ],
    ),
    "interface": attach_interface,
    "interface attribute": lambda client, one: client.modify_network_interface_attribute(
        NetworkInterfaceId=primary(client, one), Description={"Value": "uplink"}
    ),
    "private address": lambda client, one: client.assign_private_ip_addresses(
        NetworkInterfaceId=primary(client, one), SecondaryPrivateIpAddressCount=1
    ),
    "elastic address": associate_address,
    "stop": lambda client, one: client.stop_instances(InstanceIds=[one]),
    "termination": lambda client, one: client.terminate_instances(InstanceIds=[one]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_listing_shows_each_change(client: EC2Client, launch: Launch, change: str) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "stage", "Value": "one"}]}]
    instance_id = launch(TagSpecifications=tags, Placement={"AvailabilityZone": ZONE})
    before = listed(client)[instance_id]
    assert listed(client)[instance_id] == before
    CHANGES[change](client, instance_id)
    assert listed(client)[instance_id] != before
    assert_listing_shows(client, instance_id)


def test_listing_shows_detached_devices(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(Placement={"AvailabilityZone": ZONE})
    address = client.allocate_address()
    association = client.associate_address(InstanceId=instance_id, AllocationId=address["AllocationId"])
    interface_id = create(client, describe(client, instance_id)["SubnetId"])
    attachment_id = attach(client, interface_id, instance_id)
    assert len(listed(client)[instance_id]["NetworkInterfaces"]) == 2
    assert listed(client)[instance_id]["PublicIpAddress"] == address["PublicIp"]
    detach(client, interface_id, attachment_id)
    assert len(listed(client)[instance_id]["NetworkInterfaces"]) == 1
    client.disassociate_address(AssociationId=association["AssociationId"])
    assert listed(client)[instance_id].get("PublicIpAddress") != address["PublicIp"]
    assert_listing_shows(client, instance_id)


def test_listing_shows_states_that_pass_by_time(client: EC2Client, image_id: str) -> None:
    with_ids = client.run_instances(ImageId=image_id, MinCount=3, MaxCount=3, InstanceType="t3.micro")["Instances"]
    ids = [one["InstanceId"] for one in with_ids]

    def assert_seen(state: str) -> None:
        for instance_id in ids:
            listed(client)
            wait_for(client, instance_id, state)
            assert listed(client)[instance_id]["State"]["Name"] == state

    assert_seen("running")
    client.stop_instances(InstanceIds=ids)
    assert_seen("stopped")
    client.start_instances(InstanceIds=ids)
    assert_seen("running")
    client.terminate_instances(InstanceIds=ids)
    assert_seen("terminated")
    for instance_id in ids:
        assert_listing_shows(client, instance_id)


def test_listing_shows_the_end_of_a_spot_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with LocalEC2(driver="simulated", spot_notice_seconds=0.2) as local:
        client = connect(local)
        instance_id = PlainEC2(client).launch(InstanceMarketOptions={"MarketType": "spot"})
        assert listed(client)[instance_id]["InstanceLifecycle"] == "spot"
        fis: Any = boto3.client(
            "fis",
            endpoint_url=local.endpoint_url,
            region_name=local.region,
            aws_access_key_id=local.access_key_id,
            aws_secret_access_key=local.secret_access_key,
        )
        arn = f"arn:aws:ec2:{local.region}:123456789012:instance/{instance_id}"
        template = fis.create_experiment_template(
            description="interrupt",
            roleArn=ROLE,
            stopConditions=[{"source": "none"}],
            targets={
                "spot": {"resourceType": "aws:ec2:spot-instance", "resourceArns": [arn], "selectionMode": "ALL"},
            },
            actions={
                "interrupt": {
                    "actionId": "aws:ec2:send-spot-instance-interruptions",
                    "targets": {"SpotInstances": "spot"},
                    "parameters": {"durationBeforeInterruption": "PT2M"},
                }
            },
        )["experimentTemplate"]
        fis.start_experiment(experimentTemplateId=template["id"])
        listed(client)
        wait_for(client, instance_id, "terminated")
        seen = listed(client)[instance_id]
        assert (seen["State"]["Name"], seen["StateReason"]["Code"]) == ("terminated", "Server.SpotInstanceTermination")
        urllib.request.urlopen(f"{local.endpoint_url}/moto-api/reset", data=b"", timeout=60).close()
        assert listed(client) == {}


def test_listing_depends_on_filters_and_pages(client: EC2Client, launch: Launch) -> None:
    ids = sorted(launch() for _ in range(6))
    for instance_id in ids:
        found = client.describe_instances(Filters=[{"Name": "instance-id", "Values": [instance_id]}])["Reservations"]
        assert [one["InstanceId"] for launched in found for one in launched["Instances"]] == [instance_id]
    pages = client.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    paged = [one["InstanceId"] for page in pages for launched in page["Reservations"] for one in launched["Instances"]]
    assert sorted(paged) == sorted(listed(client))


def test_regions_have_listings_of_their_own(local: LocalEC2, client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    assert instance_id in listed(client)
    assert instance_id not in listed(connect(local, "eu-central-1"))


def test_shared_responses_have_request_ids_of_their_own(local: LocalEC2) -> None:
    api = QueryAPI(local)
    first, second = api.ask("DescribeInstances"), api.ask("DescribeInstances", Version="2014-10-01")
    assert first.find("requestId") != second.find("requestId")
    assert first.headers["x-amzn-requestid"] == first.find("requestId")
    assert "/2014-10-01/" in second.text


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeInstanceStatus"])
def test_server_gives_up_when_the_client_hangs_up(local: LocalEC2, client: EC2Client, action: str) -> None:
    log = local.directory / "server.log"
    volume_id = client.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]

    def has_given_up() -> bool:
        client.create_tags(Resources=[volume_id], Tags=[{"Key": "stage", "Value": "one"}])
        hang_up(local, action)
        return f"gave up {action}" in log.read_text()

    # An attempt fails if the segment leaves before its end of the connection is known.
    wait_until(has_given_up, what=f"the server to give up {action}", deadline=Deadline.after(60), interval=0.05)
    assert "Traceback" not in log.read_text()
    assert client.describe_instances()["ResponseMetadata"]["HTTPStatusCode"] == 200


def hang_up(local: LocalEC2, action: str) -> None:
    """Send a request, and the end of the connection in the same segment."""
    url = urlsplit(local.endpoint_url)
    assert url.hostname is not None
    assert url.port is not None
    body = f"Action={action}&Version=2016-11-15"
    headers = {
        "Host": url.netloc,
        "Authorization": AUTHORIZATION.format(region=local.region, service="ec2"),
        "Content-Type": FORM,
        "Content-Length": str(len(body)),
    }
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", body]
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        connection.send("\r\n".join(lines).encode(), socket.MSG_MORE)
