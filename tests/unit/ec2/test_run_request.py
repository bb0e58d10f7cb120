from __future__ import annotations

import pytest

from pycloudlib.ec2.images import Image
from pycloudlib.ec2.run_request import MAX_USER_DATA, RunRequest, check_user_data, checked_parameters
from pycloudlib.errors import InvalidArgumentError
from pycloudlib.tags import Ownership

IMAGE = Image("ami-1", root_device_name="/dev/xvda", root_size_gb=8)
OWNERSHIP = Ownership("run", "me@here")


def parameters(image: Image = IMAGE, *, disk_size_gb: int = 15, enable_ipv6: bool = False, **more: object) -> dict:
    request = RunRequest(image, "t3.micro", "name", None, disk_size_gb, enable_ipv6, more)
    return request.parameters(OWNERSHIP)


def test_one_instance_is_asked_for_with_its_own_client_token() -> None:
    one, other = parameters(), parameters()
    assert (one["ImageId"], one["InstanceType"], one["MinCount"], one["MaxCount"]) == ("ami-1", "t3.micro", 1, 1)
    assert one["ClientToken"] != other["ClientToken"]


def test_what_was_not_asked_for_is_left_to_ec2() -> None:
    assert set(parameters()) == {
        "ImageId",
        "InstanceType",
        "MinCount",
        "MaxCount",
        "ClientToken",
        "TagSpecifications",
        "BlockDeviceMappings",
    }


def test_a_client_token_of_the_caller_is_kept() -> None:
    assert parameters(ClientToken="mine")["ClientToken"] == "mine"


def test_instance_volumes_and_interfaces_are_tagged() -> None:
    tagged = {spec["ResourceType"]: spec["Tags"] for spec in parameters()["TagSpecifications"]}
    assert set(tagged) == {"instance", "volume", "network-interface"}
    assert all({"Key": "Name", "Value": "name"} in tags for tags in tagged.values())


def test_tags_of_the_caller_are_merged_by_resource_type() -> None:
    specification = [
        {"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "mine"}]},
        {"ResourceType": "spot-instances-request", "Tags": [{"Key": "a", "Value": "b"}]},
    ]
    tagged = {
        spec["ResourceType"]: {tag["Key"]: tag["Value"] for tag in spec["Tags"]}
        for spec in parameters(TagSpecifications=specification)["TagSpecifications"]
    }
    assert tagged["instance"]["Name"] == "name"
    assert tagged["volume"]["Name"] == "mine"
    assert tagged["volume"]["pycloudlib:run"] == "run"
    assert tagged["spot-instances-request"]["a"] == "b"


def test_a_tag_of_the_librarys_own_cannot_be_set() -> None:
    specification = [{"ResourceType": "instance", "Tags": [{"Key": "pycloudlib:run", "Value": "other"}]}]
    with pytest.raises(InvalidArgumentError, match="pycloudlib:run"):
        parameters(TagSpecifications=specification)


def test_the_root_volume_is_never_smaller_than_the_image() -> None:
    big = Image("ami-1", root_device_name="/dev/sda1", root_size_gb=30)
    assert parameters(big)["BlockDeviceMappings"] == [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 30}}]


def test_devices_of_the_caller_stay_beside_the_root_volume() -> None:
    data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}
    assert parameters(BlockDeviceMappings=[data])["BlockDeviceMappings"] == [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 15}},
        data,
    ]


def test_what_the_caller_says_of_the_root_volume_counts() -> None:
    root = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3", "VolumeSize": 99}}
    assert parameters(BlockDeviceMappings=[root])["BlockDeviceMappings"] == [root]
    without_size = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3"}}
    (mapping,) = parameters(BlockDeviceMappings=[without_size], disk_size_gb=20)["BlockDeviceMappings"]
    assert mapping["Ebs"] == {"VolumeType": "gp3", "VolumeSize": 20}


def test_what_the_caller_gave_is_not_changed() -> None:
    root = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3"}}
    parameters(BlockDeviceMappings=[root])
    assert root == {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3"}}


def test_an_image_without_a_known_root_device_gets_no_mapping() -> None:
    assert "BlockDeviceMappings" not in parameters(Image("ami-1"))


def test_ipv6_keeps_the_metadata_options_of_the_caller() -> None:
    options = parameters(enable_ipv6=True, MetadataOptions={"HttpTokens": "required"})["MetadataOptions"]
    assert options == {"HttpEndpoint": "enabled", "HttpProtocolIpv6": "enabled", "HttpTokens": "required"}


def test_any_other_parameter_of_the_caller_is_passed_on() -> None:
    assert parameters(SubnetId="subnet-1", Monitoring={"Enabled": False})["Monitoring"] == {"Enabled": False}


def test_the_usual_misspelling_of_security_group_ids_is_taken(moto_client) -> None:
    assert checked_parameters(moto_client, {"SecurityGroupsIds": ["sg-1"]}) == {"SecurityGroupIds": ["sg-1"]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SubnetID", "did you mean SubnetId"),
        ("Zzz", r"no parameter 'Zzz'$"),
        ("UserData", "it takes user_data"),
        ("MinCount", "launches one instance"),
    ],
)
def test_other_names_are_refused(moto_client, name: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        checked_parameters(moto_client, {name: 1})


def test_user_data_may_be_as_long_as_ec2_takes() -> None:
    check_user_data(None)
    check_user_data(b"x" * MAX_USER_DATA)
    check_user_data("ö" * (MAX_USER_DATA // 2))


@pytest.mark.parametrize("user_data", ["x" * (MAX_USER_DATA + 1), "ö" * (MAX_USER_DATA // 2 + 1)])
def test_longer_user_data_is_refused(user_data: str) -> None:
    with pytest.raises(InvalidArgumentError, match="gzip"):
        check_user_data(user_data)


def test_user_data_is_in_no_repr() -> None:
    assert "hidden" not in repr(RunRequest(IMAGE, "t3.micro", "name", "hidden"))
