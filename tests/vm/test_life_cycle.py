"""The life of a machine: how it ends, from inside and from outside.

A restart is in test_warm_start.py, a reboot from inside in test_guest_faults.py, a stop and a start in test_fleet.py,
and the end of a machine that is terminated when it powers itself off in test_expiry.py.
"""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from pycloudlib import EC2, EC2Instance
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import BootError, SSHConnectionError
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.instance_states import wait_for_state
from support.processes import is_alive, machines_of

pytestmark = pytest.mark.vm

# Boothooks: they run early, and nothing of what comes later is needed.
POWER_OFF = "#cloud-boothook\n#!/bin/sh\nsystemctl --no-block poweroff\n"
PANIC = "#cloud-boothook\n#!/bin/sh\necho c >/proc/sysrq-trigger\n"


def state_reason(ec2: EC2, instance: EC2Instance) -> str:
    described = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    return described.get("StateReason", {}).get("Code", "")


def test_an_instance_that_ends_itself_fails_the_wait_at_once_and_is_stopped(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, user_data=POWER_OFF, wait=False)
    with pytest.raises(BootError, match="stopp") as caught:
        instance.wait()
    assert caught.value.instance_id == instance.id
    assert "Linux version" in instance.console_log()
    assert caught.value.console_tail
    wait_for_state(instance, InstanceState.STOPPED)
    assert state_reason(ec2, instance) == "Client.InstanceInitiatedShutdown"
    assert instance.delete() == []
    assert instance.state is InstanceState.TERMINATED


def test_a_kernel_panic_fails_the_wait_at_once(ec2: EC2, image_id: str) -> None:
    with pytest.raises(BootError, match="panicked") as caught:
        ec2.launch(image_id, user_data=PANIC)
    assert "Kernel panic" in caught.value.console_tail
    assert isinstance(caught.value.instance, EC2Instance)
    assert caught.value.instance.state.is_ending


def test_status_follows_the_guest(ec2: EC2, image_id: str) -> None:
    def status() -> str:
        found = ec2.client.describe_instance_status(InstanceIds=[instance.id])["InstanceStatuses"]
        return found[0]["InstanceStatus"]["Status"] if found else ""

    def wait_for_status(wanted: str) -> None:
        what = f"the status of {instance.id} to be {wanted}"
        wait_until(lambda: status() == wanted, what=what, deadline=Deadline.after(600), last_seen=status)

    instance = ec2.launch(image_id, wait=False)
    wait_for_state(instance, InstanceState.RUNNING)
    assert status() == "initializing"
    instance.wait()
    wait_for_status("ok")
    with suppress(SSHConnectionError):  # the panic may be faster than the command's answer
        instance.execute(["sudo", "systemd-run", "sh", "-c", "echo c >/proc/sysrq-trigger"])
    wait_for_status("impaired")


def test_a_machine_that_dies_makes_its_instance_terminated(ec2: EC2, image_id: str, local: LocalEC2) -> None:
    before = set(machines_of(local.info.pid))
    instance = ec2.launch(image_id, wait=False)
    wait_for_state(instance, InstanceState.RUNNING)
    (machine,) = set(machines_of(local.info.pid)) - before
    os.kill(machine, signal.SIGKILL)
    with pytest.raises(BootError, match="terminated"):
        instance.wait()
    assert state_reason(ec2, instance) == "Server.InternalError"


def test_deleting_ends_the_machine_and_deletes_its_disks(ec2: EC2, image_id: str, local: LocalEC2) -> None:
    before = set(machines_of(local.info.pid))
    instance = ec2.launch(image_id, wait=False)
    wait_for_state(instance, InstanceState.RUNNING)
    directory = local.directory / "machines" / instance.id
    assert directory.is_dir()
    assert instance.delete() == []
    assert set(machines_of(local.info.pid)) == before
    assert not directory.exists()
    assert instance.delete() == []


def test_no_machine_is_larger_than_the_cap(ec2: EC2, image_id: str, local: LocalEC2) -> None:
    before = set(machines_of(local.info.pid))
    instance = ec2.launch(image_id, "m5.xlarge", wait=False)
    wait_for_state(instance, InstanceState.RUNNING)
    (machine,) = set(machines_of(local.info.pid)) - before
    command = Path(f"/proc/{machine}/cmdline").read_text().split("\0")
    assert command[command.index("-m") + 1] == str(local.options.max_memory_mib)
    cpus = 1 if local.info.accelerator == "tcg" else min(4, os.cpu_count() or 1)
    assert command[command.index("-smp") + 1].split(",")[0] == str(cpus)


def test_a_reset_of_the_records_ends_the_machines(image_id: str) -> None:
    with LocalEC2() as server:
        settings = {"region": server.region, "endpoint_url": server.endpoint_url}
        ec2 = EC2("reset", **settings, access_key_id="a", secret_access_key="b")
        ec2.client.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)
        wait_until(lambda: machines_of(server.info.pid), what="a machine to run", deadline=Deadline.after(300))
        urllib.request.urlopen(f"{server.endpoint_url}/moto-api/reset", data=b"").close()
        assert ec2.client.describe_instances()["Reservations"] == []
        wait_until(
            lambda: not machines_of(server.info.pid), what="the machine to be gone", deadline=Deadline.after(300)
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_machine_outlives_its_server(number: signal.Signals, image_id: str) -> None:
    server = LocalEC2()
    info = server.start()
    try:
        with EC2(
            "orphan", region=info.region, endpoint_url=info.endpoint_url, access_key_id="a", secret_access_key="b"
        ) as ec2:
            for _ in range(2):
                ec2.client.run_instances(ImageId=image_id, MinCount=1, MaxCount=1)
            wait_until(
                lambda: len(machines_of(info.pid)) == 2, what="two machines to run", deadline=Deadline.after(300)
            )
            machines = machines_of(info.pid)
            os.kill(info.pid, number)
            wait_until(
                lambda: not any(map(is_alive, [*machines, info.pid])),
                what="everything to be gone",
                deadline=Deadline.after(300),
            )
        wait_until(lambda: not server.directory.exists(), what="the directory to be gone", deadline=Deadline.after(600))
    finally:
        server.stop()
