from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from getpass import getuser
from pathlib import Path

import pytest

from pycloudlib.cli.openssh import ssh_words
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances import boots
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import (
    BootError,
    BootTimeoutError,
    CleanupError,
    CommandTimeoutError,
    HostKeyError,
    InstanceError,
    InstanceNotFoundError,
    InstanceStateError,
    InvalidArgumentError,
    KeyPairError,
    PermissionDeniedError,
    PycloudlibTimeoutError,
    SSHError,
)
from pycloudlib.waiting import wait_until
from support.faulty_ec2 import faulty_ec2
from support.guest import Guest
from support.moto_server import BOOKWORM_DAILY
from support.scripted_ec2 import ScriptedEC2, instances_xml
from unit.ec2.conftest import ConnectTo


@pytest.fixture
def instance(ec2: EC2) -> EC2Instance:
    """It runs, and nobody answers in it."""
    return ec2.launch(BOOKWORM_DAILY, wait=False)


@pytest.fixture
def ready(ec2_with_guest: EC2) -> EC2Instance:
    return ec2_with_guest.launch(BOOKWORM_DAILY, username=getuser())


def test_attributes_match_the_description(ec2: EC2, instance: EC2Instance) -> None:
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
    assert instance.tags["Name"] != "renamed"
    instance.refresh()
    assert instance.tags["Name"] == "renamed"


def test_state_is_queried_each_time(ec2: EC2, instance: EC2Instance) -> None:
    assert instance.state is InstanceState.RUNNING
    ec2.client.stop_instances(InstanceIds=[instance.id])
    assert instance.state is InstanceState.STOPPED


def test_instance_without_an_address_raises(connect, script: ScriptedEC2) -> None:
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


IPV6_ONLY = {
    "of the instance": "<ipv6Address>::1</ipv6Address>",
    "of its interfaces": (
        "<networkInterfaceSet><item><attachment><deviceIndex>1</deviceIndex></attachment><ipv6AddressesSet>"
        "<item><ipv6Address>2001:db8::3</ipv6Address></item></ipv6AddressesSet></item>"
        "<item><attachment><deviceIndex>0</deviceIndex></attachment><ipv6AddressesSet>"
        "<item><ipv6Address>2001:db8::2</ipv6Address></item>"
        "<item><ipv6Address>::1</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item></ipv6AddressesSet></item>"
        "</networkInterfaceSet>"
    ),
}


@pytest.fixture
def guest_on_ipv6(tmp_path: Path) -> Iterator[Guest]:
    with Guest(tmp_path / "guest", listen="::1") as guest:
        yield guest


@pytest.mark.parametrize("addresses", IPV6_ONLY.values(), ids=IPV6_ONLY)
def test_an_instance_with_ipv6_only_is_reached_there(
    connect, script: ScriptedEC2, guest_on_ipv6: Guest, addresses: str
) -> None:
    script.answer("DescribeInstances", instances_xml(("i-1", "pending")))
    script.answer("DescribeInstances", instances_xml(("i-1", "running"), addresses=addresses))
    script.answer("GetConsoleOutput", "<output/>")
    ec2 = connect(script.url, ssh_port=guest_on_ipv6.sshd.port, key=guest_on_ipv6.key_pair)
    found = ec2.get_instance("i-1", username=getuser())
    found.wait()
    assert found.ip == "::1"
    assert found.execute("echo hi") == "hi"
    with pytest.raises(InstanceStateError, match="no private address"):
        _ = found.private_ip


def test_openssh_takes_the_command_for_an_instance_with_ipv6_only(
    connect, script: ScriptedEC2, guest_on_ipv6: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script.answer("DescribeInstances", instances_xml(("i-1", "running"), addresses=IPV6_ONLY["of the instance"]))
    ec2 = connect(script.url, ssh_port=guest_on_ipv6.sshd.port, key=guest_on_ipv6.key_pair)
    words = ssh_words(ec2.get_instance("i-1", username=getuser()), command=["echo", "hi"])
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "hi\n"


def test_an_ipv4_address_is_preferred_to_an_ipv6_address(connect, script: ScriptedEC2) -> None:
    both = "<privateIpAddress>10.0.0.1</privateIpAddress><ipv6Address>::1</ipv6Address>"
    script.answer("DescribeInstances", instances_xml(("i-1", "running"), addresses=both))
    assert connect(script.url).get_instance("i-1", username="me").ip == "10.0.0.1"


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


def test_start_has_one_deadline(connect: ConnectTo, moto_url: str, guest: Guest) -> None:
    with faulty_ec2(moto_url) as faulty:
        ec2 = connect(faulty.url, ssh_port=guest.sshd.port, key=guest.key_pair, settings="username = 'me'")
        instance = ec2.launch(BOOKWORM_DAILY, wait=False)
        instance.shutdown()
        instance.boot_timeout = 1.0

        def let_time_pass() -> None:
            # Another deadline, made after this, would be that one.
            instance.boot_timeout = 20.0

        faulty.on("StartInstances", before=let_time_pass)
        guest.sshd.stop()
        with pytest.raises(BootTimeoutError, match="waited 1 s for"):
            instance.start()


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


def test_get_boot_id_fails_if_the_guest_does_not_respond(
    ready: EC2Instance, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boots, "GET_BOOT_ID_TIMEOUT", 0.5)
    guest.boot_id_path.unlink()
    os.mkfifo(guest.boot_id_path)  # reading it waits
    with pytest.raises(CommandTimeoutError, match=r"did not end within 0\.5 s: read the boot id"):
        ready.get_boot_id()
    os.close(os.open(guest.boot_id_path, os.O_RDWR))  # ends the reader


def test_restart_reboots_an_instance_that_cannot_be_reached(
    ready: EC2Instance, ec2_with_guest: EC2, guest: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    guest.sshd.stop()

    def reboot(**_: object) -> None:
        guest.reboot()
        guest.sshd.start()

    ec2_with_guest.client.meta.events.register("after-call.ec2.RebootInstances", reboot)
    ready.restart()
    assert ready.execute("echo back") == "back"
    assert f"rebooting {ready.id}, which is unreachable" in caplog.text


def test_restart_waits_for_a_hanging_guest_no_longer_than_for_the_boot(
    ready: EC2Instance, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycloudlib.ec2.instances.boots.BOOT_ID_TIMEOUT", 3600.0)
    guest.program("cat", 'case $1 in */boot_id) exec sleep 3600;; esac\nexec /bin/cat "$@"')
    ready.boot_timeout = 2.0
    with pytest.raises(PycloudlibTimeoutError):
        ready.restart()


def test_restart_of_a_fleet_reboots_instances_that_cannot_be_reached(ec2_with_guest: EC2, guest: Guest) -> None:
    fleet = ec2_with_guest.launch_many(BOOKWORM_DAILY, 2, username=getuser())
    guest.sshd.stop()

    def reboot(**_: object) -> None:
        guest.reboot()
        guest.sshd.start()

    ec2_with_guest.client.meta.events.register("after-call.ec2.RebootInstances", reboot)
    fleet.restart()
    assert list(fleet.execute("echo back").values()) == ["back", "back"]


def test_restart_of_an_instance_that_cannot_be_reached_waits_for_another_boot_id(
    ready: EC2Instance, ec2_with_guest: EC2, guest: Guest
) -> None:
    rebooted = threading.Event()
    looks = guest.programs / "looks"
    guest.program(
        "cat",
        f'[ "${{1#/proc/}}" = "$1" ] || {{ echo >>{looks}; set -- {guest.boot_id_path}; }}\nexec /bin/cat "$@"',
    )
    guest.sshd.stop()

    def has_looked_twice() -> bool:
        return looks.exists() and looks.read_text().count("\n") > 1

    def reboot() -> None:
        # Its sshd answers again before it goes down.
        guest.sshd.start()
        wait_until(has_looked_twice, what="the old boot id to be read", deadline=Deadline.after(60), interval=0.01)
        rebooted.set()
        guest.reboot()

    rebooting = threading.Thread(target=reboot, daemon=True)
    ec2_with_guest.client.meta.events.register("after-call.ec2.RebootInstances", lambda **_: rebooting.start())
    ready.restart()
    assert rebooted.is_set()
    rebooting.join()


def test_wait_after_a_restart_without_waiting_is_for_another_boot(ready: EC2Instance, guest: Guest) -> None:
    before = ready.get_boot_id()
    asked = guest.programs / "asked"
    guest.program(
        "cat", f'echo >>{asked}; [ "${{1#/proc/}}" = "$1" ] || set -- {guest.boot_id_path}\nexec /bin/cat "$@"'
    )
    ready.restart(wait=False)

    def reboot() -> None:
        wait_until(asked.exists, what="the old boot id to be read", deadline=Deadline.after(60), interval=0.01)
        guest.reboot()

    rebooting = threading.Thread(target=reboot)
    rebooting.start()
    ready.wait()
    rebooting.join()
    assert ready.get_boot_id() != before


def test_a_restart_is_only_awaited_with_a_boot_id(ready: EC2Instance) -> None:
    with pytest.raises(InvalidArgumentError, match="old_boot_id is ''"):
        ready.wait_for_restart("")


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
    with pytest.raises(BootError, match="it is stopped") as caught:
        instance.wait()
    assert caught.value.instance is instance


def test_delete_terminates_and_a_second_one_does_nothing(ec2: EC2, instance: EC2Instance) -> None:
    calls: list[str] = []
    assert instance.delete() == []
    ec2.client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    assert instance.delete() == []
    assert calls == []
    assert ec2.created_instances == []
    assert instance.state is InstanceState.TERMINATED


def test_delete_does_not_wait_for_a_login_in_another_thread(connect: ConnectTo, moto_url: str, guest: Guest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        ec2 = connect(moto_url, ssh_port=silent.getsockname()[1], key=guest.key_pair)
        instance = ec2.launch(BOOKWORM_DAILY, username="me", wait=False)
        instance.banner_timeout = 3600
        command = pool.submit(instance.execute, "true")
        with silent.accept()[0]:
            assert instance.delete() == []
            assert isinstance(command.exception(60), SSHError)


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


def test_missing_console_log_raises(connect, script: ScriptedEC2) -> None:
    script.answer("GetConsoleOutput", "<instanceId>i-1</instanceId>")
    with pytest.raises(InstanceError, match="i-1 has no console log yet"):
        scripted_instance(connect, script, "running").console_log(timeout=0)


def test_waiting_for_a_console_log_bears_what_passes(connect, script: ScriptedEC2) -> None:
    script.refuse("GetConsoleOutput", "InvalidInstanceID.NotFound")
    script.answer("GetConsoleOutput", "<instanceId>i-1</instanceId><output>aGVsbG8=</output>")
    assert scripted_instance(connect, script, "running").console_log(timeout=60) == "hello"


def test_forbidden_console_log_raises_immediately(connect, script: ScriptedEC2) -> None:
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
    assert scripted_instance(connect, script, "running").console_log() == "hello"


def test_unusable_private_key_raises_immediately(ready: EC2Instance, tmp_path) -> None:
    path = tmp_path / "no-key"
    path.write_text("nonsense")
    ready.key_pair = replace(ready.key_pair, private_key_path=path)
    with pytest.raises(KeyPairError, match="no-key"):
        ready.execute("true")


def test_another_host_at_the_same_address_is_refused(ready: EC2Instance, guest: Guest) -> None:
    guest.sshd.restart(new_host_keys=True)
    with pytest.raises(HostKeyError):
        ready.execute("true")


def test_waits_end_at_their_deadline_while_ec2_does_not_give_the_console(
    connect: ConnectTo, moto_url: str, guest: Guest
) -> None:
    go_on = threading.Event()
    with faulty_ec2(moto_url) as faulty:
        ec2 = connect(
            faulty.url, ssh_port=guest.sshd.port, key=guest.key_pair, settings="host_keys = 'console'\nusername = 'me'"
        )
        instance = ec2.launch(BOOKWORM_DAILY, wait=False)
        faulty.on("GetConsoleOutput", before=go_on.wait)
        with pytest.raises(BootTimeoutError):
            instance.wait(0.5)
        go_on.set()
        go_on.clear()
        faulty.on("GetConsoleOutput", before=go_on.wait)
        with pytest.raises(CommandTimeoutError, match="the console log of"):
            instance.execute("true", timeout=5)
        go_on.set()


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
        found = EC2Instance(found._status.seen, ec2._instance_context, username="me", key_pair=None, launched=True)
    return found


@pytest.mark.parametrize("given", [{"timeout": "5"}, {"timeout": float("nan")}, {"ready_timeout": "5"}])
def test_wait_refuses_timeouts_that_are_no_numbers(connect, script: ScriptedEC2, given) -> None:
    with pytest.raises(InvalidArgumentError, match=r"it must be a number of (seconds|minutes)"):
        scripted_instance(connect, script, "running").wait(**given)


def test_ready_timeout_must_be_a_number(connect, script: ScriptedEC2) -> None:
    instance = scripted_instance(connect, script, "running")
    with pytest.raises(InvalidArgumentError, match="it must be a number of minutes"):
        instance.ready_timeout = "5"  # type: ignore[assignment]
    assert instance.ready_timeout == 10.0
