"""This library."""

from __future__ import annotations

import time
from io import StringIO
from pathlib import Path
from typing import Any

from worker import Calls, serve, timed, timed_launch, timed_with_memory

from pycloudlib import EC2
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.fleet import Fleet
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.ssh import transfer
from pycloudlib.ssh.command import run
from pycloudlib.ssh.connection import Connection, Target
from pycloudlib.ssh.host_keys import HostKeys
from pycloudlib.waiting import wait_until

SETTINGS = """\
[ec2]
endpoint_url = "{endpoint_url}"
region = "{region}"
access_key_id = "{access_key_id}"
secret_access_key = "{secret_access_key}"
ssh_port = {ssh_port}
public_key_path = "{public_key}"
private_key_path = "{private_key}"
"""

state: dict[str, Any] = {}


def connected(cloud: dict[str, Any]) -> EC2:
    ec2 = EC2("bench", config_file=StringIO(SETTINGS.format(**cloud)))
    _ = ec2.client
    return ec2


def launch(cloud: dict[str, Any], count: int, cloud_seconds: float) -> dict[str, Any]:
    ec2 = connected(cloud)
    return timed_launch(lambda: ec2.launch_many(cloud["image_id"], count, username=cloud["username"]), cloud_seconds)


def launched(cloud: dict[str, Any], count: int) -> tuple[EC2, Fleet]:
    ec2 = connected(cloud)
    fleet = ec2.launch_many(cloud["image_id"], count, username=cloud["username"], wait=False)
    running = {InstanceState.RUNNING}
    wait_until(
        lambda: (
            {one.state for one in ec2.instances(state="running")} == running
            and len(list(ec2.instances(state="running"))) == count
        ),
        what="all to run",
        deadline=Deadline.after(300),
    )
    return ec2, fleet


def clean(cloud: dict[str, Any], count: int) -> dict[str, Any]:
    ec2, _ = launched(cloud, count)
    with Calls() as calls:
        began = time.perf_counter()
        errors = ec2.clean()
        seconds = time.perf_counter() - began
    assert not errors, errors
    return {"seconds": seconds, "calls": calls.count}


def snapshot(cloud: dict[str, Any]) -> dict[str, Any]:
    ec2 = connected(cloud)
    instance = ec2.launch(cloud["image_id"], username=cloud["username"])
    with Calls() as calls:
        seconds = timed(lambda: ec2.snapshot(instance, clean=False))
    return {"seconds": seconds, "calls": calls.count}


def prepare_fleet(cloud: dict[str, Any], count: int) -> dict[str, Any]:
    _, state["fleet"] = launched(cloud, count)
    for instance in state["fleet"]:
        instance.refresh()
    return {"ids": state["fleet"].ids, "hosts": [instance.ip for instance in state["fleet"]]}


def fleet_execute(command: str, **_: object) -> dict[str, Any]:
    results: dict[str, Any] = {}
    seconds = timed(lambda: results.update(state["fleet"].execute(command)))
    assert all(results.values())
    return {"seconds": seconds, "answers": len(results)}


def connect(host: str, port: int, username: str, private_key: str) -> dict[str, Any]:
    state["connection"] = Connection(Target(host, username, Path(private_key), port=port), HostKeys())
    state["connection"].open()
    return {}


def execute(command: str) -> dict[str, Any]:
    return {"seconds": timed(lambda: run(state["connection"], command))}


def push(local: str, remote: str) -> dict[str, Any]:
    return timed_with_memory(lambda: transfer.push(state["connection"], local, remote))


def pull(remote: str, local: str) -> dict[str, Any]:
    return timed_with_memory(lambda: transfer.pull(state["connection"], remote, local))


def stdout(remote: str) -> dict[str, Any]:
    sizes: list[int] = []
    seconds = timed(lambda: sizes.append(len(run(state["connection"], ["cat", remote]).raw_stdout)))
    assert sizes == [Path(remote).stat().st_size]
    return {"seconds": seconds}


if __name__ == "__main__":
    serve(
        launch=launch,
        clean=clean,
        snapshot=snapshot,
        prepare_fleet=prepare_fleet,
        fleet_execute=fleet_execute,
        connect=connect,
        execute=execute,
        push=push,
        pull=pull,
        stdout=stdout,
    )
