from __future__ import annotations

import itertools

import pytest

from pycloudlib.ec2.api import retries
from pycloudlib.ec2.api.faults import translated
from pycloudlib.errors import CapacityError, CloudError, ThrottledError
from support.scripted_ec2 import ScriptedEC2


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "Throttling", "InternalError", "Unavailable"])
def test_transient_errors_are_retried(code: str, scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeKeyPairs", code, status=503)
    script.answer("DescribeKeyPairs", "<keySet/>")
    assert scripted_client.describe_key_pairs()["KeyPairs"] == []


def test_an_answer_of_a_load_balancer_passes_too(scripted_client, script: ScriptedEC2) -> None:
    script.say("DescribeKeyPairs", 502, "")
    script.answer("DescribeKeyPairs", "<keySet/>")
    assert scripted_client.describe_key_pairs()["KeyPairs"] == []


def test_what_stays_is_an_error_after_four_attempts(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeKeyPairs", "RequestLimitExceeded", status=503)
    with pytest.raises(ThrottledError), translated():
        scripted_client.describe_key_pairs()
    assert script.count("DescribeKeyPairs") == retries.ATTEMPTS == 4


def test_insufficient_capacity_is_raised_without_retries(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("RunInstances", "InsufficientInstanceCapacity", status=500)
    with pytest.raises(CapacityError), translated():
        scripted_client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
    assert script.count("RunInstances") == 1


def test_a_creation_of_which_nobody_knows_is_not_made_again_blindly(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("CreateVpc", "InternalError", status=500)
    with pytest.raises(CloudError), translated():
        scripted_client.create_vpc(CidrBlock="10.0.0.0/16")
    assert script.count("CreateVpc") == 1


def test_a_creation_that_was_throttled_is_made_again(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("CreateVpc", "RequestLimitExceeded", status=503)
    script.answer("CreateVpc", "<vpc><vpcId>vpc-1</vpcId></vpc>")
    assert scripted_client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] == "vpc-1"


def test_a_create_call_with_a_token_is_left_to_its_caller_where_tokens_may_be_ignored(
    scripted_client, script: ScriptedEC2
) -> None:
    script.refuse("RunInstances", "InternalError", status=500)
    with pytest.raises(CloudError), translated():
        scripted_client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, ClientToken="mine")
    assert script.count("RunInstances") == 1


def test_another_service_has_the_same_policy(script: ScriptedEC2) -> None:
    from support.region_contexts import region_context_at

    script.refuse("ListTopics", "Throttling", status=400)
    script.answer("ListTopics", "<ListTopicsResult><Topics/></ListTopicsResult>")
    client = region_context_at(script.url).session.client_of("sns", "us-east-1")
    assert client.list_topics()["Topics"] == []
    assert script.count("ListTopics") == 2


def test_the_resource_has_the_same_policy(script: ScriptedEC2) -> None:
    from support.region_contexts import region_context_at

    script.refuse("DescribeKeyPairs", "RequestLimitExceeded", status=503)
    script.answer("DescribeKeyPairs", "<keySet/>")
    assert list(region_context_at(script.url).session.resource.key_pairs.all()) == []


def test_pauses_grow_to_a_limit_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    longest = [max(retries.pause(failures) for _ in range(200)) for failures in range(1, 9)]
    assert all(earlier < later for earlier, later in itertools.pairwise(longest[:5]))
    assert max(longest) <= retries.LONGEST_PAUSE
    assert len({retries.pause(1) for _ in range(20)}) > 1
    assert min(retries.pause(1) for _ in range(200)) >= retries.FIRST_PAUSE * (1 - retries.JITTER)


@pytest.mark.parametrize(
    ("operation", "parameters", "repeatable"),
    [
        ("DescribeInstances", {}, True),
        ("TerminateInstances", {}, True),
        ("CreateTags", {}, True),
        ("CreateRoute", {}, True),
        ("CreateVpc", {}, False),
        ("AllocateAddress", {}, False),
        ("ImportKeyPair", {}, False),
        ("RegisterImage", {}, False),
        ("RunInstances", {"ClientToken": "mine"}, True),
        ("RunInstances", {}, False),
        ("RunInstances", {"ClientToken": "mine", "TagSpecification.1.Tag.1.Key": "pycloudlib:creation"}, False),
    ],
)
def test_which_calls_may_be_made_twice(operation: str, parameters: dict[str, str], repeatable: bool) -> None:
    assert retries.is_repeatable(operation, parameters) is repeatable


def test_no_create_call_is_repeated_where_tokens_may_be_ignored() -> None:
    assert not retries.is_repeatable("CreateVolume", {"ClientToken": "mine"}, honors_tokens=False)
    assert retries.is_repeatable("DescribeVolumes", {}, honors_tokens=False)
