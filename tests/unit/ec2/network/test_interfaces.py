from __future__ import annotations

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.network.interfaces import NetworkInterface, NetworkInterfaces
from pycloudlib.errors import IllegalStateError
from support.region_contexts import region_context_at
from support.scripted_ec2 import ScriptedEC2

ENI = "eni-0123456789abcdef0"


def described(status: str, attachment: str = "") -> str:
    tie = f"<attachment><attachmentId>eni-attach-1</attachmentId><status>{attachment}</status></attachment>"
    item = f"<networkInterfaceId>{ENI}</networkInterfaceId><status>{status}</status>{tie if attachment else ''}"
    return f"<networkInterfaceSet><item>{item}</item></networkInterfaceSet>"


@pytest.fixture
def scripted_context(script: ScriptedEC2) -> RegionContext:
    return region_context_at(script.url)


@pytest.fixture
def interfaces(scripted_context: RegionContext) -> NetworkInterfaces:
    return NetworkInterfaces(scripted_context)


def test_attaching_waits_until_ec2_calls_it_attached(interfaces: NetworkInterfaces, script: ScriptedEC2) -> None:
    script.refuse("AttachNetworkInterface", "InvalidNetworkInterfaceID.NotFound", f"'{ENI}' does not exist")
    script.answer("AttachNetworkInterface", "<attachmentId>eni-attach-1</attachmentId>")
    script.refuse("DescribeNetworkInterfaces", "RequestLimitExceeded")
    script.answer("DescribeNetworkInterfaces", described("in-use", "attaching"))
    script.answer("DescribeNetworkInterfaces", described("in-use", "attached"))
    script.answer("ModifyNetworkInterfaceAttribute", "<return>true</return>")
    assert interfaces.attach(ENI, "i-1", 1).attachment_status == "attached"
    modified = next(asked for asked in script.asked if asked["Action"] == "ModifyNetworkInterfaceAttribute")
    assert modified["Attachment.DeleteOnTermination"] == "true"


def test_deleting_detaches_waits_and_deletes(
    interfaces: NetworkInterfaces, scripted_context: RegionContext, script: ScriptedEC2
) -> None:
    scripted_context.ledger.record("network interface", ENI, lambda: None, order=1)
    script.answer("DescribeNetworkInterfaces", described("in-use", "attached"))
    script.answer("DescribeNetworkInterfaces", described("in-use", "detaching"))
    script.answer("DescribeNetworkInterfaces", described("available"))
    script.answer("DetachNetworkInterface", "<return>true</return>")
    script.refuse("DeleteNetworkInterface", "InvalidParameterValue", f"Network interface '{ENI}' is currently in use.")
    script.answer("DeleteNetworkInterface", "<return>true</return>")
    interfaces.delete(ENI)
    actions = [asked["Action"] for asked in script.asked]
    assert actions.index("DetachNetworkInterface") < actions.index("DeleteNetworkInterface")
    assert (script.count("DetachNetworkInterface"), script.count("DeleteNetworkInterface")) == (1, 2)
    assert ENI not in scripted_context.ledger


def test_one_that_is_being_detached_is_not_detached_again(interfaces: NetworkInterfaces, script: ScriptedEC2) -> None:
    script.answer("DescribeNetworkInterfaces", described("in-use", "detaching"))
    script.answer("DescribeNetworkInterfaces", described("available"))
    script.answer("DeleteNetworkInterface", "<return>true</return>")
    interfaces.delete(ENI)
    assert script.count("DetachNetworkInterface") == 0


def test_one_that_is_gone_is_deleted_without_an_error(interfaces: NetworkInterfaces, script: ScriptedEC2) -> None:
    script.refuse("DescribeNetworkInterfaces", "InvalidNetworkInterfaceID.NotFound", f"'{ENI}' does not exist")
    script.refuse("DeleteNetworkInterface", "InvalidNetworkInterfaceID.NotFound", f"'{ENI}' does not exist")
    interfaces.delete(ENI)
    assert script.count("DeleteNetworkInterface") == 1


def test_one_that_stays_in_use_is_an_error_in_ec2s_words(interfaces: NetworkInterfaces, script: ScriptedEC2) -> None:
    script.refuse("DeleteNetworkInterface", "InvalidNetworkInterface.InUse", f"'{ENI}' is in use")
    with pytest.raises(IllegalStateError, match="is in use"):
        interfaces.delete_detached(ENI, Deadline.after(0))


def test_interface_lists_its_addresses_primary_first() -> None:
    record = {
        "NetworkInterfaceId": ENI,
        "PrivateIpAddresses": [
            {"PrivateIpAddress": "10.0.0.9", "Primary": False, "Association": {"PublicIp": "203.0.113.9"}},
            {"PrivateIpAddress": "10.0.0.7", "Primary": True, "Association": {"PublicIp": "203.0.113.7"}},
        ],
        "Association": {"PublicIp": "203.0.113.7"},
        "Ipv6Addresses": [{"Ipv6Address": "2001:db8::7"}],
        "Attachment": {"DeviceIndex": 0, "Status": "attached", "AttachmentId": "eni-attach-1", "InstanceId": "i-1"},
    }
    interface = NetworkInterface.of(record)
    assert interface.private_ips == ("10.0.0.7", "10.0.0.9")
    assert interface.addresses == ("10.0.0.7", "10.0.0.9", "203.0.113.7", "203.0.113.9", "2001:db8::7")
    assert (interface.is_primary, str(interface)) == (True, f"{ENI} (attached)")
