"""What the local EC2 answers, where moto alone would answer otherwise than EC2 does. No machine is needed for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.local_network import describe
from support.plain_ec2 import connect, refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


Launch = Callable[..., str]


@pytest.fixture
def launch(client: EC2Client, image_id: str) -> Launch:
    def launch(**parameters: Any) -> str:
        wanted = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", **parameters}
        return client.run_instances(**wanted)["Instances"][0]["InstanceId"]

    return launch


def wait_for(client: EC2Client, instance_id: str, state: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        described = describe(client, instance_id)
        return described if described["State"]["Name"] == state else None

    return wait_until(reached, what=f"{instance_id} to be {state}", deadline=Deadline.after(60), interval=0.02)


def test_launch_creates_max_count_instances(client: EC2Client, image_id: str) -> None:
    launched = client.run_instances(ImageId=image_id, MinCount=1, MaxCount=3)["Instances"]
    assert [one["AmiLaunchIndex"] for one in launched] == [0, 1, 2]
    assert len({one["PublicIpAddress"] for one in launched}) == 3


def test_the_same_client_token_launches_nothing_more(launch: Launch) -> None:
    assert launch(ClientToken="once") == launch(ClientToken="once") != launch(ClientToken="again")


def test_the_address_is_of_the_default_subnet(client: EC2Client, launch: Launch) -> None:
    described = describe(client, launch())
    assert described["PrivateIpAddress"].startswith("172.31.")
    assert described["PublicIpAddress"].startswith("127.")
    assert described["SubnetId"]


def test_launch_uses_the_requested_zone(client: EC2Client, launch: Launch) -> None:
    described = describe(client, launch(Placement={"AvailabilityZone": "us-east-1b"}))
    assert described["Placement"]["AvailabilityZone"] == "us-east-1b"


def test_a_stop_takes_the_public_address_and_a_start_gives_another_one(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    before = wait_for(client, instance_id, "running")["PublicIpAddress"]
    change = client.stop_instances(InstanceIds=[instance_id])["StoppingInstances"][0]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    stopped = wait_for(client, instance_id, "stopped")
    assert "PublicIpAddress" not in stopped
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    client.start_instances(InstanceIds=[instance_id])
    running = wait_for(client, instance_id, "running")
    assert running["PublicIpAddress"] != before
    assert "StateReason" not in running


def test_starting_what_runs_changes_nothing(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    wait_for(client, instance_id, "running")
    change = client.start_instances(InstanceIds=[instance_id])["StartingInstances"][0]
    assert change["CurrentState"]["Name"] == "running"


def test_what_is_stopped_cannot_be_rebooted(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    wait_for(client, instance_id, "running")
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
    assert refusal(client.reboot_instances, InstanceIds=[instance_id]) == "IncorrectInstanceState"


def test_what_is_terminated_stays_so(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    client.terminate_instances(InstanceIds=[instance_id])
    terminated = wait_for(client, instance_id, "terminated")
    assert "PublicIpAddress" not in terminated
    for call in (client.start_instances, client.stop_instances, client.reboot_instances):
        assert refusal(call, InstanceIds=[instance_id]) == "IncorrectInstanceState"
    change = client.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert change["CurrentState"]["Name"] == "terminated"


def test_one_that_cannot_be_stopped_keeps_the_others_running(client: EC2Client, launch: Launch) -> None:
    runs, gone = launch(), launch()
    wait_for(client, runs, "running")
    client.terminate_instances(InstanceIds=[gone])
    wait_for(client, gone, "terminated")
    assert refusal(client.stop_instances, InstanceIds=[runs, gone]) == "IncorrectInstanceState"
    assert describe(client, runs)["State"]["Name"] == "running"


def test_what_goes_with_an_instance_is_gone_with_it(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    described = describe(client, instance_id)
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    volumes = [mapping["Ebs"]["VolumeId"] for mapping in described["BlockDeviceMappings"]]
    interfaces = [interface["NetworkInterfaceId"] for interface in described["NetworkInterfaces"]]
    assert volumes
    assert interfaces
    assert refusal(client.describe_volumes, VolumeIds=volumes) == "InvalidVolume.NotFound"
    left = client.describe_network_interfaces(Filters=[{"Name": "network-interface-id", "Values": interfaces}])
    assert left["NetworkInterfaces"] == []


def test_termination_protection_holds_until_it_is_taken_off(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(DisableApiTermination=True)
    assert refusal(client.terminate_instances, InstanceIds=[instance_id]) == "OperationNotPermitted"
    client.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": False})
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")


def test_the_root_volume_is_as_large_as_the_image_unless_it_is_to_be_larger(client: EC2Client, launch: Launch) -> None:
    def root_gb(instance_id: str) -> int:
        (mapping,) = describe(client, instance_id)["BlockDeviceMappings"]
        assert mapping["DeviceName"] == "/dev/xvda"
        assert mapping["Ebs"]["DeleteOnTermination"] is True
        return client.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"][0]["Size"]

    assert root_gb(launch()) == 8
    assert root_gb(launch(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20}}])) == 20


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed"),
        ({"InstanceType": "t9.huge"}, "InvalidParameterValue"),
        ({"KeyName": "no-such-key"}, "InvalidKeyPair.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"MinCount": 2, "MaxCount": 1}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 2}}]}, "InvalidBlockDeviceMapping"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_a_launch_that_ec2_would_refuse_is_refused_with_its_code(
    client: EC2Client, launch: Launch, parameters: dict[str, Any], code: str
) -> None:
    def count() -> int:
        return sum(len(one["Instances"]) for one in client.describe_instances()["Reservations"])

    before = count()
    assert refusal(launch, **parameters) == code
    assert count() == before


def test_an_unknown_instance_is_not_found(client: EC2Client) -> None:
    for call in (client.describe_instances, client.stop_instances, client.terminate_instances):
        assert refusal(call, InstanceIds=["i-0123456789abcdef0"]) == "InvalidInstanceID.NotFound"
    assert refusal(client.get_console_output, InstanceId="i-0123456789abcdef0") == "InvalidInstanceID.NotFound"


def test_what_it_does_not_have_is_refused_in_ec2s_way(client: EC2Client) -> None:
    with pytest.raises(ClientError, match="The local EC2 does not have DescribeFastLaunchImages") as caught:
        client.describe_fast_launch_images()
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


def test_metadata_options_that_are_not_named_stay_as_they_are(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(MetadataOptions={"HttpTokens": "required"})
    client.modify_instance_metadata_options(InstanceId=instance_id, InstanceMetadataTags="enabled")
    options = describe(client, instance_id)["MetadataOptions"]
    assert (options["HttpTokens"], options["InstanceMetadataTags"]) == ("required", "enabled")


def test_an_unknown_attribute_changes_nothing(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    groups = describe(client, instance_id)["SecurityGroups"]
    refused = refusal(client.modify_instance_attribute, InstanceId=instance_id, EnaSupport={"Value": True})
    assert refused == "UnsupportedOperation"
    assert describe(client, instance_id)["SecurityGroups"] == groups != []


def test_the_shutdown_behavior_can_be_changed(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    client.modify_instance_attribute(InstanceId=instance_id, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    attribute = "instanceInitiatedShutdownBehavior"
    answer = client.describe_instance_attribute(InstanceId=instance_id, Attribute=attribute)
    assert answer["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_regions_have_the_same_images_and_their_own_instances(local: LocalEC2, image_id: str) -> None:
    there = connect(local, "eu-central-1")
    assert there.describe_images(ImageIds=[image_id])["Images"]
    launched = there.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)["Instances"][0]
    assert launched["Placement"]["AvailabilityZone"] == "eu-central-1a"
    assert refusal(connect(local).describe_instances, InstanceIds=[launched["InstanceId"]]).endswith("NotFound")


def test_protected_instance_is_not_stopped(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(DisableApiStop=True)
    wait_for(client, instance_id, "running")
    with pytest.raises(ClientError, match="may not be stopped") as caught:
        client.stop_instances(InstanceIds=[instance_id])
    assert caught.value.response["Error"]["Code"] == "OperationNotPermitted"
    client.modify_instance_attribute(InstanceId=instance_id, DisableApiStop={"Value": False})
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
