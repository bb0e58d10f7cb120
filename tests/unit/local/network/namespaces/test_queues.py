"""Queues that hold packets back, on the devices of a fabric."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.local.network.namespaces.shaping import TrafficClass
from pycloudlib.local.network.topology import Topology, Vpc
from pycloudlib.waiting import Deadline, wait_until
from support.guest_network import PATIENCE
from support.inside import run_inside
from support.topologies import accept_all, make_interface, make_topology, make_vpc

from .conftest import Connect

A = make_interface(1, "10.0.1.5")
B = make_interface(2, "10.0.1.6")
SLOW = [TrafficClass(mark=1, number=1, milliseconds=0, kbit_per_second=1000)]

LIST_QUEUES = """
import socket
from pyroute2 import IPRoute
names = dict(socket.if_nameindex())
for queue in IPRoute(groups=0).get_qdiscs():
    if queue.get_attr("TCA_KIND") in ("htb", "tbf"):
        print(names[queue["index"]], queue.get_attr("TCA_KIND"))
"""


def queues(fabric: Fabric) -> list[str]:
    """Return the queues in the VPC, such as "eni1 tbf"."""
    done = run_inside(fabric.entrance("vpc-1"), sys.executable, "-c", LIST_QUEUES)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_queues_follow_the_faults_and_devices(tmp_path: Path, namespaces_work: None, connect: Connect) -> None:
    shaped: dict[str, list[TrafficClass]] = {}

    def shaping(_vpc: Vpc, _topology: Topology, devices: Mapping[str, str]) -> Mapping[str, Sequence[TrafficClass]]:
        wanted = {devices.get(one, one): classes for one, classes in shaped.items()}
        return {device: classes for device, classes in wanted.items() if device in {*devices.values(), "igw"}}

    with contextlib.closing(Fabric(tmp_path, accept_all, shaping=shaping)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
        a, b = connect(fabric, A), connect(fabric, B)
        b.call("serve", port=80)
        assert queues(fabric) == []
        shaped |= {"eni-2": SLOW, "igw": SLOW, "eni-3": SLOW}
        fabric.reapply()
        own = f"{fabric.device('eni-2')} htb", f"{fabric.device('eni-2')} tbf"
        internet = "igw htb", "igw tbf"
        assert queues(fabric) == [*own, *internet]
        assert a.reaches("10.0.1.6", 80)
        slirp = fabric.program_pids("vpc-1")["slirp4netns"]
        assert slirp is not None
        os.kill(slirp, signal.SIGKILL)
        wait_until(
            lambda: fabric.program_pids("vpc-1")["slirp4netns"] != slirp and queues(fabric) == [*own, *internet],
            what="the queue of another slirp4netns",
            deadline=Deadline.after(PATIENCE),
        )
        # The tap ends with its machine, before the network hears of it.
        b.close()
        shaped.clear()
        fabric.reapply()
        assert queues(fabric) == []


COUNT_PACKETS = """
from pyroute2 import IPRoute
for queue in IPRoute(groups=0).get_qdiscs():
    if queue.get_attr("TCA_KIND") == "htb":
        print(queue.get_attr("TCA_STATS2").get_attr("TCA_STATS_BASIC")["packets"])
"""


def test_further_class_leaves_the_queue_as_it_is(tmp_path: Path, namespaces_work: None, connect: Connect) -> None:
    shaped = {"eni-2": SLOW}

    def shaping(_vpc: Vpc, _topology: Topology, devices: Mapping[str, str]) -> Mapping[str, Sequence[TrafficClass]]:
        return {devices[one]: classes for one, classes in shaped.items() if one in devices}

    with contextlib.closing(Fabric(tmp_path, accept_all, shaping=shaping)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
        a, b = connect(fabric, A), connect(fabric, B)
        b.call("serve", port=80)
        assert a.reaches("10.0.1.6", 80)
        shaped["eni-2"] = [*SLOW, replace(SLOW[0], mark=2, number=2)]
        fabric.reapply()
        counted = run_inside(fabric.entrance("vpc-1"), sys.executable, "-c", COUNT_PACKETS)
        assert int(counted.stdout) > 0
        device = fabric.device("eni-2")
        assert queues(fabric) == [f"{device} htb", f"{device} tbf", f"{device} tbf"]


def test_queue_outlives_a_class_that_the_kernel_refuses(tmp_path: Path, namespaces_work: None) -> None:
    shaped = {"igw": SLOW}
    with contextlib.closing(Fabric(tmp_path, accept_all, shaping=lambda *_: shaped)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", A)))
        os.close(fabric.add_interface("eni-1"))
        assert queues(fabric) == ["igw htb", "igw tbf"]
        shaped["igw"] = [*SLOW, replace(SLOW[0], mark=2)]
        with pytest.raises(LocalEC2Error, match="File exists"):
            fabric.reapply()
        shaped["igw"] = SLOW
        fabric.reapply()
        assert queues(fabric) == ["igw htb", "igw tbf"]


def test_queue_that_the_kernel_lacks_is_reported(fabric: Fabric) -> None:
    fabric.apply(make_topology(make_vpc("vpc-1", A)))
    assert fabric.missing_queues(["htb", "tbf"]) == []
    if not fabric.missing_queues(["netem"]):
        pytest.skip("this kernel has netem")
    delayed = {"mark": 1, "number": 1, "milliseconds": 5, "kbit_per_second": 0}
    os.close(fabric.add_interface("eni-1"))
    with pytest.raises(LocalEC2Error, match="No such file or directory"):
        fabric._call("apply_shaping", "vpc-1", device="igw", classes=[delayed])
    assert queues(fabric) == []
