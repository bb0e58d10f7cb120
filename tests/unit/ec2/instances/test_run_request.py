from __future__ import annotations

import pytest

from pycloudlib.ec2.images.description import ImageDescription
from pycloudlib.ec2.instances.run_request import (
    RunRequest,
    check_arguments,
    check_count,
    checked_parameters,
    with_idempotency_token,
    with_own_spellings,
)
from pycloudlib.errors import InvalidArgumentError
from pycloudlib.tags import Ownership

IMAGE = ImageDescription("ami-1", root_device_name="/dev/xvda", root_size_gb=8)
OWNERSHIP = Ownership("run", "me@here")


def parameters_of(**more: object) -> dict:
    return with_idempotency_token(RunRequest(IMAGE, "t3.micro", "name", **more).parameters(OWNERSHIP), "mark")


def parameters(
    image: ImageDescription = IMAGE, *, disk_size_gb: int = 15, enable_ipv6: bool = False, **more: object
) -> dict:
    request = RunRequest(image, "t3.micro", "name", None, disk_size_gb, enable_ipv6, more)
    return with_idempotency_token(request.parameters(OWNERSHIP), "mark")


def test_single_launch_uses_the_idempotency_tag_as_client_token() -> None:
    one = parameters()
    assert (one["ImageId"], one["InstanceType"], one["MinCount"], one["MaxCount"]) == ("ami-1", "t3.micro", 1, 1)
    assert one["ClientToken"] == "mark"


def test_unset_parameters_are_omitted() -> None:
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
    big = ImageDescription("ami-1", root_device_name="/dev/sda1", root_size_gb=30)
    assert parameters(big)["BlockDeviceMappings"] == [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 30}}]


def test_devices_of_the_caller_stay_beside_the_root_volume() -> None:
    data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}
    assert parameters(BlockDeviceMappings=[data])["BlockDeviceMappings"] == [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 15}},
        data,
    ]


def test_root_volume_parameters_of_the_caller_take_precedence() -> None:
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
    assert "BlockDeviceMappings" not in parameters(ImageDescription("ami-1"))


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
        ("MinCount", "launches one instance"),
        ("Placement", "invalid parameters of RunInstances: .*Placement"),
    ],
)
def test_other_names_are_refused(moto_client, name: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        checked_parameters(moto_client, {name: 1})


def test_user_data_is_in_no_repr() -> None:
    assert "hidden" not in repr(RunRequest(IMAGE, "t3.micro", "name", "hidden"))


def test_many_instances_are_launched_by_one_call() -> None:
    asked = parameters_of(count=5, min_count=2)
    assert (asked["MinCount"], asked["MaxCount"]) == (2, 5)
    assert parameters_of(count=5)["MinCount"] == 5


def test_the_network_of_a_vpc_is_merged_and_the_callers_word_counts() -> None:
    network = {"SubnetId": "subnet-1", "SecurityGroupIds": ["sg-1"]}
    asked = parameters_of(network=network, more={"SecurityGroupIds": ["sg-2"]})
    assert (asked["SubnetId"], asked["SecurityGroupIds"]) == ("subnet-1", ["sg-2"])


def test_tags_given_twice_for_one_type_are_merged() -> None:
    both = [{"ResourceType": "volume", "Tags": [{"Key": key, "Value": key}]} for key in ("a", "b")]
    tags = next(given["Tags"] for given in parameters(TagSpecifications=both)["TagSpecifications"][1:2])
    assert {"a", "b"} <= {tag["Key"] for tag in tags}


GOOD = {"disk_size_gb": 15, "username": None, "switches": {"wait": True}, "more": {}}


@pytest.mark.parametrize(
    ("image_id", "instance_type", "others", "message"),
    [
        (None, "t3.micro", {}, "image_id is None; it must be a string"),
        ("", "t3.micro", {}, "image_id is ''"),
        (7, "t3.micro", {}, "image_id is 7"),
        ("ami-1", None, {}, "instance_type is None"),
        ("ami-1", "t3.micro", {"username": 0}, "username is 0"),
        ("ami-1", "t3.micro", {"username": ""}, "username is ''"),
        ("ami-1", "t3.micro", {"switches": {"wait": "no"}}, "wait is 'no'; it must be True or False"),
        ("ami-1", "t3.micro", {"disk_size_gb": 0}, "disk_size_gb is 0; it must be a whole number from 1 to 16384"),
        ("ami-1", "t3.micro", {"disk_size_gb": 16385}, "from 1 to 16384"),
        ("ami-1", "t3.micro", {"disk_size_gb": True}, "disk_size_gb is True"),
        ("ami-1", "t3.micro", {"disk_size_gb": "20"}, "disk_size_gb is '20'"),
        ("ami-1", "t3.micro", {"disk_size_gb": 20.5}, "disk_size_gb is 20.5"),
    ],
)
def test_arguments_of_another_type_or_out_of_range_are_refused_in_one_line(
    image_id: object, instance_type: object, others: dict, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        check_arguments(image_id, instance_type, **{**GOOD, **others})
    assert "\n" not in str(caught.value)


def test_a_gp3_volume_may_be_larger_than_others() -> None:
    gp3 = {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3"}}]}
    check_arguments("ami-1", "t3.micro", **{**GOOD, "disk_size_gb": 65536, "more": gp3})
    with pytest.raises(InvalidArgumentError, match="65536"):
        check_arguments("ami-1", "t3.micro", **{**GOOD, "disk_size_gb": 65537, "more": gp3})


@pytest.mark.parametrize(
    ("count", "min_count", "message"),
    [
        (0, None, "count is 0; it must be a whole number from 1 to 1000"),
        (-1, None, "count is -1"),
        (True, None, "count is True"),
        ("3", None, "count is '3'"),
        (1001, None, "count is 1001"),
        (3, 0, "min_count is 0; it must be a whole number from 1 to 3"),
        (3, 4, "min_count is 4"),
        (3, 1.5, "min_count is 1.5"),
    ],
)
def test_numbers_of_instances_that_make_no_sense_are_refused(count: object, min_count: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        check_count(count, min_count)


def test_numbers_of_instances_that_make_sense_are_taken() -> None:
    check_count(1, None)
    check_count(1000, 1)
    check_count(3, 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"TagSpecifications": "no"}, "TagSpecifications"),
        ({"TagSpecifications": [{"Tags": [{"Key": 7}]}]}, "Key"),
        ({"BlockDeviceMappings": [{"Ebs": {"VolumeSize": "8"}}]}, "VolumeSize"),
        ({"MetadataOptions": {"HttpToken": "required"}}, "HttpToken"),
        ({"DisableApiTermination": "yes"}, "DisableApiTermination"),
        ({"NetworkInterfaces": {"DeviceIndex": 0}}, "NetworkInterfaces"),
    ],
)
def test_parameters_of_another_form_are_refused_in_one_line(moto_client, parameters: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        checked_parameters(moto_client, parameters)
    assert "\n" not in str(caught.value)


# RunInstances' own spelling


def test_own_spellings_stand_for_the_arguments_of_launch() -> None:
    more = {"InstanceType": "m5.large", "UserData": "#!/bin/sh", "EbsOptimized": True}
    assert with_own_spellings(None, None, more) == {
        "instance_type": "m5.large",
        "user_data": "#!/bin/sh",
        "parameters": {"EbsOptimized": True},
    }


@pytest.mark.parametrize(("name", "spelling"), [("instance_type", "InstanceType"), ("user_data", "UserData")])
def test_both_spellings_at_once_are_refused(name: str, spelling: str) -> None:
    arguments = {"instance_type": None, "user_data": None} | {name: "a"}
    with pytest.raises(InvalidArgumentError, match=f"launch\\(\\) takes {name} or {spelling}, not both"):
        with_own_spellings(**arguments, more={spelling: "a"})
