"""keep() lets an instance live on: neither clean() nor a sweep of the run that launched it deletes it."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InstanceStateError, InvalidArgumentError
from pycloudlib.tags import Ownership
from support.leftovers import leftovers


def runs(ec2: EC2, instance: EC2Instance) -> set[str]:
    instance.refresh()
    volumes = ec2.volumes(**{"attachment.instance-id": instance.id})
    return {instance.tags["pycloudlib:run"], *(volume.tags["pycloudlib:run"] for volume in volumes)}


def test_what_is_kept_outlives_the_cleaning_and_a_sweep_and_goes_with_its_own_sweep(
    ec2: EC2, other_ec2: EC2, running: EC2Instance, image_id: str
) -> None:
    before = leftovers(ec2.client)
    other = ec2.launch(image_id, wait=False)
    kept = ec2.keep(running)
    assert runs(ec2, running) == {kept}
    assert ec2.clean() == []
    of_this_run = other_ec2.sweep(run=Ownership.of_this_process().run, owner="any")
    assert running.id not in [one.id for one in of_this_run.found]
    assert other_ec2.get_instance(running.id).state is InstanceState.RUNNING
    assert other_ec2.get_instance(other.id).state is InstanceState.TERMINATED
    report = other_ec2.sweep(run=kept, owner="any", dry_run=False)
    assert report.is_clean
    assert running.id in [one.id for one in report.deleted]
    assert running.id in before
    assert not {running.id, other.id} & set(leftovers(other_ec2.client))


def test_the_vpc_made_for_it_stays_too_but_not_its_other_instances(ec2: EC2, other_ec2: EC2, image_id: str) -> None:
    vpc = ec2.get_or_create_vpc("keep-vpc", ipv4_cidr="10.88.0.0/20")
    kept = ec2.launch(image_id, vpc=vpc, wait=False)
    other = ec2.launch(image_id, vpc=vpc, wait=False)
    run = ec2.keep(kept)
    assert ec2.clean() == []
    assert other_ec2.get_instance(kept.id).state in (InstanceState.PENDING, InstanceState.RUNNING)
    assert other_ec2.get_instance(other.id).state is InstanceState.TERMINATED
    assert other_ec2.sweep(run=run, owner="any", dry_run=False).is_clean
    assert vpc.id not in leftovers(other_ec2.client)


def test_keep_refuses_a_deleted_instance(ec2: EC2, running: EC2Instance) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{running.id!r} is not an instance"):
        ec2.keep(running.id)  # type: ignore[arg-type]
    assert running.delete() == []
    with pytest.raises(InstanceStateError, match=f"{running.id} cannot be kept: it is terminated"):
        ec2.keep(running)


def test_what_is_left_to_a_sweep_is_not_cleaned_but_swept(ec2: EC2, other_ec2: EC2, running: EC2Instance) -> None:
    ec2.leave_to_sweep(running.id)
    assert ec2.clean() == []
    assert other_ec2.get_instance(running.id).state is InstanceState.RUNNING
    # Only looked for: other tests of this process have something of the same run.
    report = other_ec2.sweep(run=running.tags["pycloudlib:run"], owner="any")
    assert running.id in [one.id for one in report.found]
    assert running.delete() == []
