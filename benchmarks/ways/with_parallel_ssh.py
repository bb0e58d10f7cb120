"""parallel-ssh, with its own client (libssh2)."""

from __future__ import annotations

from typing import Any

from pssh.clients import ParallelSSHClient
from worker import serve, timed

AT_ONCE = 100
"""Its default."""


def fleet_execute(command: str, hosts: list[str], port: int, username: str, private_key: str) -> dict[str, Any]:
    results: list[Any] = []

    def whole() -> None:
        client = ParallelSSHClient(hosts, user=username, port=port, pkey=private_key, allow_agent=False)
        client.pool_size = AT_ONCE
        output = client.run_command(command)
        client.join(output)
        results.extend((list(host.stdout), host.exit_code) for host in output)

    seconds = timed(whole)
    assert all(code == 0 for _, code in results)
    return {"seconds": seconds, "answers": len(results)}


if __name__ == "__main__":
    serve(fleet_execute=fleet_execute)
