"""Images: found, made, copied, tagged and deleted."""

from __future__ import annotations

import pytest

from pycloudlib.cloud import ImageType
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.images.image import Image
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import ImageNotFoundError, InstanceStateError, InvalidArgumentError
from pycloudlib.waiting import wait_until

ENDPOINTS_WITH_TAGS = ["moto", "simulated"]
"""Those that know tags on creation: what else CreateImage makes, nobody could tag afterwards."""


def test_the_daily_image_is_the_newest_one(ec2: EC2) -> None:
    found = ec2.client.describe_images(
        Owners=["903794441882"], Filters=[{"Name": "name", "Values": ["debian-12-amd64-daily-*"]}]
    )["Images"]
    newest = max(found, key=lambda image: image["CreationDate"])
    assert ec2.daily_image("bookworm") == newest["ImageId"]


def test_a_release_goes_by_its_version_number_too(ec2: EC2) -> None:
    assert ec2.daily_image("12") == ec2.daily_image("bookworm")


def test_image_has_its_serial(ec2: EC2, image_id: str) -> None:
    assert ec2.image_serial(image_id)[:8].isdigit()
    assert ec2.image_serial(image_id, image_type=ImageType.GENERIC) == ec2.image_serial(image_id)
    with pytest.raises(ImageNotFoundError, match=f"{image_id} is not of type 'Pro': its name is 'debian-12-"):
        ec2.image_serial(image_id, ImageType.PRO)
    with pytest.raises(InvalidArgumentError, match="image_type is 'pro'"):
        ec2.image_serial(image_id, "pro")


def test_an_image_is_found_by_its_name(ec2: EC2, image_id: str) -> None:
    (image,) = ec2.client.describe_images(ImageIds=[image_id])["Images"]
    assert ec2.get_image_id_from_name(image["Name"]) == image_id


def test_a_name_that_no_image_has_is_not_found(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError, match="no-such-image"):
        ec2.get_image_id_from_name("no-such-image")


def test_when_there_is_no_image_the_filters_are_named(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError, match=r"owners 136693071363; filters name=debian-10-amd64-"):
        # All images of this release are deprecated.
        ec2.released_image("buster")


def test_an_unknown_release_is_refused(ec2: EC2) -> None:
    with pytest.raises(InvalidArgumentError, match="bookworm"):
        ec2.daily_image("bookwurm")


def test_a_snapshot_of_an_instance_is_an_image_with_tags_and_a_name_of_its_own(ec2: EC2, running: EC2Instance) -> None:
    first = ec2.snapshot(running, clean=False, description="as it is", tags={"team": "blue"}, wait=False)
    image = ec2.image(first)
    image.wait(timeout=120)
    assert (image.state, image.description, image.tags["team"]) == ("available", "as it is", "blue")
    assert image.name == image.tags["Name"] != ec2.tag
    assert {"pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(image.tags)
    wait_until(
        lambda: running.state is InstanceState.RUNNING, what="the instance to run again", deadline=Deadline.after(60)
    )
    second = ec2.snapshot(running.id, clean=False, wait=False)
    assert ec2.image(second).name != image.name
    assert ec2.created_images == [first, second]
    assert {first, second} <= {one.id for one in ec2.images(name=f"{ec2.tag}*")}
    wait_until(
        lambda: running.state is InstanceState.RUNNING, what="the instance to run again", deadline=Deadline.after(60)
    )


@pytest.mark.parametrize("endpoint", ENDPOINTS_WITH_TAGS, indirect=True)
def test_the_snapshots_behind_an_image_are_tagged_with_it(ec2: EC2, running: EC2Instance) -> None:
    image = ec2.image(ec2.snapshot(running, clean=False, tags={"team": "blue"}, wait=False))
    image.wait(timeout=120)
    (snapshot_id,) = image.snapshot_ids
    (snapshot,) = ec2.snapshots(snapshot_id=snapshot_id)
    assert snapshot.tags["team"] == "blue"
    assert snapshot.tags["Name"] == image.name


def test_an_instance_that_was_stopped_stays_so(ec2: EC2, running: EC2Instance) -> None:
    running.shutdown()
    with pytest.raises(InstanceStateError, match="it is stopped; start it first, or pass clean=False"):
        ec2.snapshot(running)
    image_id = ec2.snapshot(running, clean=False)
    assert ec2.image(image_id).state == "available"
    assert running.state is InstanceState.STOPPED


def test_no_image_can_be_made_of_a_deleted_instance(ec2: EC2, running: EC2Instance) -> None:
    assert running.delete() == []
    with pytest.raises(InstanceStateError, match=r"cannot create an image of i-\w+: it is terminated"):
        ec2.snapshot(running, clean=False)
    assert ec2.created_images == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "x"}, "3 to 128"),
        ({"description": "x" * 256}, "at most 255"),
        ({"tags": {"pycloudlib:run": "mine"}}, "reserved for this library"),
    ],
)
def test_an_image_that_cannot_be_is_refused_while_the_instance_still_runs(
    ec2: EC2, running: EC2Instance, arguments: dict, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ec2.snapshot(running, **arguments)
    assert running.state is InstanceState.RUNNING
    assert ec2.created_images == []


@pytest.fixture
def own_image(ec2: EC2) -> Image:
    """An image of one's own, which needs no instance."""
    return ec2.image(ec2.register_image(ec2.create_volume(1).snapshot(), f"{ec2.tag} own", tags={"team": "blue"}))


def test_an_image_is_copied_to_another_region_and_clean_deletes_it_there(ec2: EC2, own_image: Image) -> None:
    copy_id = own_image.copy_to_region("eu-west-1", f"{ec2.tag} copy")
    there = ec2.in_region("eu-west-1")
    assert there.image(copy_id).name == f"{ec2.tag} copy"
    assert there.image(copy_id).state == "available"
    assert ec2.created_images == [own_image.id]
    assert ec2.clean() == []
    assert there.images(name=f"{ec2.tag}*") == []
    assert there.snapshots(tag={"Name": f"{ec2.tag} copy"}) == []


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)  # moto's copies have no tags
def test_copied_image_has_user_tags_and_login_user(ec2: EC2, own_image: Image) -> None:
    ec2.client.create_tags(Resources=[own_image.id], Tags=[{"Key": "pycloudlib:username", "Value": "someone"}])
    copy = ec2.in_region("eu-west-1").image(own_image.copy_to_region("eu-west-1", f"{ec2.tag} copy"))
    assert {"team": "blue", "pycloudlib:username": "someone"}.items() <= copy.tags.items()


@pytest.mark.parametrize(
    ("region", "message"), [("us-east-1", "in us-east-1 already"), ("eu-nowhere-9", "unknown region")]
)
def test_a_copy_that_cannot_be_is_refused(ec2: EC2, own_image: Image, region: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        own_image.copy_to_region(region)
    with pytest.raises(InvalidArgumentError, match="3 to 128"):
        own_image.copy_to_region("eu-west-1", "#")
    assert ec2.in_region("eu-west-1").images(name=f"{ec2.tag}*") == []


def test_an_image_is_tagged(ec2: EC2, own_image: Image) -> None:
    own_image.tag({"stage": "tested", "team": "red"})
    assert (own_image.tags["stage"], own_image.tags["team"]) == ("tested", "red")
    assert ec2.image(own_image.id).tags["stage"] == "tested"
    assert [one.id for one in ec2.images(tag={"stage": "tested"}) if one.id == own_image.id] == [own_image.id]
    with pytest.raises(InvalidArgumentError, match="aws:x"):
        own_image.tag({"aws:x": "no"})


def test_a_deleted_image_is_gone_with_every_snapshot_and_deleting_it_again_is_fine(
    ec2: EC2, running: EC2Instance
) -> None:
    running.add_volume(1)
    image_id = ec2.snapshot(running, clean=False, wait=False)
    image = ec2.image(image_id)
    image.wait(timeout=120)
    behind = image.snapshot_ids
    assert behind
    image.delete()
    ec2.delete_image(image_id)
    ec2.image_delete(image_id)
    assert ec2.created_images == []
    assert [one.id for one in ec2.snapshots() if one.id in behind] == []
    with pytest.raises(ImageNotFoundError, match=image_id):
        ec2.image(image_id)


def test_something_that_is_no_image_id_is_not_taken_for_a_deleted_image(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError, match="nonsense"):
        ec2.delete_image("nonsense")


def test_clean_deletes_images_and_their_snapshots(ec2: EC2, running: EC2Instance) -> None:
    ec2.snapshot(running, clean=False, wait=False)
    assert ec2.clean() == []
    assert ec2.created_images == []
    assert ec2.images(name=f"{ec2.tag}*") == []
    assert [one.id for one in ec2.snapshots() if one.tags.get("Name", "").startswith(ec2.tag)] == []


def test_somebody_elses_image_is_left_alone(ec2: EC2, image_id: str) -> None:
    ec2.image(image_id)
    assert ec2.clean() == []
    assert ec2.image(image_id).state == "available"
