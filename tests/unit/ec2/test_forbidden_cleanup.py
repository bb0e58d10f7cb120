"""Cleaning up although EC2 forbids some calls: nothing is waited for in vain, and known ids are deleted."""

from __future__ import annotations

from functools import partial

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.images.catalogue import Images
from pycloudlib.ec2.network.addresses import ElasticAddresses
from pycloudlib.ec2.network.interfaces import NetworkInterfaces
from pycloudlib.ec2.network.security_groups import SecurityGroup
from pycloudlib.ec2.network.vpc_removal import VPCRemoval
from pycloudlib.ec2.storage.snapshots import Snapshots
from pycloudlib.ec2.storage.volumes import Volumes
from pycloudlib.errors import CleanupError, PermissionDeniedError
from pycloudlib.lifecycle import UndoOrder
from support.region_contexts import region_context_at
from support.scripted_ec2 import ScriptedEC2, instances_xml

VPC_ID = "vpc-0123456789abcdef0"
IMAGE_ID = "ami-0123456789abcdef0"
DONE = "<return>true</return>"
DENIED = "UnauthorizedOperation"

FOR_EVER = 3600.0
"""Seconds: a test that waits for something in vain hangs."""


@pytest.fixture
def scope(script: ScriptedEC2) -> RegionContext:
    return region_context_at(script.url)


@pytest.fixture
def vpc(script: ScriptedEC2) -> ScriptedEC2:
    """A VPC with one of everything, of which nothing is deleted before everything in its way is."""
    script.answer("DescribeInstances", instances_xml())
    script.answer(
        "DescribeNetworkInterfaces",
        "<networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId><status>available</status></item>"
        "</networkInterfaceSet>",
    )
    address = "<allocationId>eipalloc-1</allocationId><publicIp>198.51.100.1</publicIp>"
    tags = "<tagSet><item><key>pycloudlib:run</key><value>r</value></item></tagSet>"
    script.answer("DescribeAddresses", f"<addressesSet><item>{address}{tags}</item></addressesSet>")
    gateways = "<item><internetGatewayId>igw-1</internetGatewayId></item>"
    script.answer("DescribeInternetGateways", f"<internetGatewaySet>{gateways}</internetGatewaySet>")
    script.answer("DescribeSubnets", "<subnetSet><item><subnetId>subnet-1</subnetId></item></subnetSet>")
    association = "<item><routeTableAssociationId>rtbassoc-1</routeTableAssociationId><main>false</main></item>"
    table = f"<routeTableId>rtb-1</routeTableId><associationSet>{association}</associationSet>"
    script.answer("DescribeRouteTables", f"<routeTableSet><item>{table}</item></routeTableSet>")
    group = "<item><groupId>sg-1</groupId><groupName>web</groupName></item>"
    script.answer("DescribeSecurityGroups", f"<securityGroupInfo>{group}</securityGroupInfo>")
    return script


DELETIONS = {
    "ReleaseAddress": ("DetachInternetGateway", "DeleteVpc"),
    "DeleteNetworkInterface": ("DetachInternetGateway", "DeleteSubnet", "DeleteSecurityGroup", "DeleteVpc"),
    "DetachInternetGateway": ("DeleteVpc",),
    "DeleteInternetGateway": (),
    "DeleteSubnet": ("DeleteRouteTable", "DeleteVpc"),
    "DisassociateRouteTable": ("DeleteRouteTable", "DeleteVpc"),
    "DeleteRouteTable": ("DeleteVpc",),
    "DeleteSecurityGroup": ("DeleteVpc",),
}
"""The calls that delete a VPC, and those that EC2 refuses as long as the first one was not made."""


@pytest.mark.parametrize("forbidden", DELETIONS)
def test_what_depends_on_a_forbidden_deletion_is_not_waited_for(
    forbidden: str, scope: RegionContext, vpc: ScriptedEC2
) -> None:
    for action in {*DELETIONS, "DeleteVpc"} - {forbidden}:
        if action in DELETIONS[forbidden]:
            vpc.refuse(action, "DependencyViolation", "it has dependencies")
        else:
            vpc.answer(action, DONE)
    vpc.refuse(forbidden, DENIED)
    errors = VPCRemoval(scope, VPC_ID, Deadline.after(FOR_EVER)).run()
    assert isinstance(errors[0], PermissionDeniedError)
    assert {vpc.count(action) for action in DELETIONS[forbidden]} <= {1}
    assert all(vpc.count(action) for action in DELETIONS if action != "DeleteInternetGateway")


def test_a_security_group_of_an_instance_that_stays_is_not_waited_for(
    scope: RegionContext, script: ScriptedEC2
) -> None:
    def refuse() -> None:
        raise PermissionDeniedError("no", code=DENIED)

    group = SecurityGroup("sg-1", "web", "", VPC_ID, {}, scope)
    scope.record("instance", "i-1", refuse, UndoOrder.INSTANCE)
    scope.record("security group", "sg-1", partial(group.delete, FOR_EVER), UndoOrder.SECURITY_GROUP)
    script.refuse("DeleteSecurityGroup", "DependencyViolation", "it has dependencies")
    attached = "<attachment><instanceId>i-1</instanceId><attachmentId>a-1</attachmentId></attachment>"
    interface = f"<item><networkInterfaceId>eni-1</networkInterfaceId>{attached}</item>"
    script.answer("DescribeNetworkInterfaces", f"<networkInterfaceSet>{interface}</networkInterfaceSet>")
    assert [str(error).split(":")[0] for error in scope.ledger.undo_all()] == ["instance i-1", "security group sg-1"]
    assert script.count("DeleteSecurityGroup") == 1


def test_a_security_group_whose_users_are_going_is_waited_for_beside_another_failure(
    scope: RegionContext, script: ScriptedEC2
) -> None:
    def refuse() -> None:
        raise PermissionDeniedError("no", code=DENIED)

    group = SecurityGroup("sg-1", "web", "", VPC_ID, {}, scope)
    scope.record("instance", "i-1", refuse, UndoOrder.INSTANCE)
    scope.record("security group", "sg-1", partial(group.delete, FOR_EVER), UndoOrder.SECURITY_GROUP)
    script.refuse("DeleteSecurityGroup", "DependencyViolation", "it has dependencies")
    script.answer("DeleteSecurityGroup", DONE)
    script.answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    assert len(scope.ledger.undo_all()) == 1
    assert script.count("DeleteSecurityGroup") == 2


def test_a_volume_of_an_instance_that_stays_is_not_taken_from_it(scope: RegionContext, script: ScriptedEC2) -> None:
    def refuse() -> None:
        raise PermissionDeniedError("no", code=DENIED)

    scope.record("instance", "i-1", refuse, UndoOrder.INSTANCE)
    scope.record("volume", "vol-1", lambda: Volumes(scope).discard("vol-1"), UndoOrder.VOLUME)
    attached = "<item><instanceId>i-1</instanceId><device>/dev/sdf</device><status>attached</status></item>"
    volume = f"<volumeId>vol-1</volumeId><status>in-use</status><attachmentSet>{attached}</attachmentSet>"
    script.answer("DescribeVolumes", f"<volumeSet><item>{volume}</item></volumeSet>")
    errors = scope.ledger.undo_all()
    assert "vol-1 is attached to i-1, which could not be deleted" in str(errors[1])
    assert (script.count("DetachVolume"), script.count("DeleteVolume")) == (0, 0)


def test_a_snapshot_of_an_image_that_stays_is_not_waited_for(scope: RegionContext, script: ScriptedEC2) -> None:
    def refuse() -> None:
        raise PermissionDeniedError("no", code=DENIED)

    scope.record("image", IMAGE_ID, refuse, UndoOrder.IMAGE)
    delete = partial(Snapshots(scope).delete, "snap-1", patience=FOR_EVER, deadline=Deadline.after(FOR_EVER))
    scope.record("snapshot", "snap-1", delete, UndoOrder.SNAPSHOT)
    script.refuse("DeleteSnapshot", "InvalidSnapshot.InUse", f"snap-1 is currently in use by {IMAGE_ID}")
    assert len(scope.ledger.undo_all()) == 2
    assert script.count("DeleteSnapshot") == 1


# Look-ups that EC2 forbids


def test_an_image_is_deleted_without_a_look(scope: RegionContext, script: ScriptedEC2) -> None:
    script.refuse("DescribeImages", DENIED)
    script.answer("DescribeSnapshots", "<snapshotSet><item><snapshotId>snap-1</snapshotId></item></snapshotSet>")
    script.answer("DeregisterImage", DONE)
    script.answer("DeleteSnapshot", DONE)
    scope.record("image", IMAGE_ID, lambda: None, UndoOrder.IMAGE)
    Images(scope).delete(IMAGE_ID)
    assert (script.count("DeregisterImage"), script.count("DeleteSnapshot")) == (1, 1)
    assert IMAGE_ID not in scope.ledger


def test_an_image_whose_snapshots_nobody_shows_is_deregistered_and_reported(
    scope: RegionContext, script: ScriptedEC2
) -> None:
    script.refuse("DescribeImages", DENIED)
    script.refuse("DescribeSnapshots", DENIED)
    script.answer("DeregisterImage", DONE)
    scope.record("image", IMAGE_ID, lambda: None, UndoOrder.IMAGE)
    with pytest.raises(CleanupError) as caught:
        Images(scope).delete(IMAGE_ID)
    assert len(caught.value.errors) == 2
    assert script.count("DeregisterImage") == 1
    assert IMAGE_ID in scope.ledger


def test_a_snapshot_that_another_image_needs_is_not_waited_for(scope: RegionContext, script: ScriptedEC2) -> None:
    script.refuse("DescribeImages", DENIED)
    script.answer("DescribeSnapshots", "<snapshotSet><item><snapshotId>snap-1</snapshotId></item></snapshotSet>")
    script.answer("DeregisterImage", DONE)
    script.refuse("DeleteSnapshot", "InvalidSnapshot.InUse", "snap-1 is currently in use by ami-0000000000000000f")
    with pytest.raises(CleanupError):
        Images(scope).delete(IMAGE_ID)
    assert script.count("DeleteSnapshot") == 1


def test_an_address_is_released_without_a_look(scope: RegionContext, script: ScriptedEC2) -> None:
    script.refuse("DescribeAddresses", DENIED)
    script.answer("ReleaseAddress", DONE)
    ElasticAddresses(scope).release("eipalloc-1")
    assert script.count("ReleaseAddress") == 1


def test_an_interface_is_deleted_without_a_look(scope: RegionContext, script: ScriptedEC2) -> None:
    script.refuse("DescribeNetworkInterfaces", DENIED)
    script.answer("DeleteNetworkInterface", DONE)
    NetworkInterfaces(scope).delete("eni-1")
    assert script.count("DeleteNetworkInterface") == 1


def test_a_volume_is_deleted_without_a_look(
    scope: RegionContext, script: ScriptedEC2, caplog: pytest.LogCaptureFixture
) -> None:
    script.refuse("DescribeVolumes", DENIED)
    script.answer("DeleteVolume", DONE)
    Volumes(scope).discard("vol-1")
    assert script.count("DeleteVolume") == 1
    assert "does not report whether it is complete" in caplog.text
