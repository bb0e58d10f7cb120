"""paramiko as it is, on a socket with TCP_NODELAY."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import paramiko
from worker import serve, timed, timed_with_memory

READ_SIZE = 64 * 1024

state: dict[str, Any] = {}


def connect(host: str, port: int, username: str, private_key: str) -> dict[str, Any]:
    connected = socket.create_connection((host, port))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(connected)
    transport.connect(username=username, pkey=paramiko.Ed25519Key.from_private_key_file(private_key))
    state["transport"] = transport
    return {}


def output(command: str) -> bytes:
    channel = state["transport"].open_session()
    channel.exec_command(command)
    pieces = []
    while piece := channel.recv(READ_SIZE):
        pieces.append(piece)
    channel.recv_exit_status()
    channel.close()
    return b"".join(pieces)


def execute(command: str) -> dict[str, Any]:
    return {"seconds": timed(lambda: output(command))}


def push(local: str, remote: str) -> dict[str, Any]:
    def whole() -> None:
        with paramiko.SFTPClient.from_transport(state["transport"]) as sftp:
            sftp.put(local, remote)

    return timed_with_memory(whole)


def pull(remote: str, local: str) -> dict[str, Any]:
    def whole() -> None:
        with paramiko.SFTPClient.from_transport(state["transport"]) as sftp:
            sftp.get(remote, local)

    return timed_with_memory(whole)


def stdout(remote: str) -> dict[str, Any]:
    sizes: list[int] = []
    seconds = timed(lambda: sizes.append(len(output(f"cat {remote}"))))
    assert sizes == [Path(remote).stat().st_size]
    return {"seconds": seconds}


if __name__ == "__main__":
    serve(connect=connect, execute=execute, push=push, pull=pull, stdout=stdout)
