"""asyncssh."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh
from worker import serve, timed

AT_ONCE = 64
"""Without a bound, hosts time out while others are logged in to."""

loop = asyncio.new_event_loop()
state: dict[str, Any] = {}


def connect(host: str, port: int, username: str, private_key: str) -> dict[str, Any]:
    options = {"username": username, "client_keys": [private_key], "known_hosts": None, "config": None}
    state["connection"] = loop.run_until_complete(asyncssh.connect(host, port, **options))
    return {}


def execute(command: str) -> dict[str, Any]:
    return {"seconds": timed(lambda: loop.run_until_complete(state["connection"].run(command)))}


def fleet_execute(command: str, hosts: list[str], port: int, username: str, private_key: str) -> dict[str, Any]:
    key = asyncssh.read_private_key(private_key)

    async def one(host: str, room: asyncio.Semaphore) -> Any:
        async with room:
            connection = await asyncssh.connect(
                host, port, username=username, client_keys=[key], known_hosts=None, config=None
            )
            open_connections.append(connection)
            return await connection.run(command, check=True)

    async def all_hosts() -> None:
        room = asyncio.Semaphore(AT_ONCE)
        results.extend(await asyncio.gather(*(one(host, room) for host in hosts)))

    open_connections: list[Any] = []
    results: list[Any] = []
    seconds = timed(lambda: loop.run_until_complete(all_hosts()))
    for connection in open_connections:
        connection.close()
    return {"seconds": seconds, "answers": len(results)}


if __name__ == "__main__":
    serve(connect=connect, execute=execute, fleet_execute=fleet_execute)
