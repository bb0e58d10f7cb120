"""Images of Ubuntu and Debian in GovCloud, China and other partitions, where their publishers have other accounts."""

from __future__ import annotations

import json
from io import StringIO

import pytest

from pycloudlib import EC2
from pycloudlib.cloud import ImageType
from pycloudlib.ec2.images.description import ImageDescription
from pycloudlib.ec2.images.publishers import owners_in
from pycloudlib.ec2.images.queries import release_query
from pycloudlib.errors import ImageNotFoundError
from support.moto_server import DEBIAN, DEBIAN_DAILY, UBUNTU
from support.scripted_ec2 import ScriptedEC2

GOVCLOUD, CHINA = "513442679011", "837727238323"
AMI = "ami-0123456789abcdef0"


def image_xml(owner: str) -> str:
    facts = f"<imageId>{AMI}</imageId><imageOwnerId>{owner}</imageOwnerId><imageState>available</imageState>"
    return f"<imagesSet><item>{facts}</item></imagesSet>"


def ec2_in(region: str, script: ScriptedEC2) -> EC2:
    keys = "access_key_id = 'a'\nsecret_access_key = 'b'"
    return EC2("test", config_file=StringIO(f"[ec2]\n{keys}\nregion = '{region}'\nendpoint_url = '{script.url}'"))


def owners_asked(script: ScriptedEC2) -> list[str]:
    (question,) = [one for one in script.asked if one["Action"] == "DescribeImages" and "Owner.1" in one]
    return [value for name, value in question.items() if name.startswith("Owner.")]


@pytest.mark.parametrize(
    ("partition", "owner", "expected"),
    [
        ("aws", UBUNTU, (UBUNTU,)),
        ("aws-us-gov", UBUNTU, (GOVCLOUD,)),
        ("aws-cn", UBUNTU, (CHINA,)),
        ("aws-iso", UBUNTU, ()),
        ("aws", DEBIAN, (DEBIAN,)),
        ("aws-cn", DEBIAN, ()),
        ("aws-us-gov", DEBIAN_DAILY, ()),
        ("aws-cn", "self", ("self",)),
        ("aws-us-gov", "aws-marketplace", ("aws-marketplace",)),
    ],
)
def test_each_partition_has_its_owners(partition: str, owner: str, expected: tuple[str, ...]) -> None:
    assert owners_in(partition, [owner], at_aws=True) == expected


@pytest.mark.parametrize(("region", "owner"), [("us-gov-west-1", GOVCLOUD), ("cn-north-1", CHINA)])
def test_query_uses_the_publisher_account_of_the_partition(region: str, owner: str, script: ScriptedEC2) -> None:
    script.answer("DescribeImages", image_xml(owner))
    ec2 = ec2_in(region, script)
    assert ec2.released_image("noble") == AMI
    # Another server than AWS's may have the images of either.
    assert owners_asked(script) == [owner, UBUNTU]


def test_images_of_every_partition_are_found_by_name(script: ScriptedEC2) -> None:
    script.answer("DescribeImages", image_xml(CHINA))
    ec2 = ec2_in("cn-northwest-1", script)
    assert ec2.get_image_id_from_name("ubuntu/images/*") == AMI
    assert CHINA in owners_asked(script)


@pytest.mark.parametrize("owner", [UBUNTU, GOVCLOUD, CHINA])
def test_ubuntus_user_is_known_in_every_partition(owner: str) -> None:
    assert ImageDescription(AMI, owner_id=owner).username == "ubuntu"


@pytest.mark.parametrize(
    ("release", "daily", "image_type", "names"),
    [
        (
            "noble",
            False,
            ImageType.GENERIC,
            ["/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"],
        ),
        (
            "jammy",
            False,
            ImageType.MINIMAL,
            ["/aws/service/canonical/ubuntu/server-minimal/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"],
        ),
        (
            "jammy",
            False,
            ImageType.PRO,
            ["/aws/service/canonical/ubuntu/pro-server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"],
        ),
        ("noble", True, ImageType.GENERIC, []),
        ("jammy", False, ImageType.PRO_FIPS, []),
        (
            "bookworm",
            False,
            ImageType.GENERIC,
            ["/aws/service/debian/release/bookworm/latest/amd64", "/aws/service/debian/release/12/latest/amd64"],
        ),
        (
            "12",
            True,
            ImageType.GENERIC,
            ["/aws/service/debian/daily/bookworm/latest/amd64", "/aws/service/debian/daily/12/latest/amd64"],
        ),
    ],
)
def test_releases_have_their_public_parameters(
    release: str, daily: bool, image_type: ImageType, names: list[str]
) -> None:
    assert release_query(release, daily=daily, image_type=image_type).parameters == names


def test_missing_image_falls_back_to_the_public_parameter(script: ScriptedEC2) -> None:
    name = "/aws/service/debian/release/12/latest/amd64"
    script.answer("DescribeImages", "<imagesSet/>")
    script.answer("DescribeImages", image_xml("111122223333"))
    script.say("AmazonSSM.GetParameters", 200, json.dumps({"Parameters": [{"Name": name, "Value": AMI}]}))
    assert ec2_in("us-gov-west-1", script).released_image("bookworm") == AMI
    (question,) = [one for one in script.asked if one["Action"] == "AmazonSSM.GetParameters"]
    assert name in json.loads(question["body"])["Names"]


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (200, {"Parameters": [], "InvalidParameters": ["x"]}, "SSM has no public parameter /aws/service/debian/"),
        (400, {"__type": "AccessDeniedException", "message": "no"}, "SSM rejected the lookup of /aws/.*AccessDenied"),
    ],
)
def test_error_mentions_the_missing_public_parameter(
    status: int, answer: dict, reason: str, script: ScriptedEC2
) -> None:
    script.answer("DescribeImages", "<imagesSet/>")
    script.say("AmazonSSM.GetParameters", status, json.dumps(answer))
    with pytest.raises(ImageNotFoundError, match=rf"^no image in cn-north-1 matches: owners {DEBIAN}; .*; {reason}"):
        ec2_in("cn-north-1", script).released_image("bookworm")


def test_partition_aws_does_not_query_ssm(script: ScriptedEC2) -> None:
    script.answer("DescribeImages", "<imagesSet/>")
    with pytest.raises(ImageNotFoundError, match=f"owners {UBUNTU}"):
        ec2_in("eu-central-1", script).released_image("noble")
    assert {question["Action"] for question in script.asked} == {"DescribeImages"}
