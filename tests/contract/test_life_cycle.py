"""StopInstances, StartInstances, RebootInstances and TerminateInstances, through EC2Instance."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.poller import InstanceState
from pycloudlib.errors import BootError, InstanceStateError


def test_shutdown_stops_and_start_makes_it_ready_again(instance: EC2Instance) -> None:
    instance.shutdown()
    assert instance.state is InstanceState.STOPPED
    instance.start()
    assert instance.state is InstanceState.RUNNING
    assert instance.execute("echo again") == "again"


def test_shutdown_without_waiting_can_be_waited_for(instance: EC2Instance) -> None:
    instance.shutdown(wait=False)
    instance.wait_for_stop()
    assert instance.state is InstanceState.STOPPED


def test_a_stopped_instance_can_be_stopped_again(instance: EC2Instance) -> None:
    instance.shutdown()
    instance.shutdown()
    assert instance.state is InstanceState.STOPPED


def test_a_stopped_instance_will_not_be_ready(instance: EC2Instance) -> None:
    instance.shutdown()
    with pytest.raises(BootError, match="stopped"):
        instance.wait()


def test_a_stopped_instance_cannot_be_restarted(instance: EC2Instance) -> None:
    instance.shutdown()
    with pytest.raises(InstanceStateError, match="stopped"):
        instance.restart()


def test_a_restarted_instance_still_runs(instance: EC2Instance) -> None:
    instance.restart(wait=False)
    assert instance.state is InstanceState.RUNNING


def test_a_restart_changes_the_boot_id(instance: EC2Instance) -> None:
    before = instance.get_boot_id()
    instance.restart()
    assert instance.get_boot_id() != before


def test_delete_terminates(ec2: EC2, instance: EC2Instance) -> None:
    assert instance.delete() == []
    assert instance.state is InstanceState.TERMINATED
    assert ec2.created_instances == []


def test_a_second_delete_does_nothing(instance: EC2Instance) -> None:
    assert instance.delete() == []
    assert instance.delete() == []


def test_delete_without_waiting_can_be_waited_for(instance: EC2Instance) -> None:
    assert instance.delete(wait=False) == []
    instance.wait_for_delete()
    assert instance.state is InstanceState.TERMINATED


def test_a_stopped_instance_can_be_deleted(instance: EC2Instance) -> None:
    instance.shutdown()
    assert instance.delete() == []


def test_an_instance_that_is_pending_can_be_deleted(ec2: EC2, image_id: str) -> None:
    assert ec2.launch(image_id, wait=False).delete() == []


@pytest.mark.parametrize("action", ["start", "shutdown", "restart", "wait"])
def test_a_deleted_instance_refuses_to_go_on(instance: EC2Instance, action: str) -> None:
    instance.delete()
    with pytest.raises(InstanceStateError, match="deleted"):
        getattr(instance, action)()


@pytest.mark.parametrize("action", ["start", "shutdown", "restart"])
def test_an_instance_terminated_by_somebody_else_refuses_to_go_on(
    instance: EC2Instance, other_ec2: EC2, action: str
) -> None:
    assert other_ec2.get_instance(instance.id).delete() == []
    with pytest.raises(InstanceStateError, match="terminated"):
        getattr(instance, action)()


def test_leaving_the_context_deletes_the_instance(instance: EC2Instance) -> None:
    with instance:
        assert instance.execute("true").ok
    assert instance.state is InstanceState.TERMINATED
