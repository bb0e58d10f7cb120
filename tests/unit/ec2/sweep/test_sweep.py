from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from pycloudlib.ec2.sweep.deletions import ORDER, command_by_hand
from pycloudlib.ec2.sweep.orphans import KINDS, Orphan, Selection
from pycloudlib.ec2.sweep.sweep import DRY_RUN, Sweep, SweepReport
from pycloudlib.errors import CredentialsError, PermissionDeniedError
from pycloudlib.tags import RUN
from support.scripted_ec2 import ScriptedEC2

if TYPE_CHECKING:
    from unit.ec2.conftest import ConnectTo

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
TAGS = f"<tagSet><item><key>{RUN}</key><value>run-1</value></item></tagSet>"
VOLUMES = "".join(f"<item><volumeId>vol-{number}</volumeId>{TAGS}</item>" for number in (1, 2))
ACTIONS = ["".join(word.capitalize() for word in kind.operation.split("_")) for kind in KINDS]


def only(script: ScriptedEC2, *actions: str) -> None:
    """Let there be nothing but what these calls list."""
    for action in ACTIONS:
        if action not in actions:
            script.answer(action, "<nothing/>")


def sweep(script: ScriptedEC2, connect: ConnectTo, *, dry_run: bool = False, patience: float = 0.0) -> SweepReport:
    scope = connect(script.url)._region_context
    return Sweep([scope], Selection("this-run"), NOW, patience=patience).run(dry_run=dry_run)


def test_a_dry_run_deletes_nothing_and_leaves_all_that_it_finds(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeVolumes")
    script.answer("DescribeVolumes", f"<volumeSet>{VOLUMES}</volumeSet>")
    report = sweep(script, connect, dry_run=True)
    assert [one.id for one in report.found] == ["vol-1", "vol-2"]
    assert [(one.orphan.id, one.reason) for one in report.left] == [("vol-1", DRY_RUN), ("vol-2", DRY_RUN)]
    assert not report.is_clean
    assert {question["Action"] for question in script.asked} == set(ACTIONS)


def test_a_deletion_counts_when_ec2_lists_it_no_more(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeVolumes")
    for volumes in (VOLUMES, VOLUMES, ""):
        script.answer("DescribeVolumes", f"<volumeSet>{volumes}</volumeSet>")
    script.answer("DeleteVolume", "<return>true</return>")
    report = sweep(script, connect, patience=10)
    assert [one.id for one in report.deleted] == ["vol-1", "vol-2"]
    assert report.is_clean
    assert script.count("DescribeVolumes") == 3


def test_resource_that_ec2_still_lists_is_reported_as_left(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeVolumes")
    script.answer("DescribeVolumes", f"<volumeSet>{VOLUMES}</volumeSet>")
    script.refuse("DeleteVolume", "InvalidVolume.NotFound")
    report = sweep(script, connect)
    assert report.deleted == ()
    assert {one.reason for one in report.left} == {"EC2 still lists it"}


def test_one_that_cannot_be_deleted_keeps_no_other_from_it(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeVolumes", "DescribeKeyPairs")
    script.answer("DescribeVolumes", f"<volumeSet>{VOLUMES}</volumeSet>")
    script.answer("DescribeKeyPairs", f"<keySet><item><keyName>key one</keyName>{TAGS}</item></keySet>")
    script.answer("DescribeKeyPairs", "<keySet/>")
    script.refuse("DeleteVolume", "VolumeInUse", "somebody needs it")
    script.answer("DeleteKeyPair", "<return>true</return>")
    report = sweep(script, connect)
    assert [one.id for one in report.deleted] == ["key one"]
    assert all("somebody needs it" in one.reason for one in report.left)
    assert str(report.left[0]) == (
        f"volume vol-1: {report.left[0].reason}; "
        f"by hand: aws ec2 delete-volume --region us-east-1 --endpoint-url {script.url} --volume-id vol-1"
    )


def test_what_is_in_the_way_for_a_moment_is_waited_for(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeKeyPairs", "DescribeSnapshots")
    item = f"<item><snapshotId>snap-1</snapshotId>{TAGS}</item>"
    script.answer("DescribeKeyPairs", "<keySet/>")
    script.answer("DescribeSnapshots", f"<snapshotSet>{item}</snapshotSet>")
    script.answer("DescribeSnapshots", "<snapshotSet/>")
    script.refuse("DeleteSnapshot", "InvalidSnapshot.InUse")
    script.answer("DeleteSnapshot", "<return>true</return>")
    assert sweep(script, connect, patience=10).is_clean


def test_denied_lookup_is_reported_and_the_rest_is_swept(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeVolumes", "DescribeImages")
    script.answer("DescribeVolumes", f"<volumeSet>{VOLUMES}</volumeSet>")
    script.answer("DescribeVolumes", "<volumeSet/>")
    script.answer("DeleteVolume", "<return>true</return>")
    script.refuse("DescribeImages", "UnauthorizedOperation", status=403)
    report = sweep(script, connect)
    assert (len(report.deleted), report.left) == (2, ())
    assert [type(error) for error in report.errors] == [PermissionDeniedError]
    assert not report.is_clean


def test_what_cannot_be_looked_at_again_does_not_count_as_deleted(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeVolumes")
    script.answer("DescribeVolumes", f"<volumeSet>{VOLUMES}</volumeSet>")
    script.refuse("DescribeVolumes", "UnauthorizedOperation", status=403)
    script.answer("DeleteVolume", "<return>true</return>")
    report = sweep(script, connect)
    assert (report.deleted, len(report.left), len(report.errors)) == ((), 2, 1)


def test_refused_credentials_are_an_error(script: ScriptedEC2, connect: ConnectTo) -> None:
    for action in ACTIONS:
        script.refuse(action, "AuthFailure", status=401)
    with pytest.raises(CredentialsError):
        sweep(script, connect)


def test_nothing_found_is_clean_and_deletes_nothing(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script)
    report = sweep(script, connect)
    assert (report.found, report.is_clean) == ((), True)


def test_an_instance_that_does_not_end_keeps_what_it_uses(script: ScriptedEC2, connect: ConnectTo) -> None:
    only(script, "DescribeInstances", "DescribeVolumes")
    state = "<instanceState><name>running</name></instanceState>"
    item = f"<item><instanceId>i-1</instanceId>{state}{TAGS}</item>"
    script.answer(
        "DescribeInstances", f"<reservationSet><item><instancesSet>{item}</instancesSet></item></reservationSet>"
    )
    attached = "<attachmentSet><item><instanceId>i-1</instanceId></item></attachmentSet>"
    script.answer("DescribeVolumes", f"<volumeSet><item><volumeId>vol-1</volumeId>{attached}{TAGS}</item></volumeSet>")
    script.refuse("TerminateInstances", "OperationNotPermitted", "it is protected")
    report = sweep(script, connect)
    reasons = {one.orphan.id: one.reason for one in report.left}
    assert "it is protected" in reasons["i-1"]
    assert reasons["vol-1"] == "the instance i-1 uses it, and could not be deleted"
    assert script.count("DeleteVolume") == 0


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_each_kind_has_its_order_and_a_command_that_deletes_it_by_hand(kind: str) -> None:
    assert kind in ORDER
    command = command_by_hand(Orphan(kind, "the-id", "eu-west-1"))
    assert command.startswith("aws ec2 ")
    assert " --region eu-west-1 " in command
    assert command.endswith("the-id")
    assert "endpoint" not in command


def test_a_command_can_be_pasted_into_a_shell() -> None:
    command = command_by_hand(Orphan("key pair", "key; one", "eu-west-1"))
    assert command == "aws ec2 delete-key-pair --region eu-west-1 --key-name 'key; one'"


def test_a_gateway_is_detached_first_by_hand_too() -> None:
    detach, delete = command_by_hand(
        Orphan("internet gateway", "igw-1", "eu-west-1", vpc_id="vpc-1"), "http://127.0.0.1:1"
    ).split(" && ")
    where = "--region eu-west-1 --endpoint-url http://127.0.0.1:1"
    assert detach == f"aws ec2 detach-internet-gateway {where} --internet-gateway-id igw-1 --vpc-id vpc-1"
    assert delete == f"aws ec2 delete-internet-gateway {where} --internet-gateway-id igw-1"


def test_what_depends_on_something_goes_before_it() -> None:
    order = sorted(ORDER, key=lambda kind: ORDER[kind], reverse=True)
    before = [
        ("instance", "volume"),
        ("instance", "network interface"),
        ("image", "snapshot"),
        ("elastic address", "internet gateway"),
        ("network interface", "security group"),
        ("network interface", "subnet"),
        ("subnet", "route table"),
        ("security group", "VPC"),
        ("route table", "VPC"),
        ("internet gateway", "VPC"),
    ]
    assert all(order.index(first) < order.index(second) for first, second in before)
