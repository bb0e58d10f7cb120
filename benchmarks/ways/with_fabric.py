"""fabric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fabric import Connection, ThreadingGroup
from worker import serve, timed, timed_with_memory

state: dict[str, Any] = {}


def options(private_key: str) -> dict[str, Any]:
    return {"key_filename": private_key, "look_for_keys": False, "allow_agent": False}


def connect(host: str, port: int, username: str, private_key: str) -> dict[str, Any]:
    state["connection"] = Connection(host, user=username, port=port, connect_kwargs=options(private_key))
    state["connection"].open()
    return {}


def execute(command: str) -> dict[str, Any]:
    return {"seconds": timed(lambda: state["connection"].run(command, hide=True, in_stream=False))}


def fleet_execute(command: str, hosts: list[str], port: int, username: str, private_key: str) -> dict[str, Any]:
    group = ThreadingGroup(*hosts, user=username, port=port, connect_kwargs=options(private_key))
    results: dict[Any, Any] = {}
    seconds = timed(lambda: results.update(group.run(command, hide=True, in_stream=False)))
    assert all(result.ok for result in results.values())
    return {"seconds": seconds, "answers": len(results)}


def push(local: str, remote: str) -> dict[str, Any]:
    return timed_with_memory(lambda: state["connection"].put(local, remote))


def pull(remote: str, local: str) -> dict[str, Any]:
    return timed_with_memory(lambda: state["connection"].get(remote, local))


def stdout(remote: str) -> dict[str, Any]:
    sizes: list[int] = []

    def whole() -> None:
        result = state["connection"].run(f"cat {remote}", hide=True, in_stream=False)
        sizes.append(len(result.stdout))

    seconds = timed(whole)
    assert sizes == [Path(remote).stat().st_size]
    return {"seconds": seconds}


if __name__ == "__main__":
    serve(connect=connect, execute=execute, fleet_execute=fleet_execute, push=push, pull=pull, stdout=stdout)
