"""IAM instance profiles of instances, and the credentials that come with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from moto.iam.models import iam_backends

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.backend import LocalEC2Backend
from pycloudlib.local.api.credentials import known_keys
from pycloudlib.local.api.models.instance_profiles import InstanceProfileRecords
from pycloudlib.local.api.moto_adapter import EC2ClientError, end_sessions, set_instance_state
from pycloudlib.local.api.signatures import Key
from pycloudlib.local.images.simulated import SimulatedCatalog
from pycloudlib.local.network.metadata import InstanceMetadata, look_up
from support.local_network import Launch
from support.plain_ec2 import refusal
from support.services import TRUST, connect

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@pytest.fixture(scope="module")
def iam(local: LocalEC2) -> Any:
    return connect(local, "iam")


@pytest.fixture
def profile(iam: Any, request: pytest.FixtureRequest) -> dict[str, Any]:
    """An instance profile with a role, named after the test."""
    name = request.node.name.replace("[", "-").replace("]", "")[-64:]
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=POLICY)
    created = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return created


def described(client: EC2Client, instance_id: str) -> dict[str, Any]:
    return client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def associations(client: EC2Client, instance_id: str) -> list[dict[str, Any]]:
    wanted = [{"Name": "instance-id", "Values": [instance_id]}]
    answer = client.describe_iam_instance_profile_associations(Filters=wanted)
    return answer["IamInstanceProfileAssociations"]


@pytest.mark.parametrize("by", ["Name", "Arn"])
def test_run_instances_associates_the_profile_with_every_instance(
    client: EC2Client, image_id: str, profile: dict[str, Any], by: str
) -> None:
    wanted = {by: profile["InstanceProfileName" if by == "Name" else "Arn"]}
    launched = client.run_instances(ImageId=image_id, MinCount=2, MaxCount=2, IamInstanceProfile=wanted)["Instances"]
    expected = {"Arn": profile["Arn"], "Id": profile["InstanceProfileId"]}
    for instance in launched:
        assert instance["IamInstanceProfile"] == expected
        (association,) = associations(client, instance["InstanceId"])
        assert association["IamInstanceProfile"] == expected
        assert association["State"] == "associated"
    filters = [{"Name": "iam-instance-profile.arn", "Values": [profile["Arn"]]}]
    found = client.describe_instances(Filters=filters)["Reservations"][0]["Instances"]
    assert len(found) == len(launched)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"Name": "nobody"}, "InvalidParameterValue"),
        ({"Arn": "arn:aws:iam::123456789012:instance-profile/nobody"}, "InvalidParameterValue"),
        ({"Name": "a", "Arn": "b"}, "InvalidParameterCombination"),
    ],
)
def test_an_unknown_profile_is_refused(
    client: EC2Client, image_id: str, launch: Launch, wanted: dict[str, str], code: str
) -> None:
    launched = launch()
    run = {"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "IamInstanceProfile": wanted}
    assert refusal(client.run_instances, **run) == code
    associate = {"InstanceId": launched, "IamInstanceProfile": wanted}
    assert refusal(client.associate_iam_instance_profile, **associate) == code


def test_profile_without_a_role_is_refused(client: EC2Client, image_id: str, iam: Any, launch: Launch) -> None:
    iam.create_instance_profile(InstanceProfileName="empty")
    wanted: Any = {"IamInstanceProfile": {"Name": "empty"}}
    with pytest.raises(ClientError, match='instance-profile/empty" has no associated IAM Roles'):
        client.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, **wanted)
    code = refusal(client.associate_iam_instance_profile, InstanceId=launch(), **wanted)
    assert code == "InvalidParameterValue"


def test_a_profile_is_associated_replaced_and_disassociated(
    client: EC2Client, iam: Any, launch: Launch, profile: dict[str, Any]
) -> None:
    instance_id = launch()
    wanted = {"Name": profile["InstanceProfileName"]}
    made = client.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile=wanted)
    association = made["IamInstanceProfileAssociation"]
    assert (association["State"], association["InstanceId"]) == ("associating", instance_id)
    again = {"InstanceId": instance_id, "IamInstanceProfile": wanted}
    assert refusal(client.associate_iam_instance_profile, **again) == "IncorrectState"
    other = iam.create_instance_profile(InstanceProfileName="other", Path="/teams/")["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName="other", RoleName=profile["InstanceProfileName"])
    replaced = client.replace_iam_instance_profile_association(
        AssociationId=association["AssociationId"], IamInstanceProfile={"Arn": other["Arn"]}
    )["IamInstanceProfileAssociation"]
    assert described(client, instance_id)["IamInstanceProfile"]["Arn"] == other["Arn"]
    assert [one["AssociationId"] for one in associations(client, instance_id)] == [replaced["AssociationId"]]
    gone = {"AssociationId": association["AssociationId"]}
    assert refusal(client.disassociate_iam_instance_profile, **gone) == "NoSuchAssociation"
    client.disassociate_iam_instance_profile(AssociationId=replaced["AssociationId"])
    assert "IamInstanceProfile" not in described(client, instance_id)
    assert associations(client, instance_id) == []


def test_a_terminated_instance_has_no_association(client: EC2Client, launch: Launch, profile: dict[str, Any]) -> None:
    wanted = {"Name": profile["InstanceProfileName"]}
    instance_id = launch(IamInstanceProfile=wanted)
    client.terminate_instances(InstanceIds=[instance_id])
    client.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1})
    assert associations(client, instance_id) == []
    again = {"InstanceId": instance_id, "IamInstanceProfile": wanted}
    assert refusal(client.associate_iam_instance_profile, **again) == "IncorrectInstanceState"


@pytest.mark.parametrize("action", ["create_user", "list_users", "create_login_profile"])
def test_users_are_refused_by_name(iam: Any, action: str) -> None:
    parameters = {"create_user": {"UserName": "alice"}, "create_login_profile": {"UserName": "a", "Password": "b"}}
    with pytest.raises(ClientError, match=r"does not have the action '\w+' of iam") as caught:
        getattr(iam, action)(**parameters.get(action, {}))
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


# What follows looks at the metadata of a simulated instance, for which no guest can ask.


@pytest.fixture
def instance(records: LocalEC2Backend) -> Any:
    image = next(image for image in SimulatedCatalog().images() if image.architecture == "x86_64")
    return records.run_instances(
        image.image_id, 1, None, [], instance_type="t3.micro", is_instance_type_default=False
    ).instances[0]


@pytest.fixture
def role(records: LocalEC2Backend, instance: Any) -> Iterator[Any]:
    """The role of the instance's profile."""
    iam = iam_backends[records.account_id]["aws"]
    role = iam.create_role("reader", TRUST, "/", None, "", [], 3600)
    iam.create_instance_profile("reader", "/", ["reader"])
    records.associate_profile(instance, records.find_profile("reader", None))
    yield role
    iam.reset()


def answer(metadata: InstanceMetadata, path: str) -> Any:
    body = look_up(metadata, f"/latest/meta-data/iam/{path}")
    return body.decode() if body is not None else None


Metadata = Callable[[], InstanceMetadata]


@pytest.fixture
def metadata(records: LocalEC2Backend, instance: Any) -> Metadata:
    return records.controllers[instance.id].metadata


@pytest.mark.usefixtures("role")
def test_the_metadata_hand_out_credentials_for_the_role(records: LocalEC2Backend, metadata: Metadata) -> None:
    now = metadata()
    assert answer(now, "") == "info\nsecurity-credentials/"
    assert answer(now, "security-credentials/") == "reader"
    info = json.loads(answer(now, "info"))
    profile = records.find_profile("reader", None)
    assert info["InstanceProfileArn"] == profile.arn
    assert (info["Code"], info["InstanceProfileId"]) == ("Success", profile.id)
    told = json.loads(answer(now, "security-credentials/reader"))
    assert (told["Code"], told["Type"]) == ("Success", "AWS-HMAC")
    key = known_keys(Key("LOCAL", "secret"))(told["AccessKeyId"])
    assert key is not None
    assert (key.secret_access_key, key.session_token) == (told["SecretAccessKey"], told["Token"])
    assert f"{key.expires:%Y-%m-%dT%H:%M:%SZ}" == told["Expiration"]
    assert told["SecretAccessKey"] not in repr(now)
    assert answer(metadata(), "security-credentials/reader") == answer(now, "security-credentials/reader")


@pytest.mark.usefixtures("role")
def test_credentials_are_renewed_hours_before_they_expire(records: InstanceProfileRecords, instance: Any) -> None:
    def credentials(at: datetime) -> Any:
        profile = records.profile_metadata(instance, at)
        assert profile is not None
        return profile.credentials

    now = datetime.now(timezone.utc)
    first = credentials(now)
    assert credentials(now + timedelta(minutes=59)) is first
    second = credentials(now + timedelta(minutes=61))
    assert second.access_key_id != first.access_key_id
    assert first.expires > now + timedelta(hours=5)


@pytest.mark.usefixtures("role")
def test_revoked_credentials_are_renewed_at_once(records: InstanceProfileRecords, instance: Any) -> None:
    def credentials() -> Any:
        profile = records.profile_metadata(instance)
        assert profile is not None
        return profile.credentials

    first = credentials()
    (association,) = records.iam_instance_profile_associations.values()
    (role,) = association.iam_instance_profile.roles  # type: ignore[attr-defined]
    end_sessions(records.account_id, "aws", role.arn)
    assert known_keys(Key("LOCAL", "secret"))(first.access_key_id) is None
    assert known_keys(Key("LOCAL", "secret"))(credentials().access_key_id) is not None


@pytest.mark.usefixtures("role")
def test_refused_replacement_leaves_the_association(records: LocalEC2Backend, instance: Any) -> None:
    (association,) = records.iam_instance_profile_associations.values()
    set_instance_state(instance, "shutting-down", None, "")
    with pytest.raises(EC2ClientError, match="is not in the 'running' or 'stopped' states"):
        records.replace_iam_instance_profile_association(association.association_id, "reader")
    assert list(records.iam_instance_profile_associations.values()) == [association]


def test_the_metadata_follow_the_association(records: LocalEC2Backend, metadata: Metadata, role: Any) -> None:
    iam_backends[records.account_id]["aws"].get_instance_profile("reader").roles.clear()
    assert json.loads(answer(metadata(), "info"))["Code"] == "InstanceProfileNotFound"
    assert answer(metadata(), "security-credentials/") is None
    (association,) = records.iam_instance_profile_associations.values()
    records.disassociate_iam_instance_profile(association.association_id)
    assert answer(metadata(), "info") is None
