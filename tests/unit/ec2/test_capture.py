"""An image of an instance: in which order things happen, and what is left when one of them fails."""

from __future__ import annotations

from getpass import getuser

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import BootTimeoutError, CloudError, CommandError, CommandTimeoutError, InvalidArgumentError
from support.guest import Guest
from support.moto_server import BOOKWORM_DAILY


@pytest.fixture
def ec2(ec2_with_guest: EC2) -> EC2:
    return ec2_with_guest


@pytest.fixture
def instance(ec2: EC2) -> EC2Instance:
    return ec2.launch(BOOKWORM_DAILY, username=getuser())


@pytest.fixture
def calls(ec2: EC2, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of EC2 and of the guest's clean-up, in order."""
    seen: list[str] = []
    for action in ("StopInstances", "CreateImage", "StartInstances", "DeregisterImage"):
        ec2.client.meta.events.register(f"before-call.ec2.{action}", lambda model, **_: seen.append(model.name))
    monkeypatch.setattr("pycloudlib.instance.guest_clean.clean", lambda _: seen.append("clean"))
    return seen


def test_it_is_cleaned_shut_down_imaged_and_started_again(ec2: EC2, instance: EC2Instance, calls: list[str]) -> None:
    image_id = ec2.snapshot(instance)
    assert calls == ["clean", "StopInstances", "CreateImage", "StartInstances"]
    assert ec2.image(image_id).state == "available"
    assert instance.state is InstanceState.RUNNING
    assert instance.execute("echo hi") == "hi"


def test_who_logged_in_is_known_of_the_image(ec2: EC2, instance: EC2Instance) -> None:
    assert ec2.launch(ec2.snapshot(instance, clean=False)).username == getuser()


def test_without_cleaning_the_guest_is_left_as_it_is(ec2: EC2, instance: EC2Instance, calls: list[str]) -> None:
    ec2.snapshot(instance.id, clean=False)
    assert calls == ["StopInstances", "CreateImage", "StartInstances"]


def test_a_guest_that_cannot_be_cleaned_goes_on_running(
    ec2: EC2, instance: EC2Instance, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run) -> None:
        run("echo no room >&2; exit 3").check()

    monkeypatch.setattr("pycloudlib.instance.guest_clean.clean", fail)
    with pytest.raises(CommandError, match="no room"):
        ec2.snapshot(instance)
    assert calls == []
    assert instance.state is InstanceState.RUNNING


def test_an_instance_that_cannot_be_stopped_goes_on_running(ec2: EC2, instance: EC2Instance, calls: list[str]) -> None:
    def refuse(**_: object) -> None:
        raise CloudError("not you", code="UnauthorizedOperation")

    ec2.client.meta.events.register("before-call.ec2.StopInstances", refuse)
    with pytest.raises(CloudError, match="not you"):
        ec2.snapshot(instance)
    assert calls == ["clean", "StopInstances"]
    assert instance.state is InstanceState.RUNNING


def test_when_there_can_be_no_image_the_instance_is_started_again(
    ec2: EC2, instance: EC2Instance, calls: list[str]
) -> None:
    def refuse(**_: object) -> None:
        raise CloudError("too many images", code="ResourceLimitExceeded")

    ec2.client.meta.events.register("before-call.ec2.CreateImage", refuse)
    with pytest.raises(CloudError, match="too many images"):
        ec2.snapshot(instance)
    assert calls == ["clean", "StopInstances", "CreateImage", "StartInstances"]
    assert ec2.created_images == []


def test_when_it_cannot_be_started_again_the_image_stays_for_clean(
    ec2: EC2, instance: EC2Instance, calls: list[str]
) -> None:
    def refuse(**_: object) -> None:
        raise CloudError("no room for it", code="InsufficientInstanceCapacity")

    ec2.client.meta.events.register("before-call.ec2.StartInstances", refuse)
    with pytest.raises(CloudError, match="no room for it"):
        ec2.snapshot(instance)
    (image_id,) = ec2.created_images
    assert ec2.clean() == []
    assert calls[-1] == "DeregisterImage"
    assert [one.id for one in ec2.images() if one.id == image_id] == []


def test_ctrl_c_while_it_stops_starts_it_again(
    ec2: EC2, instance: EC2Instance, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        ec2.client.stop_instances(InstanceIds=[instance.id])
        raise KeyboardInterrupt

    monkeypatch.setattr(EC2Instance, "_shutdown_by", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ec2.snapshot(instance)
    assert calls == ["clean", "StopInstances", "StartInstances"]


def test_the_timeout_covers_the_cleaning(
    ec2: EC2, instance: EC2Instance, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycloudlib.instance.guest_clean.clean", lambda run: run("sleep 600"))
    with pytest.raises(CommandTimeoutError, match="sleep 600"):
        ec2.snapshot(instance, timeout=1)
    assert calls == []
    assert instance.state is InstanceState.RUNNING


def test_the_timeout_covers_the_next_boot(ec2: EC2, instance: EC2Instance, guest: Guest, calls: list[str]) -> None:
    guest.program("cloud-init", "exec sleep 600")
    with pytest.raises(BootTimeoutError, match=r"waited 3 s for .* to be ready; .*cloud-init"):
        ec2.snapshot(instance, timeout=3)
    assert calls == ["clean", "StopInstances", "CreateImage", "StartInstances"]
    (image_id,) = ec2.created_images
    assert ec2.image(image_id).state == "available"


def test_a_refused_name_leaves_the_instance_alone(ec2: EC2, instance: EC2Instance, calls: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="3 to 128"):
        ec2.snapshot(instance, name="#")
    assert calls == []


def test_a_cleaned_instance_is_expected_to_have_a_first_boot(ec2: EC2, instance: EC2Instance, calls: list[str]) -> None:
    assert instance._boots.expected.keeps_host_keys
    instance.clean()
    assert not instance._boots.expected.keeps_host_keys
