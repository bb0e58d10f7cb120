"""StopInstances, StartInstances, RebootInstances and TerminateInstances, through EC2Instance."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import BootError, InstanceStateError

WITHOUT_MACHINES = pytest.mark.parametrize("endpoint", ["moto", "simulated"], indirect=True)
"""For what takes boots; tests/vm looks into machines that boot again."""


@WITHOUT_MACHINES
def test_shutdown_stops_and_start_makes_it_ready_again(instance: EC2Instance) -> None:
    instance.shutdown()
    assert instance.state is InstanceState.STOPPED
    instance.start()
    assert instance.state is InstanceState.RUNNING
    assert instance.execute("echo again") == "again"


def test_shutdown_without_waiting_can_be_waited_for(running: EC2Instance) -> None:
    running.shutdown(wait=False)
    running.wait_for_stop()
    assert running.state is InstanceState.STOPPED


def test_a_stopped_instance_can_be_stopped_again(running: EC2Instance) -> None:
    running.shutdown()
    running.shutdown()
    assert running.state is InstanceState.STOPPED


def test_a_stopped_instance_will_not_be_ready(running: EC2Instance) -> None:
    running.shutdown()
    with pytest.raises(BootError, match="stopped"):
        running.wait()


def test_a_stopped_instance_cannot_be_restarted(running: EC2Instance) -> None:
    running.shutdown()
    with pytest.raises(InstanceStateError, match="stopped"):
        running.restart()


def test_a_restarted_instance_still_runs(running: EC2Instance) -> None:
    running.restart(wait=False)
    assert running.state is InstanceState.RUNNING


@WITHOUT_MACHINES
def test_a_restart_changes_the_boot_id(instance: EC2Instance) -> None:
    before = instance.get_boot_id()
    instance.restart()
    assert instance.get_boot_id() != before


def test_delete_terminates(ec2: EC2, running: EC2Instance) -> None:
    assert running.delete() == []
    assert running.state is InstanceState.TERMINATED
    assert ec2.created_instances == []


def test_a_second_delete_does_nothing(running: EC2Instance) -> None:
    assert running.delete() == []
    assert running.delete() == []


def test_delete_without_waiting_can_be_waited_for(running: EC2Instance) -> None:
    assert running.delete(wait=False) == []
    running.wait_for_delete()
    assert running.state is InstanceState.TERMINATED


def test_a_stopped_instance_can_be_deleted(running: EC2Instance) -> None:
    running.shutdown()
    assert running.delete() == []


def test_an_instance_that_is_pending_can_be_deleted(ec2: EC2, image_id: str) -> None:
    assert ec2.launch(image_id, wait=False).delete() == []


@pytest.mark.parametrize("action", ["start", "shutdown", "restart", "wait"])
def test_a_deleted_instance_refuses_to_go_on(running: EC2Instance, action: str) -> None:
    running.delete()
    with pytest.raises(InstanceStateError, match="deleted"):
        getattr(running, action)()


@pytest.mark.parametrize("action", ["start", "shutdown", "restart"])
def test_an_instance_terminated_by_somebody_else_refuses_to_go_on(
    running: EC2Instance, other_ec2: EC2, action: str
) -> None:
    assert other_ec2.get_instance(running.id).delete() == []
    with pytest.raises(InstanceStateError, match="terminated"):
        getattr(running, action)()


def test_leaving_the_context_deletes_the_instance(running: EC2Instance) -> None:
    with running:
        assert running.state is InstanceState.RUNNING
    assert running.state is InstanceState.TERMINATED


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)  # moto forgets the protection of a launch
def test_a_protected_instance_is_not_deleted_until_it_is_unprotected(ec2: EC2, image_id: str) -> None:
    instance = ec2.launch(image_id, wait=False, DisableApiTermination=True)
    assert instance.termination_protection
    (error,) = instance.delete()
    assert isinstance(error, InstanceStateError)
    assert f"{instance.id}: it cannot be deleted: it has termination protection" in str(error)
    assert not instance.state.is_ending
    (reported,) = ec2.clean()
    assert instance.id in str(reported)
    assert "termination_protection = False" in str(reported)
    assert ec2.created_instances == [instance]
    instance.termination_protection = False
    assert not instance.termination_protection
    assert ec2.clean() == []
    assert instance.state is InstanceState.TERMINATED


def test_protection_can_be_set_later(running: EC2Instance) -> None:
    assert not running.termination_protection
    running.termination_protection = True
    assert running.termination_protection
    assert len(running.delete()) == 1
    running.termination_protection = False
    assert running.delete() == []


def test_a_deleted_instance_is_not_protected_any_more(running: EC2Instance) -> None:
    running.delete()
    with pytest.raises(InstanceStateError, match="deleted"):
        running.termination_protection = True


@WITHOUT_MACHINES
def test_every_step_can_be_taken_without_waiting_and_waited_for(ec2: EC2, endpoint, image_id: str) -> None:
    instance = ec2.launch(image_id, username=endpoint.username, wait=False)
    instance.wait()
    before = instance.get_boot_id()
    instance.restart(wait=False)
    instance.wait_for_restart(before)
    assert instance.get_boot_id() != before
    instance.shutdown(wait=False)
    instance.wait_for_stop()
    instance.start(wait=False)
    instance.wait()
    assert instance.execute("echo again") == "again"
    instance.delete(wait=False)
    instance.wait_for_delete()
    assert instance.state is InstanceState.TERMINATED
