"""What launch() waits for, and what a failed cloud-init leads to."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getuser

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.errors import CloudInitError, FleetError, InvalidArgumentError
from support.guest import Guest
from support.moto_server import BOOKWORM_DAILY

FAILED = 'echo "status: error"; echo "detail: no such module"; exit 1'

Connect = Callable[..., EC2]


@pytest.fixture
def failing(guest: Guest) -> Guest:
    guest.program("cloud-init", FAILED)
    return guest


def connected(connect: Connect, url: str, guest: Guest, settings: str = "") -> EC2:
    return connect(url, ssh_port=guest.sshd.port, key=guest.key_pair, settings=f"{settings}\nusername = '{getuser()}'")


def test_wait_on_launch_false_returns_at_once(connect: Connect, moto_url: str, guest: Guest) -> None:
    ec2 = connected(connect, moto_url, guest, "wait_on_launch = false")
    instance = ec2.launch(BOOKWORM_DAILY)
    fleet = ec2.launch_many(BOOKWORM_DAILY, 1)
    assert (instance.timeline.ready, fleet[0].timeline.ready) == (None, None)
    instance.wait()
    assert instance.timeline.ready is not None


def test_wait_argument_beats_the_setting(connect: Connect, moto_url: str, guest: Guest) -> None:
    ec2 = connected(connect, moto_url, guest, "wait_on_launch = false")
    assert ec2.launch(BOOKWORM_DAILY, wait=True).timeline.ready is not None


def test_cloud_init_failure_setting_keeps_the_instance(
    connect: Connect, moto_url: str, failing: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    ec2 = connected(connect, moto_url, failing, 'cloud_init_failure = "warn"')
    instance = ec2.launch(BOOKWORM_DAILY)
    assert instance.execute("echo there") == "there"
    assert f"{instance.id}: cloud-init failed" in caplog.text
    assert "no such module" in caplog.text


def test_cloud_init_failure_argument_of_launch_applies_to_later_boots(
    connect: Connect, moto_url: str, failing: Guest
) -> None:
    ec2 = connected(connect, moto_url, failing)
    instance = ec2.launch(BOOKWORM_DAILY, cloud_init_failure="warn")
    assert instance.cloud_init_failure == "warn"
    instance.wait()
    instance.cloud_init_failure = "raise"
    with pytest.raises(CloudInitError, match="no such module"):
        instance.wait()


def test_cloud_init_failure_argument_of_launch_many(connect: Connect, moto_url: str, failing: Guest) -> None:
    ec2 = connected(connect, moto_url, failing)
    fleet = ec2.launch_many(BOOKWORM_DAILY, 2, cloud_init_failure="warn")
    fleet.wait()
    with pytest.raises(FleetError, match="no such module"):
        fleet.wait(cloud_init_failure="raise")


def restart(instance: EC2Instance, guest: Guest, cloud_init_failure: str | None) -> None:
    # moto's RebootInstances does nothing: the guest reboots itself as soon as it was asked for its boot id.
    old = instance.get_boot_id()
    instance.restart(wait=False)
    guest.reboot()
    instance.wait_for_restart(old, cloud_init_failure=cloud_init_failure)


def start(instance: EC2Instance, guest: Guest, cloud_init_failure: str | None) -> None:
    instance.shutdown()
    instance.start(cloud_init_failure=cloud_init_failure)


def wait(instance: EC2Instance, guest: Guest, cloud_init_failure: str | None) -> None:
    instance.wait(cloud_init_failure=cloud_init_failure)


@pytest.mark.parametrize("call", [wait, start, restart])
def test_cloud_init_failure_argument_beats_the_instance(
    call: Callable[..., None], connect: Connect, moto_url: str, failing: Guest
) -> None:
    instance = connected(connect, moto_url, failing).launch(BOOKWORM_DAILY, wait=False)
    call(instance, failing, "warn")
    with pytest.raises(CloudInitError):
        call(instance, failing, None)


def test_fleet_start_and_restart_take_cloud_init_failure(connect: Connect, moto_url: str, failing: Guest) -> None:
    ec2 = connected(connect, moto_url, failing)
    fleet = ec2.launch_many(BOOKWORM_DAILY, 1, wait=False)
    fleet.shutdown()
    fleet.start(cloud_init_failure="warn")
    # Each look at the boot id sees another boot.
    failing.program("cat", 'read id </proc/sys/kernel/random/uuid; echo "$id"')
    fleet.restart(cloud_init_failure="warn")
    with pytest.raises(FleetError, match="cloud-init failed"):
        fleet.restart()


def test_cloud_init_failure_of_another_value_is_refused_before_anything_is_created(ec2: EC2) -> None:
    with pytest.raises(InvalidArgumentError, match="cloud_init_failure is 'log'; it must be 'raise' or 'warn'"):
        ec2.launch(BOOKWORM_DAILY, cloud_init_failure="log")
    assert ec2.created_instances == ec2.created_keys == []


def test_ready_timeout_counts_minutes(connect: Connect, moto_url: str, guest: Guest) -> None:
    instance = connected(connect, moto_url, guest).launch(BOOKWORM_DAILY, wait=False)
    instance.wait(ready_timeout=1)
    with pytest.raises(InvalidArgumentError, match="not both"):
        instance.wait(10, ready_timeout=1)
