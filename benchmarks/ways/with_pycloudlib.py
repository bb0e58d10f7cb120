"""The library whose API this one has."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

from worker import Calls, serve, timed, timed_launch, timed_with_memory

from pycloudlib.ec2.cloud import EC2

KEY_NAME = "bench"

state: dict[str, Any] = {}


def connected(cloud: dict[str, Any]) -> EC2:
    os.environ["AWS_ENDPOINT_URL_EC2"] = cloud["endpoint_url"]
    ec2 = EC2(
        "bench",
        config_file=StringIO("[ec2]\n"),
        access_key_id=cloud["access_key_id"],
        secret_access_key=cloud["secret_access_key"],
        region=cloud["region"],
    )
    ec2.use_key(cloud["public_key"], cloud["private_key"], KEY_NAME)
    if KEY_NAME not in ec2.list_keys():
        ec2.upload_key(cloud["public_key"], cloud["private_key"], KEY_NAME)
    return ec2


def one_launched(ec2: EC2, cloud: dict[str, Any]) -> Any:
    instance = ec2.launch(cloud["image_id"], username=cloud["username"])
    instance.port = cloud["ssh_port"]
    return instance


def launch(cloud: dict[str, Any], count: int, cloud_seconds: float) -> dict[str, Any]:
    ec2 = connected(cloud)

    def launch_one(_: int) -> None:
        one_launched(ec2, cloud).wait()

    def launch_all() -> None:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(launch_one, range(count)))

    return timed_launch(launch_all, cloud_seconds)


def clean(cloud: dict[str, Any], count: int) -> dict[str, Any]:
    ec2 = connected(cloud)
    for _ in range(count):
        one_launched(ec2, cloud)
    with Calls() as calls:
        seconds = timed(ec2.clean)
    return {"seconds": seconds, "calls": calls.count}


def snapshot(cloud: dict[str, Any]) -> dict[str, Any]:
    ec2 = connected(cloud)
    instance = one_launched(ec2, cloud)
    instance.wait()
    with Calls() as calls:
        seconds = timed(lambda: ec2.snapshot(instance, clean=False))
    return {"seconds": seconds, "calls": calls.count}


def prepare_fleet(cloud: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    ec2 = connected(cloud)
    state["fleet"] = [ec2.get_instance(instance_id, username=cloud["username"]) for instance_id in ids]
    for instance in state["fleet"]:
        instance.port = cloud["ssh_port"]
    return {}


def fleet_execute(command: str, **_: object) -> dict[str, Any]:
    results: list[Any] = []

    def execute_all() -> None:
        with ThreadPoolExecutor(32) as pool:
            results.extend(pool.map(lambda instance: instance.execute(command), state["fleet"]))

    seconds = timed(execute_all)
    assert all(result.ok for result in results)
    return {"seconds": seconds, "answers": len(results)}


def attach(cloud: dict[str, Any], instance_id: str) -> dict[str, Any]:
    prepare_fleet(cloud, [instance_id])
    state["instance"] = state["fleet"][0]
    state["instance"].execute("true")
    return {}


def execute(command: str) -> dict[str, Any]:
    return {"seconds": timed(lambda: state["instance"].execute(command))}


def push(local: str, remote: str) -> dict[str, Any]:
    return timed_with_memory(lambda: state["instance"].push_file(local, remote))


def pull(remote: str, local: str) -> dict[str, Any]:
    return timed_with_memory(lambda: state["instance"].pull_file(remote, local))


def stdout(remote: str) -> dict[str, Any]:
    sizes: list[int] = []
    seconds = timed(lambda: sizes.append(len(state["instance"].execute(["cat", remote]).stdout)))
    assert sizes == [Path(remote).stat().st_size]
    return {"seconds": seconds}


if __name__ == "__main__":
    serve(
        launch=launch,
        clean=clean,
        snapshot=snapshot,
        prepare_fleet=prepare_fleet,
        fleet_execute=fleet_execute,
        attach=attach,
        execute=execute,
        push=push,
        pull=pull,
        stdout=stdout,
    )
