"""Options of RunInstances: each is kept or refused by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pycloudlib.errors import MissingPrerequisiteError
from pycloudlib.local.api.moto_adapter import EC2ClientError
from pycloudlib.local.machines.platforms import ARM64, Platform
from pycloudlib.local.server_directories import LOG_FILE
from support.local_network import Launch, Network, describe, wait_for
from support.plain_ec2 import refusal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from pycloudlib.local import LocalEC2
    from pycloudlib.local.api.backend import LocalEC2Backend

LAUNCH: dict[str, Any] = {"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small"}


def machine(client: EC2Client, instance_id: str) -> str:
    """What the machine behind an instance was started as; its console's last line says it."""
    output = client.get_console_output(InstanceId=instance_id)["Output"]
    return output.splitlines()[-1].rpartition(": ")[2]


def test_placement_is_kept(client: EC2Client, launch: Launch) -> None:
    client.create_placement_group(GroupName="near", Strategy="cluster")
    placement = {"AvailabilityZoneId": "use1-az2", "GroupName": "near", "Tenancy": "dedicated"}
    instance_id = launch(InstanceType="m5.large", Placement=placement)
    described = describe(client, instance_id)["Placement"]
    assert described.items() >= {**placement, "AvailabilityZone": "us-east-1c"}.items()
    assert refusal(client.delete_placement_group, GroupName="near") == "InvalidPlacementGroup.InUse"
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    client.delete_placement_group(GroupName="near")
    assert client.describe_placement_groups()["PlacementGroups"] == []


def test_cluster_placement_group_of_unsupported_type_is_refused(client: EC2Client, image_id: str) -> None:
    client.create_placement_group(GroupName="close", Strategy="cluster")
    wanted: dict[str, Any] = {**LAUNCH, "ImageId": image_id, "Placement": {"GroupName": "close"}}
    with pytest.raises(ClientError, match=r"Cluster placement groups .* 't3\.small'") as refused:
        client.run_instances(**wanted)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterCombination"
    client.delete_placement_group(GroupName="close")


def test_placement_groups_are_described(client: EC2Client) -> None:
    client.create_placement_group(GroupName="far", Strategy="spread")
    assert refusal(client.create_placement_group, GroupName="far") == "InvalidPlacementGroup.Duplicate"
    found = client.describe_placement_groups(Filters=[{"Name": "strategy", "Values": ["spread"]}])["PlacementGroups"]
    assert [(one["GroupName"], one["State"]) for one in found] == [("far", "available")]
    client.delete_placement_group(GroupName="far")
    assert refusal(client.delete_placement_group, GroupName="far") == "InvalidPlacementGroup.Unknown"


def test_placement_groups_are_described_by_id(client: EC2Client) -> None:
    group_id = client.create_placement_group(GroupName="by-id")["PlacementGroup"]["GroupId"]
    (found,) = client.describe_placement_groups(GroupIds=[group_id])["PlacementGroups"]
    assert found["GroupName"] == "by-id"
    client.delete_placement_group(GroupName="by-id")
    assert refusal(client.describe_placement_groups, GroupIds=[group_id]) == "InvalidPlacementGroup.Unknown"
    assert refusal(client.describe_placement_groups, GroupIds=["by-id"]) == "InvalidPlacementGroupId.Malformed"


def test_credits_of_an_instance_that_is_not_burstable_are_refused(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(InstanceType="m5.large")
    code = refusal(client.describe_instance_credit_specifications, InstanceIds=[instance_id])
    assert code == "InstanceCreditSpecification.NotSupported"


def test_cpu_options_decide_the_machines_cpus(client: EC2Client, launch: Launch) -> None:
    wanted = {"CoreCount": 1, "ThreadsPerCore": 1}
    instance_id = launch(CpuOptions=wanted)
    assert describe(client, instance_id)["CpuOptions"] == wanted
    assert machine(client, instance_id) == "t3.small, 2048 MiB, 1 CPUs"
    assert machine(client, launch()) == f"t3.small, 2048 MiB, {min(2, os.cpu_count() or 1)} CPUs"


def test_credit_specification_is_kept(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(CreditSpecification={"CpuCredits": "standard"})

    def cpu_credits() -> str:
        answer = client.describe_instance_credit_specifications(InstanceIds=[instance_id])
        return answer["InstanceCreditSpecifications"][0]["CpuCredits"]

    assert cpu_credits() == "standard"
    client.modify_instance_credit_specification(
        InstanceCreditSpecifications=[{"InstanceId": instance_id, "CpuCredits": "unlimited"}]
    )
    assert cpu_credits() == "unlimited"


def test_names_and_recovery_are_kept(client: EC2Client, launch: Launch) -> None:
    names = {"HostnameType": "resource-name", "EnableResourceNameDnsARecord": True}
    described = describe(
        client,
        launch(
            PrivateDnsNameOptions=names,
            MaintenanceOptions={"AutoRecovery": "disabled"},
            CapacityReservationSpecification={"CapacityReservationPreference": "none"},
        ),
    )
    assert described["PrivateDnsName"] == f"{described['InstanceId']}.ec2.internal"
    assert described["PrivateDnsNameOptions"] == {**names, "EnableResourceNameDnsAAAARecord": False}
    assert described["MaintenanceOptions"]["AutoRecovery"] == "disabled"
    assert described["CapacityReservationSpecification"] == {"CapacityReservationPreference": "none"}


def test_interface_description_is_kept(client: EC2Client, launch: Launch) -> None:
    described = describe(client, launch(NetworkInterfaces=[{"DeviceIndex": 0, "Description": "to the world"}]))
    assert described["NetworkInterfaces"][0]["Description"] == "to the world"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"KernelId": "aki-01234567"}, "KernelId"),
        ({"RamdiskId": "ari-01234567"}, "RamdiskId"),
        ({"LicenseSpecifications": [{"LicenseConfigurationArn": "arn:x"}]}, "LicenseSpecifications"),
        ({"HibernationOptions": {"Configured": True}}, "HibernationOptions.Configured"),
        ({"EnclaveOptions": {"Enabled": True}}, "EnclaveOptions.Enabled"),
        ({"CpuOptions": {"AmdSevSnp": "enabled"}}, "CpuOptions.AmdSevSnp"),
        ({"Placement": {"Tenancy": "host"}}, "Placement.Tenancy"),
        ({"Placement": {"PartitionNumber": 1}}, "Placement.PartitionNumber"),
        (
            {"CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": "cr-1"}}},
            "CapacityReservationTarget",
        ),
        ({"InstanceMarketOptions": {"MarketType": "capacity-block"}}, "MarketType"),
        (
            {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "persistent"}}},
            "SpotInstanceType",
        ),
    ],
)
def test_unsupported_option_is_refused_by_name(
    client: EC2Client, image_id: str, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(client.exceptions.ClientError, match=name) as caught:
        client.run_instances(ImageId=image_id, **LAUNCH, **options)
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"Placement": {"GroupName": "none"}}, "InvalidPlacementGroup.Unknown"),
        ({"InstanceMarketOptions": {"SpotOptions": {"MaxPrice": "1"}}}, "MissingParameter"),
        ({"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "x"}}}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZoneId": "use1-az9"}}, "InvalidParameterValue"),
        ({"CpuOptions": {"CoreCount": 7, "ThreadsPerCore": 1}}, "InvalidParameterValue"),
        ({"CpuOptions": {"CoreCount": 1}}, "InvalidParameterCombination"),
        ({"CreditSpecification": {"CpuCredits": "endless"}}, "InvalidParameterValue"),
        (
            {"InstanceType": "m5.large", "CreditSpecification": {"CpuCredits": "standard"}},
            "InstanceCreditSpecification.NotSupported",
        ),
        ({"InstanceType": "t4g.small"}, "InvalidParameterValue"),
        ({"InstanceType": "nope"}, "InvalidParameterValue"),
        ({"InstanceInitiatedShutdownBehavior": "nonsense"}, "InvalidParameterValue"),
    ],
)
def test_invalid_option_is_refused(client: EC2Client, image_id: str, options: dict[str, Any], code: str) -> None:
    assert refusal(client.run_instances, ImageId=image_id, **{**LAUNCH, **options}) == code


def test_architecture_mismatch_is_explained(client: EC2Client, image_id: str) -> None:
    with pytest.raises(client.exceptions.ClientError, match="architecture 'arm64' of the specified instance type"):
        client.run_instances(ImageId=image_id, **{**LAUNCH, "InstanceType": "m6g.large"})


def test_an_image_for_arm64_launches_on_types_for_arm64_only(client: EC2Client, launch: Launch) -> None:
    arm = client.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"][0]["ImageId"]
    with pytest.raises(client.exceptions.ClientError, match=r"architecture 'x86_64' of the specified.*'arm64' of the"):
        client.run_instances(ImageId=arm, **LAUNCH)
    for instance_type in ("t4g.small", "m7g.large", "c8g.large"):
        described = describe(client, launch(ImageId=arm, InstanceType=instance_type))
        assert described["Architecture"] == "arm64"
        assert described["BootMode"] == described["CurrentInstanceBootMode"] == "uefi"


def test_arm64_launch_reports_missing_prerequisites(records: LocalEC2Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(platform: Platform) -> None:
        if platform is ARM64:
            raise MissingPrerequisiteError("install it")

    monkeypatch.setattr(records.cloud.driver, "require_platform", refuse)
    images = {image.architecture: image.image_id for image in records.cloud.catalogue.images()}
    assert records.launchable_image(images["x86_64"]).id == images["x86_64"]
    with pytest.raises(EC2ClientError) as refused:
        records.launchable_image(images["arm64"])
    assert (refused.value.code, refused.value.message) == ("UnsupportedOperation", "install it")


def test_spot_instance_has_a_request(client: EC2Client, launch: Launch) -> None:
    instance_id = launch(InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.5"}})
    described = describe(client, instance_id)
    assert described["InstanceLifecycle"] == "spot"
    request_id = described["SpotInstanceRequestId"]

    def request() -> dict[str, Any]:
        return client.describe_spot_instance_requests(SpotInstanceRequestIds=[request_id])["SpotInstanceRequests"][0]

    assert (request()["State"], request()["Status"]["Code"]) == ("active", "fulfilled")
    assert (request()["InstanceId"], request()["SpotPrice"], request()["Type"]) == (instance_id, "0.5", "one-time")
    assert refusal(client.stop_instances, InstanceIds=[instance_id]) == "UnsupportedOperation"
    client.cancel_spot_instance_requests(SpotInstanceRequestIds=[request_id])
    assert (request()["State"], request()["Status"]["Code"]) == ("cancelled", "request-canceled-and-instance-running")
    assert describe(client, instance_id)["State"]["Name"] == "running"
    client.terminate_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "terminated")
    assert (request()["State"], request()["Status"]["Code"]) == ("closed", "instance-terminated-by-user")


def test_spot_requests_launch_their_own(client: EC2Client, launch: Launch, image_id: str) -> None:
    on_demand = launch()
    requests = client.request_spot_instances(
        InstanceCount=2, LaunchSpecification={"ImageId": image_id, "InstanceType": "t3.micro"}
    )["SpotInstanceRequests"]
    instances = {one["InstanceId"] for one in requests}
    assert len(instances) == 2
    assert on_demand not in instances
    assert {describe(client, one)["InstanceType"] for one in instances} == {"t3.micro"}
    assert describe(client, on_demand).get("InstanceLifecycle") is None


def test_fleets_are_refused_by_name(client: EC2Client, launch: Launch, image_id: str) -> None:
    instance_id = launch()
    client.create_launch_template(LaunchTemplateName="fleet", LaunchTemplateData={"ImageId": image_id})
    configs: Any = [{"LaunchTemplateSpecification": {"LaunchTemplateName": "fleet", "Version": "1"}}]
    capacity: Any = {"TotalTargetCapacity": 1}
    with pytest.raises(client.exceptions.ClientError, match="CreateFleet") as caught:
        client.create_fleet(LaunchTemplateConfigs=configs, TargetCapacitySpecification=capacity)
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"
    assert describe(client, instance_id)["State"]["Name"] == "running"


def test_type_of_a_running_instance_stays(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    change: Any = {"InstanceId": instance_id, "InstanceType": {"Value": "t3.micro"}}
    assert refusal(client.modify_instance_attribute, **change) == "IncorrectInstanceState"
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
    client.modify_instance_attribute(**change)
    described = describe(client, instance_id)
    assert (described["InstanceType"], described["CpuOptions"]["CoreCount"]) == ("t3.micro", 1)
    client.start_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "running")
    assert machine(client, instance_id).startswith("t3.micro, 1024 MiB")
    client.stop_instances(InstanceIds=[instance_id])
    wait_for(client, instance_id, "stopped")
    for value, code in (("nope", "InvalidInstanceAttributeValue"), ("t4g.large", "InvalidParameterValue")):
        change["InstanceType"]["Value"] = value
        assert refusal(client.modify_instance_attribute, **change) == code


def test_metadata_over_ipv6_is_recorded_and_logged_once(client: EC2Client, launch: Launch, local: LocalEC2) -> None:
    for _ in range(2):
        instance_id = launch(MetadataOptions={"HttpProtocolIpv6": "enabled"})
    assert describe(client, instance_id)["MetadataOptions"]["HttpProtocolIpv6"] == "enabled"
    lines = [line for line in (local.directory / LOG_FILE).read_text().splitlines() if "HttpProtocolIpv6" in line]
    assert len(lines) == 1


def test_unknown_shutdown_behavior_is_refused(client: EC2Client, launch: Launch) -> None:
    instance_id = launch()
    behavior: Any = {"Value": "nonsense"}
    code = refusal(client.modify_instance_attribute, InstanceId=instance_id, InstanceInitiatedShutdownBehavior=behavior)
    assert code == "InvalidParameterValue"


def test_types_of_botocores_model_are_known(client: EC2Client, launch: Launch, local: LocalEC2) -> None:
    assert describe(client, launch(InstanceType="i3.metal"))["CpuOptions"] == {"CoreCount": 36, "ThreadsPerCore": 2}
    names = client.meta.service_model.shape_for("InstanceType").enum
    pages = client.get_paginator("describe_instance_types").paginate()
    described = {one["InstanceType"]: one for page in pages for one in page["InstanceTypes"]}
    assert set(names) <= set(described)
    assert described["i3.metal"]["MemoryInfo"]["SizeInMiB"] == 512 * 1024
    assert described["m9g.metal-24xl"]["ProcessorInfo"]["SupportedArchitectures"] == ["arm64"]


def test_offerings_have_every_type(client: EC2Client) -> None:
    def locations(kind: Any, **filters: str) -> set[str]:
        wanted: Any = [{"Name": "instance-type", "Values": ["i3.metal"]}]
        wanted += [{"Name": name, "Values": [value]} for name, value in filters.items()]
        found = client.describe_instance_type_offerings(LocationType=kind, Filters=wanted)["InstanceTypeOfferings"]
        return {one["Location"] for one in found}

    assert locations("region") == {"us-east-1"}
    assert len(locations("availability-zone")) == 6
    assert locations("availability-zone-id", location="use1-az2") == {"use1-az2"}
    assert refusal(client.describe_instance_types, InstanceTypes=["nope"]) == "InvalidInstanceType"


def test_smaller_machines_are_logged_once(launch: Launch, local: LocalEC2) -> None:
    for _ in range(2):
        launch(InstanceType="x1e.32xlarge")
    lines = [line for line in (local.directory / LOG_FILE).read_text().splitlines() if "x1e.32xlarge has" in line]
    assert len(lines) == 1


def test_zone_of_another_subnet_is_refused(client: EC2Client, image_id: str, network: Network) -> None:
    wanted = {**LAUNCH, "ImageId": image_id, "Placement": {"AvailabilityZone": "us-east-1b"}}
    assert refusal(client.run_instances, SubnetId=network.subnet_id, **wanted) == "InvalidParameterValue"
    interface = {"DeviceIndex": 0, "SubnetId": network.subnet_id}
    assert refusal(client.run_instances, NetworkInterfaces=[interface], **wanted) == "InvalidParameterValue"


def test_device_index_of_two_interfaces_is_refused(client: EC2Client, image_id: str, network: Network) -> None:
    interface = {"DeviceIndex": 0, "SubnetId": network.subnet_id}
    wanted = {**LAUNCH, "ImageId": image_id, "NetworkInterfaces": [interface, interface]}
    assert refusal(client.run_instances, **wanted) == "InvalidParameterValue"
    filters: Any = [{"Name": "subnet-id", "Values": [network.subnet_id]}]
    assert client.describe_network_interfaces(Filters=filters)["NetworkInterfaces"] == []


@pytest.mark.parametrize("limit", [0, 65])
def test_hop_limit_out_of_range_is_refused(client: EC2Client, image_id: str, launch: Launch, limit: int) -> None:
    wanted = {**LAUNCH, "ImageId": image_id, "MetadataOptions": {"HttpPutResponseHopLimit": limit}}
    assert refusal(client.run_instances, **wanted) == "InvalidParameterValue"
    change = {"InstanceId": launch(), "HttpPutResponseHopLimit": limit}
    assert refusal(client.modify_instance_metadata_options, **change) == "InvalidParameterValue"


def test_client_token_too_long_is_refused(client: EC2Client, image_id: str) -> None:
    wanted = {**LAUNCH, "ImageId": image_id, "ClientToken": "x" * 65}
    assert refusal(client.run_instances, **wanted) == "InvalidParameterValue"
