"""Interruptions of spot instances, ordered through FIS: the notice, and the end."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.models.launch_options import LaunchOptions
from pycloudlib.local.images.simulated import SimulatedCatalog
from pycloudlib.local.network.metadata import look_up
from support.local_network import wait_for
from support.plain_ec2 import PlainEC2, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ACTION = "aws:ec2:send-spot-instance-interruptions"
ROLE = "arn:aws:iam::123456789012:role/fis"
SPOT = {"InstanceMarketOptions": {"MarketType": "spot"}}


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return {"path": "/api", "spot_notice_seconds": 0.2}


@pytest.fixture(scope="module")
def fis(local: LocalEC2) -> Any:
    return boto3.client(
        "fis",
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
    )


def template(target: dict[str, Any], **action: Any) -> dict[str, Any]:
    interrupt = {"actionId": ACTION, "targets": {"SpotInstances": "spot"}, **action}
    return {
        "description": "interrupt",
        "stopConditions": [{"source": "none"}],
        "roleArn": ROLE,
        "targets": {"spot": {"resourceType": "aws:ec2:spot-instance", "selectionMode": "ALL", **target}},
        "actions": {"interrupt": interrupt},
    }


def arns(*instance_ids: str) -> dict[str, Any]:
    return {"resourceArns": [f"arn:aws:ec2:us-east-1:123456789012:instance/{one}" for one in instance_ids]}


def start(fis: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    template_id = fis.create_experiment_template(**wanted)["experimentTemplate"]["id"]
    return fis.start_experiment(experimentTemplateId=template_id)["experiment"]


def state(fis: Any, experiment: dict[str, Any]) -> str:
    return str(fis.get_experiment(id=experiment["id"])["experiment"]["state"]["status"])


def test_an_experiment_ends_a_spot_instance(client: EC2Client, ec2: PlainEC2, fis: Any) -> None:
    interrupted, spared = ec2.launch(**SPOT), ec2.launch(**SPOT)
    request_id = ec2.instance(interrupted)["SpotInstanceRequestId"]
    experiment = start(fis, template(arns(interrupted)))
    assert fis.get_experiment(id=experiment["id"])["experiment"]["experimentTemplateId"]
    wait_for(client, interrupted, "terminated")
    described = ec2.instance(interrupted)
    assert described["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    (request,) = client.describe_spot_instance_requests(SpotInstanceRequestIds=[request_id])["SpotInstanceRequests"]
    assert (request["State"], request["Status"]["Code"]) == ("closed", "instance-terminated-by-experiment")
    assert ec2.instance(spared)["State"]["Name"] == "running"


def test_instances_are_selected_by_their_tags(client: EC2Client, ec2: PlainEC2, fis: Any) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "tier", "Value": "batch"}]}]
    on_demand = ec2.launch(TagSpecifications=tags)
    batch = [ec2.launch(**SPOT, TagSpecifications=tags) for _ in range(2)]
    start(fis, template({"resourceTags": {"tier": "batch"}, "selectionMode": "COUNT(1)"}))
    wait_for(client, batch[0], "terminated")
    assert ec2.instance(batch[1])["State"]["Name"] == "running"
    start(fis, template({"resourceTags": {"tier": "batch"}, "selectionMode": "PERCENT(100)"}))
    wait_for(client, batch[1], "terminated")
    assert ec2.instance(on_demand)["State"]["Name"] == "running"


@pytest.mark.parametrize("spot", [False, True])
def test_only_running_spot_instances_are_targets(ec2: PlainEC2, fis: Any, *, spot: bool) -> None:
    instance_id = ec2.launch(**(SPOT if spot else {}))
    if spot:
        ec2.terminate(instance_id)
    assert refusal(start, fis=fis, wanted=template(arns(instance_id))) == "ValidationException"


@pytest.mark.parametrize(
    "change",
    [
        {"actions": {"stop": {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": "spot"}}}},
        {"stopConditions": [{"source": "aws:cloudwatch:alarm", "value": "arn:aws:cloudwatch:us-east-1:1:alarm:a"}]},
        {"logConfiguration": {"logSchemaVersion": 2}},
        template(arns("i-0123456789abcdef0"), parameters={"durationBeforeInterruption": "PT1M"}),
        template(arns("i-0123456789abcdef0"), targets={}),
        template({"resourceTags": {"a": "b"}, "filters": [{"path": "State.Name", "values": ["running"]}]}),
        template({"resourceTags": {"a": "b"}, "selectionMode": "SOME"}),
        template({"resourceTags": {"a": "b"}, "selectionMode": "COUNT(0)"}),
        template({"resourceTags": {"a": "b"}, "selectionMode": "PERCENT(101)"}),
        pytest.param(
            template(arns("i-0123456789abcdef0"), parameters={"durationBeforeInterruption": f"PT{'9' * 5000}M"}),
            id="5000 digits",
        ),
        template(arns("i-0123456789abcdef0"), targets={"SpotInstances": "spot", "Instances": "spot"}),
        {"targets": {name: template({"resourceTags": {"a": "b"}})["targets"]["spot"] for name in ("spot", "unused")}},
        template({}),
    ],
)
def test_what_an_experiment_cannot_do_is_refused(fis: Any, change: dict[str, Any]) -> None:
    wanted = {**template(arns("i-0123456789abcdef0")), **change}
    assert refusal(fis.create_experiment_template, **wanted) == "ValidationException"


def test_repeated_client_token_returns_the_same_experiment(client: EC2Client, ec2: PlainEC2, fis: Any) -> None:
    instance_id = ec2.launch(**SPOT)
    template_id = fis.create_experiment_template(**template(arns(instance_id)))["experimentTemplate"]["id"]
    once = {"experimentTemplateId": template_id, "clientToken": "once"}
    first, second = (fis.start_experiment(**once)["experiment"] for _ in range(2))
    assert first["id"] == second["id"]
    assert state(fis, first) != "failed"
    wait_for(client, instance_id, "terminated")


def test_experiment_interrupts_all_its_targets_or_none(client: EC2Client, ec2: PlainEC2, fis: Any) -> None:
    spared, interrupted = ec2.launch(**SPOT), ec2.launch(**SPOT)
    start(fis, template(arns(interrupted), parameters={"durationBeforeInterruption": "PT15M"}))
    assert refusal(start, fis=fis, wanted=template(arns(spared, interrupted))) == "ValidationException"
    both = template(arns(spared))
    both["actions"]["again"] = both["actions"]["interrupt"]
    assert refusal(start, fis=fis, wanted=both) == "ValidationException"
    request_id = ec2.instance(spared)["SpotInstanceRequestId"]
    (request,) = client.describe_spot_instance_requests(SpotInstanceRequestIds=[request_id])["SpotInstanceRequests"]
    assert request["Status"]["Code"] == "fulfilled"


@pytest.mark.parametrize(("before", "after"), [("us-east-1", "eu-west-1"), ("123456789012", "999999999999")])
def test_targets_are_of_the_same_region_and_account(ec2: PlainEC2, fis: Any, before: str, after: str) -> None:
    (arn,) = arns(ec2.launch(**SPOT))["resourceArns"]
    wanted = template({"resourceArns": [arn.replace(before, after)]})
    assert refusal(start, fis=fis, wanted=wanted) == "ValidationException"


def test_a_percentage_of_less_than_one_target_is_refused(ec2: PlainEC2, fis: Any) -> None:
    wanted = template({**arns(ec2.launch(**SPOT)), "selectionMode": "PERCENT(99)"})
    assert refusal(start, fis=fis, wanted=wanted) == "ValidationException"


def test_experiments_without_actions_are_refused(ec2: PlainEC2, fis: Any) -> None:
    made = fis.create_experiment_template(**template(arns(ec2.launch(**SPOT))))["experimentTemplate"]
    preview = {"experimentTemplateId": made["id"], "experimentOptions": {"actionsMode": "skip-all"}}
    assert refusal(fis.start_experiment, **preview) == "ValidationException"


def listed_state(fis: Any, experiment: dict[str, Any]) -> str:
    states = {one["id"]: one["state"]["status"] for one in fis.list_experiments()["experiments"]}
    return str(states[experiment["id"]])


def test_experiment_runs_until_its_last_target_is_interrupted(client: EC2Client, ec2: PlainEC2, fis: Any) -> None:
    instance_id = ec2.launch(**SPOT)
    short = start(fis, template(arns(instance_id)))
    long = start(fis, template(arns(ec2.launch(**SPOT)), parameters={"durationBeforeInterruption": "PT15M"}))
    wait_for(client, instance_id, "terminated")
    for _ in range(5):
        assert (state(fis, long), listed_state(fis, long)) == ("running", "running")
    assert (state(fis, short), listed_state(fis, short)) == ("completed", "completed")
    ended = fis.get_experiment(id=short["id"])["experiment"]
    assert ended["endTime"] >= ended["startTime"]
    assert ended["actions"]["interrupt"]["state"]["status"] == "completed"
    assert "endTime" not in fis.get_experiment(id=long["id"])["experiment"]
    fis.stop_experiment(id=long["id"])
    assert (state(fis, long), listed_state(fis, long)) == ("stopped", "stopped")


def test_other_actions_of_fis_are_refused_by_name(fis: Any) -> None:
    with pytest.raises(ClientError, match="does not have the action 'GET /targetResourceTypes' of fis"):
        fis.list_target_resource_types()


# What follows looks at the metadata of a simulated instance, for which no guest can ask.


@pytest.fixture
def instance(records: LocalEC2Backend) -> Any:
    image = next(image for image in SimulatedCatalog().images() if image.architecture == "x86_64")
    records.launch_options = LaunchOptions(spot={})
    wanted = {"instance_type": "t3.micro", "is_instance_type_default": False}
    instance = records.run_instances(image.image_id, 1, None, [], **wanted).instances[0]
    records.controllers[instance.id].machine_running()
    return instance


def told(records: LocalEC2Backend, instance: Any, path: str) -> str | None:
    body = look_up(records.controllers[instance.id].metadata(), f"/latest/meta-data/{path}")
    return None if body is None else body.decode()


def test_interruption_notice_has_action_and_time(records: LocalEC2Backend, instance: Any) -> None:
    assert told(records, instance, "spot/instance-action") is None
    records.interrupt_spot_instance(instance)
    notice = json.loads(told(records, instance, "spot/instance-action") or "")
    assert notice == {"action": "terminate", "time": told(records, instance, "spot/termination-time")}
    assert "noticeTime" in json.loads(told(records, instance, "events/recommendations/rebalance") or "")
    assert told(records, instance, "events/maintenance/scheduled") == "[]"
    request = records.spot_request_of(instance)
    assert request is not None
    assert request.status["Code"] == "marked-for-termination"
    assert instance.state == "running"


def test_the_notice_comes_two_minutes_before_the_end(records: LocalEC2Backend, instance: Any) -> None:
    records.interrupt_spot_instance(instance, timedelta(minutes=15))
    assert told(records, instance, "events/recommendations/rebalance")
    assert told(records, instance, "spot/instance-action") is None
