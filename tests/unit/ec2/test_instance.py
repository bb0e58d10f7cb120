from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from getpass import getuser

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import BANNERS_PER_SECOND, BOOT_BANNER_TIMEOUT, EC2Instance
from pycloudlib.ec2.instances.poller import InstanceState
from pycloudlib.errors import (
    BootError,
    CleanupError,
    HostKeyError,
    InstanceError,
    InstanceNotFoundError,
    InstanceStateError,
    InvalidArgumentError,
    KeyPairError,
    PermissionDeniedError,
)
from support.guest import Guest
from support.moto_server import BOOKWORM_DAILY
from support.scripted_ec2 import ScriptedEC2, instances_xml


@pytest.fixture
def instance(ec2: EC2) -> EC2Instance:
    """It runs, and nobody answers in it."""
    return ec2.launch(BOOKWORM_DAILY, wait=False)


@pytest.fixture
def ready(ec2_with_guest: EC2) -> EC2Instance:
    return ec2_with_guest.launch(BOOKWORM_DAILY, username=getuser())


def test_the_more_are_waited_for_the_longer_a_host_may_take_to_speak(instance: EC2Instance) -> None:
    alone = instance._banner_patience(usual=15.0)
    with ExitStack() as watching:
        for number in range(1001):
            watching.enter_context(instance._access.poller.watching(f"i-{number}"))
        among_many = instance._banner_patience(usual=15.0)
    assert alone == BOOT_BANNER_TIMEOUT
    assert among_many == BOOT_BANNER_TIMEOUT + 1000 / BANNERS_PER_SECOND
    assert instance._banner_patience(usual=1.0) == 1.0


def test_attributes_say_what_ec2_says(ec2: EC2, instance: EC2Instance) -> None:
    (record,) = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"]
    assert instance.ip == record["PublicIpAddress"]
    assert instance.private_ip == record["PrivateIpAddress"]
    assert instance.public_dns_name == record["PublicDnsName"]
    assert instance.private_dns_name == record["PrivateDnsName"]
    assert instance.availability_zone == record["Placement"]["AvailabilityZone"]
    assert (instance.image_id, instance.instance_type) == (BOOKWORM_DAILY, "t3.micro")
    assert repr(instance) == f"<EC2Instance {instance.id}>"


def test_refresh_asks_again(ec2: EC2, instance: EC2Instance) -> None:
    ec2.client.create_tags(Resources=[instance.id], Tags=[{"Key": "Name", "Value": "renamed"}])
    assert instance.name != "renamed"
    instance.refresh()
    assert instance.name == "renamed"


def test_state_is_asked_each_time(ec2: EC2, instance: EC2Instance) -> None:
    assert instance.state is InstanceState.RUNNING
    ec2.client.stop_instances(InstanceIds=[instance.id])
    assert instance.state is InstanceState.STOPPED


def test_an_instance_without_any_address_is_an_error_that_says_so(connect, script: ScriptedEC2) -> None:
    found = scripted_instance(connect, script, "running")
    found._status.seen = replace(found._status.seen, public_ip=None, private_ip=None)
    with pytest.raises(InstanceStateError, match="i-1: it has no address"):
        _ = found.ip
    with pytest.raises(InstanceStateError, match="no private address"):
        _ = found.private_ip


def test_the_private_address_stands_in_for_a_public_one(connect, script: ScriptedEC2) -> None:
    found = scripted_instance(connect, script, "running")
    found._status.seen = replace(found._status.seen, public_ip=None, private_ip="10.0.0.1")
    assert found.ip == "10.0.0.1"


def test_shutdown_and_start_change_the_state(instance: EC2Instance) -> None:
    instance.shutdown()
    assert instance.state is InstanceState.STOPPED
    instance.start(wait=False)
    assert instance.state is InstanceState.RUNNING


def test_start_waits_until_commands_can_be_run(ready: EC2Instance) -> None:
    ready.shutdown()
    with pytest.raises(InstanceStateError, match="stopped"):
        ready.execute("true")
    ready.start()
    assert ready.execute("echo back") == "back"


def test_a_start_begins_a_new_timeline(ready: EC2Instance) -> None:
    before = ready.timeline
    ready.shutdown()
    ready.start()
    assert ready.timeline.requested > before.requested
    assert ready.timeline.ready is not None


def test_restart_waits_for_another_boot_id(ready: EC2Instance, ec2_with_guest: EC2, guest: Guest) -> None:
    ec2_with_guest.client.meta.events.register("after-call.ec2.RebootInstances", lambda **_: guest.reboot())
    before = ready.get_boot_id()
    ready.restart()
    assert ready.get_boot_id() != before


def test_restart_without_waiting_asks_the_guest_nothing(instance: EC2Instance) -> None:
    instance.restart(wait=False)
    assert instance.timeline.ready is None


@pytest.mark.parametrize("action", ["restart", "shutdown", "start"])
def test_what_the_state_does_not_allow_is_refused_by_name(ec2: EC2, instance: EC2Instance, action: str) -> None:
    ec2.client.terminate_instances(InstanceIds=[instance.id])
    with pytest.raises(InstanceStateError, match=f"{instance.id}: it cannot be .*: it is terminated"):
        getattr(instance, action)()


def test_a_stopped_instance_is_not_restarted(instance: EC2Instance) -> None:
    instance.shutdown()
    with pytest.raises(InstanceStateError, match="cannot be restarted: it is stopped"):
        instance.restart()


def test_a_refusal_for_the_state_is_an_error_of_the_instance(connect, script: ScriptedEC2) -> None:
    found = scripted_instance(connect, script, "pending")
    script.refuse("StopInstances", "IncorrectInstanceState", "not in a state from which it can be stopped")
    with pytest.raises(InstanceStateError, match="cannot be stopped: EC2 refused StopInstances"):
        found.shutdown()


def test_wait_on_a_stopped_instance_fails_at_once(instance: EC2Instance) -> None:
    instance.shutdown()
    with pytest.raises(BootError, match="it is stopped"):
        instance.wait()


def test_delete_terminates_and_a_second_one_does_nothing(ec2: EC2, instance: EC2Instance) -> None:
    calls: list[str] = []
    assert instance.delete() == []
    ec2.client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    assert instance.delete() == []
    assert calls == []
    assert ec2.created_instances == []
    assert instance.state is InstanceState.TERMINATED


def test_delete_without_waiting_leaves_the_waiting_to_clean(ec2: EC2, instance: EC2Instance) -> None:
    assert instance.delete(wait=False) == []
    assert ec2.created_instances == [instance]
    assert ec2.clean() == []
    assert ec2.created_instances == []


def test_an_instance_terminated_by_somebody_else_is_deleted_without_complaint(ec2: EC2, instance: EC2Instance) -> None:
    ec2.client.terminate_instances(InstanceIds=[instance.id])
    assert instance.delete() == []


def test_a_delete_that_is_refused_is_reported_and_can_be_tried_again(ec2: EC2, instance: EC2Instance) -> None:
    ec2.client.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": True})
    (error,) = instance.delete()
    assert instance.id in str(error)
    assert instance.state is InstanceState.RUNNING
    ec2.client.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})
    assert instance.delete() == []


@pytest.mark.parametrize(
    "operation",
    [
        lambda instance: instance.execute("true"),
        lambda instance: instance.run_script("true"),
        lambda instance: instance.push_file("/dev/null", "x"),
        lambda instance: instance.wait(),
        lambda instance: instance.restart(),
        lambda instance: instance.start(),
        lambda instance: instance.shutdown(),
        lambda instance: instance.ip,
    ],
)
def test_a_deleted_instance_refuses_everything_else(instance: EC2Instance, operation) -> None:
    instance.delete()
    with pytest.raises(InstanceStateError, match=f"{instance.id}: .* it was deleted"):
        operation(instance)


def test_an_instance_not_known_yet_is_terminated_when_it_is(connect, script: ScriptedEC2) -> None:
    script.refuse("TerminateInstances", "InvalidInstanceID.NotFound")
    script.answer("TerminateInstances", "<instancesSet/>")
    found = scripted_instance(connect, script, "terminated", launched=True)
    assert found.delete() == []
    assert script.count("TerminateInstances") == 2


def test_an_instance_that_is_long_gone_is_deleted_without_complaint(connect, script, monkeypatch) -> None:
    monkeypatch.setattr("pycloudlib.ec2.instances.status.GONE_AFTER", 0.0)
    script.refuse("TerminateInstances", "InvalidInstanceID.NotFound")
    found = scripted_instance(connect, script, "running")
    script._answers["DescribeInstances"].clear()
    script.answer("DescribeInstances", instances_xml())
    assert found.delete() == []
    with pytest.raises(InstanceNotFoundError):
        found.refresh()


def test_leaving_the_context_deletes_the_instance(instance: EC2Instance) -> None:
    with instance as entered:
        assert entered is instance
    assert instance.state is InstanceState.TERMINATED


def test_leaving_the_context_raises_when_it_could_not_be_deleted(ec2: EC2, instance: EC2Instance) -> None:
    ec2.client.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": True})
    with pytest.raises(CleanupError, match=instance.id), instance:
        pass
    ec2.client.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})


def test_the_console_log_is_ec2s(instance: EC2Instance) -> None:
    assert instance.console_log().startswith("Linux version")


def test_a_console_log_that_is_not_there_yet_is_an_error_that_says_so(connect, script: ScriptedEC2) -> None:
    script.answer("GetConsoleOutput", "<instanceId>i-1</instanceId>")
    with pytest.raises(InstanceError, match="i-1 has no console log yet"):
        scripted_instance(connect, script, "running").console_log()


def test_waiting_for_a_console_log_bears_what_passes(connect, script: ScriptedEC2) -> None:
    script.refuse("GetConsoleOutput", "InvalidInstanceID.NotFound")
    script.answer("GetConsoleOutput", "<instanceId>i-1</instanceId><output>aGVsbG8=</output>")
    assert scripted_instance(connect, script, "running").console_log(timeout=60) == "hello"


def test_a_console_log_that_may_not_be_read_is_said_at_once(connect, script: ScriptedEC2) -> None:
    script.refuse("GetConsoleOutput", "UnauthorizedOperation")
    with pytest.raises(PermissionDeniedError):
        scripted_instance(connect, script, "running").console_log(timeout=60)


@pytest.mark.parametrize("wrong", [None, 1, "yes"])
def test_protection_is_either_on_or_off(instance: EC2Instance, wrong: object) -> None:
    with pytest.raises(InvalidArgumentError, match="it must be True or False"):
        instance.termination_protection = wrong
    assert not instance.termination_protection


def test_an_instance_not_known_yet_is_protected_when_it_is(connect, script: ScriptedEC2) -> None:
    script.refuse("ModifyInstanceAttribute", "InvalidInstanceID.NotFound")
    script.answer("ModifyInstanceAttribute", "<return>true</return>")
    scripted_instance(connect, script, "running", launched=True).termination_protection = True
    assert script.count("ModifyInstanceAttribute") == 2


def test_a_console_log_can_be_waited_for(connect, script: ScriptedEC2) -> None:
    script.answer("GetConsoleOutput", "<instanceId>i-1</instanceId>")
    script.answer("GetConsoleOutput", "<instanceId>i-1</instanceId><output>aGVsbG8=</output>")
    assert scripted_instance(connect, script, "running").console_log(timeout=60) == "hello"


def test_a_private_key_that_cannot_be_used_is_said_at_once(ready: EC2Instance, tmp_path) -> None:
    path = tmp_path / "no-key"
    path.write_text("nonsense")
    ready.key_pair = replace(ready.key_pair, private_key_path=path)
    with pytest.raises(KeyPairError, match="no-key"):
        ready.execute("true")


def test_another_host_at_the_same_address_is_refused(ready: EC2Instance, guest: Guest) -> None:
    guest.sshd.restart(new_host_keys=True)
    with pytest.raises(HostKeyError):
        ready.execute("true")


def test_nothing_secret_is_logged(ec2_with_guest: EC2, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="pycloudlib"):
        instance = ec2_with_guest.launch(BOOKWORM_DAILY, username=getuser(), user_data="#!/bin/sh\n# hidden-user-data")
        instance.run_script("echo hidden-script")
        instance.execute("cat", stdin="hidden-stdin")
    assert instance.id in caplog.text
    assert "hidden" not in caplog.text
    assert "PRIVATE KEY" not in caplog.text


def scripted_instance(connect, script: ScriptedEC2, state: str, *, launched: bool = False) -> EC2Instance:
    script.answer("DescribeInstances", instances_xml(("i-1", state)))
    ec2 = connect(script.url)
    found = ec2.get_instance("i-1", username="me")
    if launched:
        found = EC2Instance(found._status.seen, ec2._access, username="me", key_pair=None, launched=True)
    return found
