"""Everything ends with the server, also when it is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pycloudlib.waiting import Deadline, wait_until
from support.guest_network import PATIENCE
from support.processes import is_alive

SERVER = """
import json, sys
from pathlib import Path
from support.topologies import accept_all, make_interface, make_topology, make_vpc
from pycloudlib.local.network.namespaces.fabric import Fabric
fabric = Fabric(Path(sys.argv[1]), accept_all)
fabric.apply(make_topology(make_vpc("vpc-1", make_interface(1, "10.0.1.5"))))
tap = fabric.add_interface("eni-1")
print(json.dumps({"helper": fabric.helper_pid, **fabric.program_pids("vpc-1")}), flush=True)
sys.stdin.read()
"""


def test_a_killed_server_leaves_nothing(tmp_path: Path, namespaces_work: None) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[4],
    ) as server:
        assert server.stdout is not None
        pids: dict[str, int] = json.loads(server.stdout.readline())
        assert sorted(pids) == ["dnsmasq", "helper", "slirp4netns"]
        assert all(is_alive(pid) for pid in pids.values())
        server.kill()
    for name, pid in pids.items():
        wait_until(lambda pid=pid: not is_alive(pid), what=f"{name} to end", deadline=Deadline.after(PATIENCE))
