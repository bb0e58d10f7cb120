"""The machines that a local EC2 runs, as the operating system sees them."""

from __future__ import annotations

from pathlib import Path


def machines_of(server_pid: int) -> list[int]:
    """List the QEMU processes whose parent is a server."""
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _is_machine_of(stat, server_pid)]


def children_of(pid: int) -> list[tuple[int, str]]:
    """List the processes whose parent is a process, with their command lines."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
            command = (stat.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if fields[1] == str(pid):
            found.append((int(stat.parent.name), command))
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process still runs; one that only waits to be reaped does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[0] != "Z"


def _is_machine_of(stat: Path, server_pid: int) -> bool:
    try:
        name, fields = stat.read_text().rsplit(")", 1)
    except OSError:
        return False
    return "qemu-system" in name and fields.split()[1] == str(server_pid)
