from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces import slirp
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.waiting import Deadline, wait_until
from support.guest_network import PATIENCE
from support.processes import is_alive
from support.topologies import make_interface, make_topology, make_vpc

A = make_interface(1, "10.0.1.5")
B = make_interface(2, "10.0.1.6")


def test_choose_network_takes_the_first_that_is_free() -> None:
    assert slirp.choose_network(["10.0.0.0/16"], []) == "192.0.2.0/24"


def test_choose_network_avoids_the_vpc_and_the_hosts_routes() -> None:
    assert slirp.choose_network(["192.0.2.0/25"], ["203.0.113.0/26"]) == "198.19.255.0/24"


def test_choose_network_prefers_the_vpcs_needs() -> None:
    others = [candidate for candidate in slirp.CANDIDATES if candidate != "10.255.255.0/24"]
    assert slirp.choose_network(others, ["10.0.0.0/8"]) == "10.255.255.0/24"
    with pytest.raises(LocalEC2Error, match="no network is left"):
        slirp.choose_network(slirp.CANDIDATES, [])


def test_choose_network_ignores_ipv6() -> None:
    assert slirp.choose_network(["2600:1f13::/56"], []) == "192.0.2.0/24"


def test_host_routes_leave_the_default_route_out(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert slirp.host_routes(table) == ["192.168.0.0/24"]
    assert slirp.host_routes(tmp_path / "missing") == []


def test_hidden_networks_overlap_the_vpc() -> None:
    routes = ["10.0.3.0/24", "192.168.0.0/24", "10.0.0.0/8"]
    assert slirp.hidden_networks(["10.0.0.0/16", "2600:1f13::/56"], routes) == ["10.0.3.0/24", "10.0.0.0/8"]


def test_vpc_with_a_network_of_the_host_is_warned_about_once(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slirp, "host_routes", lambda: ["10.0.3.0/24"])
    for topology in (make_topology(make_vpc("vpc-1", A)), make_topology(make_vpc("vpc-1", A, B))):
        fabric.apply(topology)
        os.close(fabric.add_interface("eni-1"))
    (warning,) = [record.getMessage() for record in caplog.records if "10.0.3.0/24" in record.getMessage()]
    assert "vpc-1 has addresses of the host's network 10.0.3.0/24" in warning


def test_a_killed_slirp4netns_is_started_again(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    os.close(fabric.add_interface("eni-1"))
    first = fabric.program_pids("vpc-1")["slirp4netns"]
    assert first is not None
    os.kill(first, signal.SIGKILL)

    def replaced() -> bool:
        pid = fabric.program_pids("vpc-1")["slirp4netns"]
        return pid is not None and pid != first and is_alive(pid)

    wait_until(replaced, what="another slirp4netns", deadline=Deadline.after(PATIENCE))


def test_slirp4netns_ends_with_its_vpc(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    os.close(fabric.add_interface("eni-1"))
    pid = fabric.program_pids("vpc-1")["slirp4netns"]
    assert pid is not None
    fabric.apply(make_topology())
    assert not is_alive(pid)


def test_another_network_is_chosen_when_the_vpc_takes_it(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    os.close(fabric.add_interface("eni-1"))
    first = fabric.program_pids("vpc-1")["slirp4netns"]
    network = slirp.choose_network(["10.0.0.0/16"], slirp.host_routes())
    fabric.apply(make_topology(make_vpc("vpc-1", A, cidrs=["10.0.0.0/16", network])))
    assert fabric.program_pids("vpc-1")["slirp4netns"] != first


def test_guests_reach_the_internet_also_after_a_restart(namespaces_work: None, tmp_path: Path) -> None:
    assert run_lab("internet_lab.py", tmp_path) == ["reached", "reached nearby", "reached again", "loopback is closed"]


@pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="the kernel has no IPv6")
def test_guests_reach_the_internet_over_ipv6_by_gateways(namespaces_work: None, tmp_path: Path) -> None:
    assert run_lab("ipv6_internet_lab.py", tmp_path) == [
        "internet gateway: reached",
        "egress-only gateway: reached",
        "no gateway: cut off",
        "the loopback: cut off",
        "after a restart: reached",
    ]


def run_lab(name: str, directory: Path) -> list[str]:
    """Return what a program of support prints."""
    script = Path(__file__).parents[4] / "support" / name
    command = [sys.executable, str(script), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_slirp4netns_starts_in_a_process_with_many_open_files(fabric: Fabric) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] != resource.RLIM_INFINITY and limit[1] < 2048:
        pytest.skip("the limit of open files is below 2048")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 2048), limit[1]))
    with contextlib.ExitStack() as files:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        for _ in range(1024):
            files.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        fabric.apply(make_topology(make_vpc("vpc-1", A)))
        os.close(fabric.add_interface("eni-1"))
        assert fabric.program_pids("vpc-1")["slirp4netns"] is not None
