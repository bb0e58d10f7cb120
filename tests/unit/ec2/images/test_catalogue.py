from __future__ import annotations

import pytest

from pycloudlib.cloud import ImageType
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.images.catalogue import Images
from pycloudlib.ec2.images.description import ImageDescription
from pycloudlib.ec2.images.queries import MARKETPLACE_OWNER, is_of_type, release_query
from pycloudlib.errors import CleanupError, CloudError, IllegalStateError, ImageNotFoundError, InvalidArgumentError
from support.moto_server import BOOKWORM_DAILY, DEBIAN, DEBIAN_DAILY, NOBLE_DAILY, UBUNTU
from support.region_contexts import region_context_at
from support.scripted_ec2 import ScriptedEC2


@pytest.fixture
def scope(moto_url: str) -> RegionContext:
    return region_context_at(moto_url)


@pytest.mark.parametrize(
    ("release", "daily", "image_type", "owner", "name"),
    [
        ("bookworm", False, ImageType.GENERIC, DEBIAN, "debian-12-amd64-*"),
        ("12", True, ImageType.GENERIC, DEBIAN_DAILY, "debian-12-amd64-daily-*"),
        ("jammy", False, ImageType.GENERIC, UBUNTU, "ubuntu/images/hvm-ssd/ubuntu-jammy-*-server-*"),
        ("jammy", True, ImageType.GENERIC, UBUNTU, "ubuntu/images-testing/hvm-ssd/ubuntu-jammy-daily-*-server-*"),
        ("noble", False, ImageType.GENERIC, UBUNTU, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-*-server-*"),
        (
            "24.04",
            True,
            ImageType.MINIMAL,
            UBUNTU,
            "ubuntu-minimal/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-*-minimal-*",
        ),
        ("jammy", False, ImageType.PRO, UBUNTU, "ubuntu-pro-server/images/hvm-ssd/ubuntu-jammy-*"),
        ("focal", True, ImageType.PRO_FIPS, MARKETPLACE_OWNER, "ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-*"),
        (
            "focal",
            False,
            ImageType.PRO_FIPS_UPDATES,
            MARKETPLACE_OWNER,
            "ubuntu-pro-fips-updates-server/images/hvm-ssd/ubuntu-focal-*",
        ),
    ],
)
def test_each_release_has_its_owner_and_name(
    release: str, daily: bool, image_type: ImageType, owner: str, name: str
) -> None:
    query = release_query(release, daily=daily, image_type=image_type)
    assert (query.owners, query.filters["name"]) == ((owner,), name)


@pytest.mark.parametrize(
    ("arch", "ec2s_name", "debians_name"),
    [
        ("x86_64", "x86_64", "amd64"),
        ("amd64", "x86_64", "amd64"),
        ("arm64", "arm64", "arm64"),
        ("aarch64", "arm64", "arm64"),
    ],
)
def test_architectures_go_by_either_name(arch: str, ec2s_name: str, debians_name: str) -> None:
    query = release_query("trixie", daily=False, arch=arch)
    assert query.filters["architecture"] == ec2s_name
    assert query.filters["name"] == f"debian-13-{debians_name}-*"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"release_name": "bookwurm"}, "did you mean 'bookworm'"),
        ({"release_name": "noble", "arch": "mips"}, "unknown architecture 'mips'"),
        ({"release_name": "bookworm", "image_type": ImageType.MINIMAL}, "Debian has no minimal images"),
    ],
)
def test_what_there_is_not_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        release_query(daily=True, **arguments)


def test_the_newest_image_of_the_right_owner_is_found(scope: RegionContext) -> None:
    assert Images(scope).newest(release_query("bookworm", daily=True)).image_id == BOOKWORM_DAILY
    assert Images(scope).newest(release_query("noble", daily=True)).image_id == NOBLE_DAILY


def test_when_nothing_matches_the_filters_are_named(scope: RegionContext) -> None:
    with pytest.raises(ImageNotFoundError, match=r"us-east-1.*owners 099720109477.*name=.*ubuntu-focal"):
        Images(scope).newest(release_query("focal", daily=False))


def test_an_image_is_found_by_its_name_among_known_owners_only(scope: RegionContext) -> None:
    images = Images(scope)
    assert images.named("debian-12-amd64-daily-2025010*").image_id == BOOKWORM_DAILY
    assert images.named("debian-12-arm64-daily-20250105-1004").image_id == "ami-00000000000000014"


def test_image_is_described_once(scope: RegionContext) -> None:
    calls: list[str] = []
    scope.client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    images = Images(scope)
    assert images.get(BOOKWORM_DAILY) is images.get(BOOKWORM_DAILY)
    assert calls == ["DescribeImages"]


def test_an_image_knows_its_root_volume(scope: RegionContext) -> None:
    image = Images(scope).get(BOOKWORM_DAILY)
    assert (image.root_device_name, image.root_size_gb) == ("/dev/xvda", 15)


@pytest.mark.parametrize("image_id", ["ami-0123456789abcdef0", "nonsense"])
def test_an_unknown_image_is_named(scope: RegionContext, image_id: str) -> None:
    with pytest.raises(ImageNotFoundError, match=image_id):
        Images(scope).get(image_id)


@pytest.mark.parametrize(
    ("name", "serial"),
    [
        ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240423", "20240423"),
        ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240423.1", "20240423.1"),
        ("debian-12-amd64-daily-20240423-1726", "20240423-1726"),
        ("ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-x-20240423-1234abcd-12ab", "20240423"),
        ("mine", None),
    ],
)
def test_the_serial_is_in_the_name(name: str, serial: str | None) -> None:
    assert ImageDescription("ami-1", name=name).serial == serial


@pytest.mark.parametrize(
    ("owner_id", "name", "username"),
    [
        (UBUNTU, "whatever", "ubuntu"),
        (DEBIAN, "whatever", "admin"),
        (DEBIAN_DAILY, "whatever", "admin"),
        ("1", "ubuntu-pro-server/x", "ubuntu"),
        ("1", "debian-12-copy", "admin"),
        ("1", "al2023-ami-x", "ec2-user"),
        ("1", "CentOS Stream 9 x86_64 20240923", "ec2-user"),
        ("1", "AlmaLinux OS 9.8.20260526 x86_64", "ec2-user"),
        ("1", "Fedora-Cloud-Base-AmazonEC2.x86_64-43-1.6", "fedora"),
        ("1", "Rocky-9-EC2-Base-9.8-20260525.0.x86_64", "rocky"),
        ("1", "mine", None),
    ],
)
def test_login_user_follows_from_owner_or_name(owner_id: str, name: str, username: str | None) -> None:
    assert ImageDescription("ami-1", name=name, owner_id=owner_id).username == username


IMAGE = (
    "<imagesSet><item><imageId>ami-1</imageId><imageState>{state}</imageState>"
    "<stateReason><message>{reason}</message></stateReason><rootDeviceName>/dev/xvda</rootDeviceName>"
    "<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>snap-1</snapshotId></ebs></item>"
    "</blockDeviceMapping></item></imagesSet>"
)


def image_xml(state: str, reason: str = "") -> str:
    return IMAGE.format(state=state, reason=reason)


def test_pending_image_is_described_again_and_available_one_is_cached(script: ScriptedEC2) -> None:
    script.answer("DescribeImages", image_xml("pending"))
    script.answer("DescribeImages", image_xml("available"))
    images = Images(region_context_at(script.url))
    with pytest.raises(IllegalStateError, match=r"ami-1 is pending.*available first"):
        images.available("ami-1")
    assert images.available("ami-1").state == images.get("ami-1").state == "available"
    assert script.count("DescribeImages") == 2


def test_an_image_that_fails_is_an_error_with_ec2s_reason_and_is_deleted(script: ScriptedEC2) -> None:
    script.answer("CreateImage", "<imageId>ami-1</imageId>")
    script.answer("DescribeImages", image_xml("pending"))
    script.answer("DescribeImages", image_xml("failed", "the disk was lost"))
    script.answer("DescribeSnapshots", "<snapshotSet/>")
    script.answer("DeregisterImage", "<return>true</return>")
    script.answer("DeleteSnapshot", "<return>true</return>")
    scope = region_context_at(script.url)
    images = Images(scope)
    image_id = images.create("i-1", "mine", "", None)
    assert "ami-1" in scope.ledger
    with pytest.raises(IllegalStateError, match=r"ami-1 cannot become available: it is failed .the disk was lost"):
        images.wait_or_delete(image_id, deadline=Deadline.after(60))
    assert script.count("DeregisterImage") == 1
    assert len(scope.ledger) == 0


def test_an_image_that_ec2_does_not_know_yet_is_waited_for(script: ScriptedEC2) -> None:
    script.answer("CreateImage", "<imageId>ami-1</imageId>")
    script.refuse("DescribeImages", "InvalidAMIID.NotFound")
    script.answer("DescribeImages", image_xml("available"))
    images = Images(region_context_at(script.url))
    assert (
        images.wait_until_available(images.create("i-1", "mine", "", None), deadline=Deadline.after(60)).id == "ami-1"
    )


def test_the_snapshots_of_an_unfinished_image_are_found_by_their_descriptions(script: ScriptedEC2) -> None:
    script.answer("DescribeImages", "<imagesSet/>")
    script.answer(
        "DescribeSnapshots",
        "<snapshotSet><item><snapshotId>snap-7</snapshotId><status>pending</status></item></snapshotSet>",
    )
    script.refuse("DeregisterImage", "InvalidAMIID.Unavailable")
    script.answer("DeleteSnapshot", "<return>true</return>")
    Images(region_context_at(script.url)).delete("ami-1")
    (deleted,) = [asked for asked in script.asked if asked["Action"] == "DeleteSnapshot"]
    assert deleted["SnapshotId"] == "snap-7"


def test_a_snapshot_that_another_image_needs_is_left(script: ScriptedEC2) -> None:
    script.answer("DescribeImages", image_xml("available"))
    script.answer("DescribeImages", image_xml("available").replace("ami-1", "ami-2"))
    script.answer("DeregisterImage", "<return>true</return>")
    Images(region_context_at(script.url)).delete("ami-1")
    assert script.count("DeleteSnapshot") == 0


def test_a_snapshot_that_cannot_be_deleted_is_reported_and_the_image_stays_recorded(script: ScriptedEC2) -> None:
    script.answer("CreateImage", "<imageId>ami-1</imageId>")
    script.answer("DescribeImages", image_xml("available"))
    script.answer("DeregisterImage", "<return>true</return>")
    script.refuse("DeleteSnapshot", "UnauthorizedOperation", "not you")
    scope = region_context_at(script.url)
    images = Images(scope)
    images.create("i-1", "mine", "", None)
    with pytest.raises(CleanupError, match="not you"):
        images.delete("ami-1")
    assert "ami-1" in scope.ledger


@pytest.mark.parametrize("name", ["", "ab", "x" * 129, "with#hash", "umläut", None])
def test_invalid_image_name_is_refused_before_any_request(script: ScriptedEC2, name: str) -> None:
    images = Images(region_context_at(script.url))
    with pytest.raises(InvalidArgumentError, match="3 to 128"):
        images.create("i-1", name, "", None)
    assert script.asked == []


def test_too_long_description_is_refused_before_any_request(script: ScriptedEC2) -> None:
    images = Images(region_context_at(script.url))
    with pytest.raises(InvalidArgumentError, match="at most 255"):
        images.register("mine", "x" * 256, None, {})
    assert script.asked == []


def test_an_image_of_that_name_is_an_error_and_nothing_to_be_deleted(script: ScriptedEC2) -> None:
    script.refuse("CreateImage", "InvalidAMIName.Duplicate")
    scope = region_context_at(script.url)
    with pytest.raises(CloudError, match=r"InvalidAMIName\.Duplicate"):
        Images(scope).create("i-1", "mine", "", None)
    assert len(scope.ledger) == 0


@pytest.mark.parametrize("image_type", ImageType)
def test_image_type_follows_from_the_name(image_type: ImageType) -> None:
    name = release_query("noble", daily=False, image_type=image_type).filters["name"]
    assert [other for other in ImageType if is_of_type(name, other)] == [image_type]
    assert not is_of_type("of-my-own", image_type)
