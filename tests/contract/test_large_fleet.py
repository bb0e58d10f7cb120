"""A fleet of more instances than are stopped or deleted by one call."""

from __future__ import annotations

import pytest

from pycloudlib.ec2.cloud import EC2


@pytest.mark.parametrize("endpoint", ["simulated"], indirect=True)
def test_more_instances_than_a_call_takes_go_through_their_life_together(ec2: EC2, endpoint, image_id: str) -> None:
    calls: list[str] = []
    ec2.client.meta.events.register("before-call.ec2.*", lambda model, **_: calls.append(model.name))
    fleet = ec2.launch_many(image_id, 101, username=endpoint.username)
    assert calls.count("RunInstances") == 1
    assert set(fleet.execute("echo hi").values()) == {"hi"}
    fleet.shutdown()
    assert {found.id for found in ec2.instances(state="stopped", name=ec2.tag)} == set(fleet.ids)
    assert fleet.delete() == []
    assert calls.count("StopInstances") == calls.count("TerminateInstances") == 2
