"""Instance status: initializing until the guest answers, impaired after a panic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.models.instance_status import panicked
from pycloudlib.local.images.simulated import SimulatedCatalog
from pycloudlib.waiting import wait_until
from support.local_network import Launch, wait_for
from support.query_api import QueryAPI

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return {"answer_seconds": 4.0}


def statuses(client: EC2Client, **parameters: Any) -> dict[str, Any]:
    found = client.describe_instance_status(**parameters)["InstanceStatuses"]
    return {one["InstanceId"]: one for one in found}


def test_status_is_ok_when_the_guest_answers(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    first = statuses(client, InstanceIds=[instance_id])[instance_id]
    assert (first["InstanceStatus"]["Status"], first["SystemStatus"]["Status"]) == ("initializing", "initializing")
    assert first["InstanceStatus"]["Details"] == [{"Name": "reachability", "Status": "initializing"}]

    def ok() -> bool:
        return statuses(client, InstanceIds=[instance_id])[instance_id]["InstanceStatus"]["Status"] == "ok"

    wait_until(ok, what="the guest to answer", deadline=Deadline.after(60))
    last = statuses(client, InstanceIds=[instance_id])[instance_id]
    assert last["InstanceStatus"]["Details"] == [{"Name": "reachability", "Status": "passed"}]
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
    assert statuses(client, InstanceIds=[instance_id]) == {}
    stopped = statuses(client, InstanceIds=[instance_id], IncludeAllInstances=True)[instance_id]
    assert (stopped["InstanceState"]["Name"], stopped["InstanceStatus"]["Status"]) == ("stopped", "not-applicable")
    client.start_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "running")
    again = statuses(client, InstanceIds=[instance_id])[instance_id]
    assert again["InstanceStatus"]["Status"] == "initializing"


def test_filters_are_honored(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(Placement={"AvailabilityZone": "us-east-1d"})

    def found(name: str, value: str) -> bool:
        return instance_id in statuses(client, Filters=[{"Name": name, "Values": [value]}])

    assert found("availability-zone", "us-east-1d")
    assert not found("availability-zone", "us-east-1a")
    assert found("instance-status.reachability", "initializing")
    assert not found("instance-status.status", "impaired")
    assert not found("system-status.status", "impaired")
    assert not found("instance-state-name", "stopped")
    assert not found("event.code", "instance-stop")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (b"[ 9.1] Kernel panic - not syncing: Attempted to kill init!\r\n[ 9.2] ---[ end Kernel panic ]---\r\n", True),
        (b"Kernel panic - not syncing\r\n" + b"booted again\r\n" * 400, False),
        (b"debian login: ", False),
    ],
)
def test_panic_is_read_from_the_end_of_the_console(end: bytes, expected: bool) -> None:
    assert panicked(b"booting\r\n" * 1000 + end) is expected


def test_clients_older_than_attached_ebs_status_do_not_get_it(local: LocalEC2, launch: Launch) -> None:
    api, asked = QueryAPI(local), {"InstanceId__1": launch()}
    assert "attachedEbsStatus" not in api.ask("DescribeInstanceStatus", **asked, Version="2014-10-01").text
    assert "attachedEbsStatus" in api.ask("DescribeInstanceStatus", **asked).text


def test_request_for_metadata_is_enough_where_no_rule_opens_ssh(
    records: LocalEC2Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on EC2, whose status checks do not depend on security groups."""
    image = next(image for image in SimulatedCatalog().images() if image.architecture == "x86_64")
    launched = records.run_instances(
        image.image_id,
        1,
        None,
        [],
        instance_type="t3.micro",
        is_instance_type_default=False,
        region_name="us-east-1",
        associate_public_ip=True,
    ).instances[0]
    wait_until(lambda: launched.state == "running", what="the instance to run", deadline=Deadline.after(60))
    controller = records.controllers[launched.id]

    def status_after_a_request() -> str:
        controller.metadata()
        status: str = controller.status()["InstanceStatus"]["Status"]
        return status

    controller._new_guest()
    assert status_after_a_request() == "initializing"
    monkeypatch.setattr(records.cloud.driver, "forwards_ssh", lambda public_ip: public_ip != launched.public_ip)
    assert status_after_a_request() == "ok"
