from __future__ import annotations

import secrets
import signal
import threading
from pathlib import Path

import pytest

from pycloudlib.config import Settings
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import (
    BootTimeoutError,
    CleanupError,
    CloudError,
    CloudInitError,
    CloudSetupError,
    CommandTimeoutError,
    CredentialsError,
    FleetError,
    ImageNotFoundError,
    InstanceNotFoundError,
    InvalidArgumentError,
    InvalidTagNameError,
    KeyPairError,
    UnsetSSHKeyError,
)
from pycloudlib.key import KeyPair
from pycloudlib.waiting import wait_until
from support.guest import CLOUD_INIT_FAILED, Guest
from support.moto_server import BOOKWORM_DAILY, NOBLE_DAILY
from support.scripted_ec2 import ScriptedEC2, instances_xml


def described(ec2: EC2, instance_id: str) -> dict:
    return ec2.client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def test_launch_waits_until_commands_can_be_run(ec2_with_guest: EC2) -> None:
    instance = ec2_with_guest.launch(BOOKWORM_DAILY, username=_me())
    assert instance.execute("echo hi") == "hi"
    timeline = instance.timeline
    assert timeline.running is not None
    assert timeline.reachable is not None
    assert timeline.running <= timeline.reachable <= timeline.logged_in <= timeline.ready


def test_launch_without_waiting_returns_an_instance_that_can_be_waited_for(ec2_with_guest: EC2) -> None:
    instance = ec2_with_guest.launch(BOOKWORM_DAILY, username=_me(), wait=False)
    assert instance.timeline.ready is None
    instance.wait(timeout=60)
    assert instance.timeline.ready is not None


def test_a_launched_instance_carries_the_tags_of_its_owner_from_the_start(ec2: EC2) -> None:
    instance = ec2.launch(BOOKWORM_DAILY, wait=False)
    tags = {tag["Key"]: tag["Value"] for tag in described(ec2, instance.id)["Tags"]}
    assert tags["Name"] == ec2.tag == instance.tags["Name"]
    assert {"pycloudlib:run", "pycloudlib:owner", "pycloudlib:created"} <= set(tags)
    assert instance.tags == tags


def test_tags_of_the_caller_are_added_to_the_librarys_own(ec2: EC2) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "red"}]}]
    instance = ec2.launch(BOOKWORM_DAILY, wait=False, TagSpecifications=tags)
    assert instance.tags["team"] == "red"
    assert instance.tags["Name"] == ec2.tag


def test_root_volume_has_the_requested_size(ec2: EC2) -> None:
    instance = ec2.launch(BOOKWORM_DAILY, wait=False, disk_size_gb=33)
    volume_id = described(ec2, instance.id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert ec2.client.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["Size"] == 33


def test_user_data_reaches_ec2_as_it_was_given(ec2: EC2) -> None:
    from base64 import b64decode

    instance = ec2.launch(BOOKWORM_DAILY, wait=False, user_data="#cloud-config\nö: 1\n")
    answer = ec2.client.describe_instance_attribute(InstanceId=instance.id, Attribute="userData")
    assert b64decode(answer["UserData"]["Value"]).decode() == "#cloud-config\nö: 1\n"


def test_launch_takes_the_spelling_of_run_instances(ec2: EC2) -> None:
    from base64 import b64decode

    instance = ec2.launch(BOOKWORM_DAILY, wait=False, InstanceType="m5.large", UserData="#!/bin/sh\n")
    assert instance.instance_type == "m5.large"
    assert b64decode(attribute(ec2, instance.id, "userData")) == b"#!/bin/sh\n"


def attribute(ec2: EC2, instance_id: str, name: str) -> str:
    answer: dict = ec2.client.describe_instance_attribute(InstanceId=instance_id, Attribute=name)
    return next(value["Value"] for key, value in answer.items() if key.lower() == name.lower())


def test_with_a_ttl_an_instance_ends_itself_and_its_user_data_is_still_there(connect, moto_url: str) -> None:
    from base64 import b64decode
    from email import message_from_bytes

    ec2 = connect(moto_url, settings='ttl = "2h"\n')
    instance = ec2.launch(BOOKWORM_DAILY, wait=False, user_data="#cloud-config\nö: 1\n")
    given = message_from_bytes(b64decode(attribute(ec2, instance.id, "userData")))
    parts = [part.get_payload(decode=True) for part in given.walk() if not part.is_multipart()]
    assert parts[0] == "#cloud-config\nö: 1\n".encode()
    assert [part.startswith(b"#cloud-boothook") for part in parts] == [False, True]
    assert attribute(ec2, instance.id, "instanceInitiatedShutdownBehavior") == "terminate"


def test_with_a_ttl_a_shutdown_that_only_stops_is_the_callers_and_warned_of(
    connect, moto_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ec2 = connect(moto_url, settings="ttl = 7200\n")
    instance = ec2.launch(BOOKWORM_DAILY, wait=False, InstanceInitiatedShutdownBehavior="stop")
    assert attribute(ec2, instance.id, "instanceInitiatedShutdownBehavior") == "stop"
    assert "after its ttl of 7200 s still costs money" in caplog.text


def test_user_data_that_has_no_room_for_the_switch_is_refused(connect, moto_url: str) -> None:
    ec2 = connect(moto_url, settings="ttl = 7200\n")
    random = b"#!/bin/sh\n" + secrets.token_bytes(16000)
    with pytest.raises(InvalidArgumentError, match="the maximum is 16384"):
        ec2.launch(BOOKWORM_DAILY, wait=False, user_data=random)
    assert ec2.created_instances == []


def test_the_login_user_is_the_images_own(ec2: EC2) -> None:
    assert ec2.launch(BOOKWORM_DAILY, wait=False).username == "admin"
    assert ec2.launch(NOBLE_DAILY, wait=False).username == "ubuntu"
    assert ec2.launch(NOBLE_DAILY, wait=False, username="me").username == "me"


def test_a_launch_uploads_the_key_once_and_clean_deletes_it(ec2: EC2) -> None:
    ec2.launch(BOOKWORM_DAILY, wait=False)
    instance = ec2.launch(BOOKWORM_DAILY, wait=False)
    (name,) = ec2.created_keys
    assert described(ec2, instance.id)["KeyName"] == name
    assert name in ec2.list_keys()
    assert ec2.clean() == []
    assert name not in ec2.list_keys()


def test_a_key_name_of_the_caller_is_used_and_nothing_uploaded(ec2: EC2) -> None:
    instance = ec2.launch(BOOKWORM_DAILY, wait=False, KeyName="theirs")
    assert described(ec2, instance.id)["KeyName"] == "theirs"
    assert ec2.created_keys == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"InstanceTyp": "t3.micro"}, "did you mean InstanceType"),
        ({"ImageId": "ami-1"}, "it takes image_id"),
        ({"MaxCount": 2}, "launches one instance"),
        ({"instance_type": "t3.micro", "InstanceType": "t3.micro"}, "instance_type or InstanceType, not both"),
        ({"user_data": "a", "UserData": "a"}, "user_data or UserData, not both"),
        ({"user_data": "x" * 16385}, "16385 bytes"),
        ({"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "aws:x", "Value": ""}]}]}, "aws:x"),
        ({"SubnetId": 7}, "SubnetId"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_created(ec2: EC2, arguments: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ec2.launch(BOOKWORM_DAILY, wait=False, **arguments)
    assert ec2.created_instances == []


def test_user_data_that_is_too_long_is_not_quoted(ec2: EC2) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        ec2.launch(BOOKWORM_DAILY, user_data="secret" * 3000)
    assert "secret" not in str(caught.value)


def test_an_unknown_image_is_named(ec2: EC2) -> None:
    with pytest.raises(ImageNotFoundError, match="ami-0123456789abcdef0"):
        ec2.launch("ami-0123456789abcdef0")


def test_launch_without_an_ssh_key_explains_how_to_create_one(ec2: EC2) -> None:
    ec2._login_key.chosen = None
    with pytest.raises(UnsetSSHKeyError, match="ssh-keygen"):
        ec2.launch(BOOKWORM_DAILY)


def test_without_any_ssh_key_a_key_name_is_enough_for_who_does_not_wait(ec2: EC2) -> None:
    ec2._login_key.chosen = None
    with pytest.raises(UnsetSSHKeyError):
        ec2.launch(BOOKWORM_DAILY, KeyName="theirs")
    assert ec2.created_instances == []
    assert ec2.launch(BOOKWORM_DAILY, KeyName="theirs", wait=False).id.startswith("i-")


def test_a_launch_that_fails_deletes_its_instance_and_gives_it_with_the_error(
    ec2_with_guest: EC2, guest: Guest
) -> None:
    guest.program("cloud-init", 'echo "status: error"; echo "detail:"; echo "disk on fire"; exit 1')
    with pytest.raises(CloudInitError, match="disk on fire") as caught:
        ec2_with_guest.launch(BOOKWORM_DAILY, username=_me())
    assert caught.value.instance.state is InstanceState.TERMINATED


def test_keep_on_failure_keeps_the_instance(ec2_with_guest: EC2, guest: Guest) -> None:
    guest.program("cloud-init", CLOUD_INIT_FAILED)
    with pytest.raises(CloudInitError) as caught:
        ec2_with_guest.launch(BOOKWORM_DAILY, username=_me(), keep_on_failure=True)
    assert caught.value.instance.state is InstanceState.RUNNING
    assert caught.value.instance.execute("echo there") == "there"


def test_launch_timeout_reports_the_awaited_state(ec2_with_guest: EC2, guest: Guest) -> None:
    guest.sshd.stop()
    ec2_with_guest._instances._context = _with_boot_timeout(ec2_with_guest, 5)
    with pytest.raises(BootTimeoutError, match=r"waited 5 s .* sshd to answer.*refused") as caught:
        ec2_with_guest.launch(BOOKWORM_DAILY)
    assert caught.value.instance.state is InstanceState.TERMINATED
    assert "Linux version" in caught.value.console_tail


def test_ctrl_c_while_a_launch_waits_deletes_the_instance(ec2_with_guest: EC2, guest: Guest) -> None:
    _press_ctrl_c_when_booted(guest)
    with pytest.raises(KeyboardInterrupt):
        ec2_with_guest.launch(BOOKWORM_DAILY, username=_me())
    (instance,) = ec2_with_guest.created_instances
    assert described(ec2_with_guest, instance.id)["State"]["Name"] == "terminated"


def test_launching_many_waits_until_commands_can_be_run_in_all(ec2_with_guest: EC2) -> None:
    fleet = ec2_with_guest.launch_many(BOOKWORM_DAILY, 3, username=_me())
    assert set(fleet.execute("echo hi").values()) == {"hi"}


def test_the_timeout_of_a_fleets_command_is_for_all_instances(
    ec2_with_guest: EC2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycloudlib.ec2.fleet.BUSY_AT_ONCE", 1)
    fleet = ec2_with_guest.launch_many(BOOKWORM_DAILY, 3, username=_me())
    with pytest.raises(FleetError, match="3 of 3 instances failed to run the command") as caught:
        fleet.execute("sleep 600", timeout=2)
    errors = list(caught.value.errors.values())
    assert all(isinstance(error, CommandTimeoutError) for error in errors)
    # Those that waited for the first one have no time of their own.
    assert [str(error) for error in errors[1:] if "the command was not started within 2 s" not in str(error)] == []


def test_launching_many_that_fails_deletes_all_and_names_each(ec2_with_guest: EC2, guest: Guest) -> None:
    guest.program("cloud-init", CLOUD_INIT_FAILED)
    with pytest.raises(FleetError, match="3 of 3 instances failed to be ready") as caught:
        ec2_with_guest.launch_many(BOOKWORM_DAILY, 3, username=_me())
    assert list(caught.value.errors) == caught.value.fleet.ids
    assert {instance.state for instance in caught.value.fleet} == {InstanceState.TERMINATED}


def test_launch_many_with_keep_on_failure_keeps_all(ec2_with_guest: EC2, guest: Guest) -> None:
    guest.program("cloud-init", CLOUD_INIT_FAILED)
    with pytest.raises(FleetError) as caught:
        ec2_with_guest.launch_many(BOOKWORM_DAILY, 2, username=_me(), keep_on_failure=True)
    assert {instance.state for instance in caught.value.fleet} == {InstanceState.RUNNING}


def test_ctrl_c_while_many_are_waited_for_deletes_all(ec2_with_guest: EC2, guest: Guest) -> None:
    _press_ctrl_c_when_booted(guest)
    with pytest.raises(KeyboardInterrupt):
        ec2_with_guest.launch_many(BOOKWORM_DAILY, 2, username=_me())
    assert {described(ec2_with_guest, found.id)["State"]["Name"] for found in ec2_with_guest.created_instances} == {
        "terminated"
    }


def test_instances_of_all_pages_are_listed(connect, script: ScriptedEC2) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "running")) + "<nextToken>more</nextToken>")
    script.answer("DescribeInstances", instances_xml(("i-2", "stopped")))
    script.answer("DescribeImages", "<imagesSet/>")
    assert [found.id for found in connect(script.url).instances(tag={"my_key": "x"})] == ["i-1", "i-2"]
    first, second = [question for question in script.asked if question["Action"] == "DescribeInstances"]
    assert (first["Filter.1.Name"], first["Filter.1.Value.1"]) == ("tag:my_key", "x")
    assert second["NextToken"] == "more"
    assert script.count("DescribeImages") == 1


def test_the_filters_of_instances_are_a_mapping(ec2: EC2) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a mapping"):
        ec2.instances("running")


def test_ctrl_c_during_clean_cleans_the_other_regions_too(ec2: EC2, caplog: pytest.LogCaptureFixture) -> None:
    there = ec2.in_region("eu-west-1")
    launched = [ec2.launch(BOOKWORM_DAILY, wait=False), there.launch(there.daily_image("bookworm"), wait=False)]

    def press_ctrl_c(**_: object) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        wait_until(lambda: "interrupted" in caplog.text, what="the interrupt", deadline=Deadline.after(30))

    ec2.client.meta.events.register("before-call.ec2.TerminateInstances", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        ec2.clean()
    assert {instance.state for instance in launched} == {InstanceState.TERMINATED}


def test_get_instance_gives_one_of_another_object_with_the_images_user(ec2: EC2, connect, moto_url: str) -> None:
    launched = ec2.launch(BOOKWORM_DAILY, wait=False)
    found = connect(moto_url).get_instance(launched.id)
    assert (found.id, found.username, found.private_ip) == (launched.id, "admin", launched.private_ip)


def test_get_instance_leaves_the_instance_to_its_owner(ec2: EC2, connect, moto_url: str) -> None:
    launched = ec2.launch(BOOKWORM_DAILY, wait=False)
    other = connect(moto_url)
    other.get_instance(launched.id)
    other.clean()
    assert launched.state is InstanceState.RUNNING


def test_get_instance_works_without_an_ssh_key(ec2: EC2, connect, moto_url: str) -> None:
    launched = ec2.launch(BOOKWORM_DAILY, wait=False)
    other = connect(moto_url)
    other._login_key.chosen = None
    found = other.get_instance(launched.id)
    with pytest.raises(UnsetSSHKeyError):
        found.execute("true")
    assert found.delete() == []


@pytest.mark.parametrize("instance_id", ["i-0123456789abcdef0", "nonsense"])
def test_get_instance_of_an_unknown_id_raises(ec2: EC2, instance_id: str) -> None:
    with pytest.raises(InstanceNotFoundError, match=instance_id):
        ec2.get_instance(instance_id)


def test_clean_deletes_every_instance_with_one_call(ec2: EC2) -> None:
    calls: list[str] = []
    instances = [ec2.launch(BOOKWORM_DAILY, wait=False) for _ in range(5)]
    ec2.client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    assert ec2.clean() == []
    assert calls.count("TerminateInstances") == 1
    assert ec2.created_instances == []
    assert {described(ec2, instance.id)["State"]["Name"] for instance in instances} == {"terminated"}


def test_clean_twice_does_nothing_more(ec2: EC2) -> None:
    ec2.launch(BOOKWORM_DAILY, wait=False)
    assert ec2.clean() == []
    assert ec2.clean() == []


def test_clean_goes_on_when_one_instance_cannot_be_deleted(ec2: EC2) -> None:
    protected, other = (ec2.launch(BOOKWORM_DAILY, wait=False) for _ in range(2))
    ec2.client.modify_instance_attribute(InstanceId=protected.id, DisableApiTermination={"Value": True})
    (error,) = ec2.clean()
    assert protected.id in str(error)
    assert ec2.created_instances == [protected]
    assert described(ec2, other.id)["State"]["Name"] == "terminated"
    ec2.client.modify_instance_attribute(InstanceId=protected.id, DisableApiTermination={"Value": False})
    assert ec2.clean() == []


def test_leaving_the_context_cleans_up(ec2: EC2) -> None:
    with ec2:
        instance = ec2.launch(BOOKWORM_DAILY, wait=False)
    assert described(ec2, instance.id)["State"]["Name"] == "terminated"


def test_leaving_the_context_raises_what_could_not_be_deleted(ec2: EC2) -> None:
    with pytest.raises(CleanupError, match="could not be deleted") as caught, ec2:
        _launch_protected(ec2)
    (protected,) = ec2.created_instances
    by_hand = f"; by hand: aws ec2 terminate-instances --region {ec2.region} --endpoint-url "
    assert by_hand in str(caught.value)
    assert f"--instance-ids {protected.id}" in str(caught.value)
    _unprotect(ec2)


def test_what_may_have_been_made_is_swept_by_hand(ec2: EC2) -> None:
    def refuse() -> None:
        raise CloudError("out of reach", code="ConnectionFault")

    ec2._ledger.record("subnet that may have been made", "mark", refuse, order=1)
    (error,) = ec2.clean()
    assert f"; by hand: pycloudlib sweep --owner any --run {ec2._ownership.run} --yes" in str(error)
    ec2._ledger.forget("mark")


def test_an_error_in_the_body_is_not_hidden_by_a_failed_clean_up(ec2: EC2, caplog: pytest.LogCaptureFixture) -> None:
    _launch_protected(ec2)
    with pytest.raises(ZeroDivisionError), ec2:
        raise ZeroDivisionError
    assert "could not be deleted" in caplog.text
    _unprotect(ec2)


def test_upload_key_uploads_the_key_it_is_given_and_uses_it(ec2: EC2, tmp_path) -> None:
    new = KeyPair.generate(tmp_path)
    ec2.upload_key(new.public_key_path, name="new-key")
    (record,) = ec2.client.describe_key_pairs(KeyNames=["new-key"], IncludePublicKey=True)["KeyPairs"]
    assert record["PublicKey"].split()[:2] == new.public_key_content.split()[:2]
    assert ec2.key_pair.private_key_path == new.private_key_path
    assert described(ec2, ec2.launch(BOOKWORM_DAILY, wait=False).id)["KeyName"] == "new-key"


def test_use_key_with_a_name_uploads_nothing(ec2: EC2, tmp_path) -> None:
    pair = KeyPair.generate(tmp_path)
    ec2.use_key(pair.public_key_path, name="already-there")
    instance = ec2.launch(BOOKWORM_DAILY, wait=False)
    assert described(ec2, instance.id)["KeyName"] == "already-there"
    assert ec2.created_keys == []


def test_use_key_refuses_a_pair_whose_halves_do_not_match(ec2: EC2, tmp_path) -> None:
    one, other = KeyPair.generate(tmp_path, "one"), KeyPair.generate(tmp_path, "other")
    with pytest.raises(KeyPairError):
        ec2.use_key(one.public_key_path, other.private_key_path)


def test_delete_key_forgets_the_name_so_that_the_next_launch_uploads_again(ec2: EC2, tmp_path) -> None:
    pair = KeyPair.generate(tmp_path)
    ec2.upload_key(pair.public_key_path, name="short-lived")
    ec2.delete_key("short-lived")
    assert "short-lived" not in ec2.list_keys()
    ec2.launch(BOOKWORM_DAILY, wait=False)
    assert len(ec2.created_keys) == 1


def test_create_key_pair_uploads_nothing(ec2: EC2) -> None:
    public, private = ec2.create_key_pair()
    assert public.startswith("ssh-ed25519 ")
    assert "PRIVATE KEY" in private
    assert ec2.created_keys == []


def test_parallel_launches_ask_for_image_and_key_once(ec2: EC2) -> None:
    calls: list[str] = []
    ec2.client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    threads = [threading.Thread(target=ec2.launch, args=(BOOKWORM_DAILY,), kwargs={"wait": False}) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ec2.created_instances) == 6
    assert (calls.count("DescribeImages"), calls.count("ImportKeyPair")) == (1, 1)


def test_config_can_be_read_as_suites_do(ec2: EC2) -> None:
    assert ec2.config["ssh_port"] == 22
    assert "secret" not in str(ec2.config)


def test_region_client_and_resource_are_boto3s(ec2: EC2) -> None:
    assert ec2.client.meta.region_name == ec2.region
    assert ec2.launch(BOOKWORM_DAILY, wait=False).id in [found.id for found in ec2.resource.instances.all()]


def test_a_tag_that_cannot_name_resources_is_refused() -> None:
    with pytest.raises(InvalidTagNameError, match="lowercase"):
        EC2("Bad_Tag", region="us-east-1", access_key_id="a", secret_access_key="b")


def test_an_endpoint_that_is_not_there_is_named(connect) -> None:
    ec2 = connect("http://127.0.0.1:9")
    with pytest.raises(CloudSetupError, match=r"cannot reach EC2 at http://127\.0\.0\.1:9"):
        ec2.list_keys()


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    "page", ["<html><body>welcome</body></html>", "<html><body>not closed", "no page at all", ""], ids=str
)
def test_endpoint_that_is_not_ec2_is_reported(page: str, status: int, connect, script: ScriptedEC2) -> None:
    script.say("DescribeKeyPairs", status, page)
    with pytest.raises(CloudError) as caught:
        connect(script.url).list_keys()
    assert "\n" not in str(caught.value)


def _me() -> str:
    from getpass import getuser

    return getuser()


def _press_ctrl_c_when_booted(guest: Guest) -> None:
    """Once, however many instances the guest stands for: a second one could come at any time, even after the test."""
    from os import getpid

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    once = guest.programs.parent / "pressed"
    guest.program("cloud-init", f"mkdir {once} && kill -INT {getpid()}; exec sleep 100")


def _with_boot_timeout(ec2: EC2, seconds: float):
    from dataclasses import replace

    return replace(ec2._instance_context, boot_timeout=seconds)


def _launch_protected(ec2: EC2) -> None:
    instance = ec2.launch(BOOKWORM_DAILY, wait=False)
    ec2.client.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": True})


def _unprotect(ec2: EC2) -> None:
    for instance in ec2.created_instances:
        ec2.client.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})
    assert ec2.clean() == []


def test_an_image_with_its_host_keys_baked_in_is_reported(
    ec2_with_guest: EC2, caplog: pytest.LogCaptureFixture
) -> None:
    one = ec2_with_guest.launch(BOOKWORM_DAILY, username=_me())
    one.wait()
    assert "host key" not in caplog.text
    other = ec2_with_guest.launch(BOOKWORM_DAILY, username=_me())
    said = f"{other.id} and {one.id} have the same host key, ssh-ed25519 SHA256:"
    (record,) = [record for record in caplog.records if said in record.getMessage()]
    assert record.levelname == "WARNING"
    assert BOOKWORM_DAILY in record.getMessage()


@pytest.mark.parametrize("keep", [False, True])
def test_every_launch_error_describes_the_instance(keep: bool, ec2_with_guest: EC2, tmp_path: Path) -> None:
    key_pair = KeyPair.generate(tmp_path)
    ec2_with_guest.key_pair = key_pair
    key_pair.private_key_path.unlink()
    with pytest.raises(KeyPairError) as caught:
        ec2_with_guest.launch(BOOKWORM_DAILY, username=_me(), keep_on_failure=keep)
    error = caught.value
    assert isinstance(error.instance, EC2Instance)
    assert (error.instance_id, error.state) == (error.instance.id, "running")
    assert "Linux version" in error.console_tail
    assert error.instance.state is (InstanceState.RUNNING if keep else InstanceState.TERMINATED)


def test_settings_that_were_read_already_will_do() -> None:
    settings = Settings(region="eu-north-1", access_key_id="a", secret_access_key="b", username="me")
    ec2 = EC2.from_settings(settings, "mine", timestamp_suffix=False)
    assert (ec2.region, ec2.tag, ec2.config["username"]) == ("eu-north-1", "mine", "me")
    with pytest.raises(CredentialsError):
        EC2.from_settings(Settings(region="eu-north-1"))


def test_time_to_live_and_host_keys_can_be_arguments_and_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCLOUDLIB_TTL", "1h")
    monkeypatch.setenv("PYCLOUDLIB_HOST_KEYS", "insecure")
    arguments = {"region": "eu-central-1", "access_key_id": "AKIAtest", "secret_access_key": "secret"}
    ec2 = EC2("test", ttl="90m", host_keys="console", **arguments)
    assert (ec2.config["ttl"], ec2.config["host_keys"]) == (5400, "console")
    with pytest.raises(CloudSetupError, match="argument ttl: found 'soon'"):
        EC2("test", ttl="soon", **arguments)
