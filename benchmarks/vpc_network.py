"""What the namespaces network of the local EC2 takes: for a VPC, for an interface, and for many of them.

python benchmarks/vpc_network.py [--runs N] [--json FILE] [--strict]

No machine is started: an interface is a tap that nobody reads. The subnets have IPv4 and IPv6.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from report import Figure, Report, Target, parser

from pycloudlib.local.network.namespaces.fabric import Fabric, Ruleset
from pycloudlib.local.network.namespaces.probe import probe
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.topology import GroupRule, Interface, SecurityGroup, Topology, Traffic, Vpc
from support.processes import is_alive
from support.topologies import accept_all, make_interface, make_topology, make_vpc

VPC_SECONDS, INTERFACE_SECONDS = 0.06, 0.01
HELPER_BYTES, VPC_BYTES = 60e6, 10e6
VPCS, TAPS = 50, 200
RULE_SECONDS, MANY = 0.1, 1000
GROWTH = 2.0
"""The last of the taps may take so many times as long as the first ones."""
SUBNET, SUBNET_IPV6 = "10.0.0.0/16", "2600:1f13:0:1::/64"

CREATED, ADDED, CHANGED, REMOVED = "VPC created to usable", "interface added", "interface changed", "interface removed"
HELPER, PROGRAMS = "memory of the helper", "memory of a VPC's programs"
FIRST, LAST = "added, of the first quarter", "added, of the last quarter"
RULE = "rule added"
ALL_OF_ONE = f"one VPC, {MANY} interfaces"
IDLE, ONE_VPC, MANY_VPCS = "one VPC, 2 interfaces", f"one VPC, {TAPS} interfaces", f"{VPCS} VPCs, {TAPS} interfaces"


def topology(vpcs: int, interfaces: int, secondary: Sequence[str] = ()) -> Topology:
    """VPCs with the same addresses, whose interfaces have secondary IPv6 addresses with these suffixes."""
    return make_topology(*(vpc(number, interfaces, secondary) for number in range(vpcs)))


def vpc(number: int, interfaces: int, secondary: Sequence[str]) -> Vpc:
    made = make_vpc(f"vpc-{number}", *(interface(number, one, secondary) for one in range(interfaces)))
    members = GroupRule("sgr-1", Traffic(), group_ids=("sg-1",))
    everything = GroupRule("sgr-2", Traffic(), cidrs=("0.0.0.0/0", "::/0"))
    return replace(made, groups={"sg-1": SecurityGroup("sg-1", (members,), (everything,))})


def interface(vpc_number: int, number: int, secondary: Sequence[str]) -> Interface:
    return make_interface(
        vpc_number * MANY + number,
        f"10.0.{1 + number // 200}.{number % 200 + 10}",
        SUBNET,
        ipv6_addresses=[f"2600:1f13:0:1::{suffix}{number + 10:x}" for suffix in ("", *secondary)],
        ipv6_subnet=SUBNET_IPV6,
    )


@contextmanager
def running_fabric(compose: Ruleset = ruleset) -> Iterator[Fabric]:
    """A fabric whose helper runs."""
    with (
        tempfile.TemporaryDirectory(prefix="vpc-network-") as directory,
        closing(Fabric(Path(directory), compose)) as fabric,
    ):
        fabric.apply(make_topology(make_vpc("vpc-warm-up")))
        fabric.client_socket("vpc-warm-up").close()
        yield fabric


def measure_one_vpc() -> dict[str, float]:
    """A VPC's first interfaces."""
    with running_fabric() as fabric:
        fabric.apply(topology(1, 2))
        first, second = interface_ids(topology(1, 2))
        begin = time.monotonic()
        fds = [fabric.add_interface(first)]
        created = time.monotonic()
        fds.append(fabric.add_interface(second))
        added = time.monotonic()
        pids = [pid for pid in fabric.program_pids("vpc-0").values() if pid is not None]
        assert fabric.helper_pid is not None
        helper, programs = proportional_bytes(fabric.helper_pid), sum(map(proportional_bytes, pids))
        close(fds)
        return {CREATED: created - begin, ADDED: added - created, HELPER: helper, PROGRAMS: programs}


def measure_many(vpcs: int) -> dict[str, float]:
    """Many interfaces: added one by one, all given another address at once, and removed one by one."""
    with running_fabric() as fabric:
        wanted = topology(vpcs, TAPS // vpcs)
        fabric.apply(wanted)
        fds, seconds = [], []
        for interface_id in interface_ids(wanted):
            begin = time.monotonic()
            fds.append(fabric.add_interface(interface_id))
            seconds.append(time.monotonic() - begin)
        begin = time.monotonic()
        fabric.apply(topology(vpcs, TAPS // vpcs, ["1:"]))
        changed = time.monotonic()
        for interface_id in interface_ids(wanted):
            fabric.remove_interface(interface_id)
        removed = time.monotonic()
        assert fabric.helper_pid is not None
        helper = fabric.helper_pid
        pids = [pid for one in wanted.vpcs for pid in fabric.program_pids(one).values() if pid is not None]
        values = {
            FIRST: statistics.median(seconds[: TAPS // 4]),
            LAST: statistics.median(seconds[-TAPS // 4 :]),
            CHANGED: (changed - begin) / TAPS,
            REMOVED: (removed - changed) / TAPS,
            HELPER: proportional_bytes(helper),
        }
        close(fds)
        fabric.apply(Topology())
    left = [pid for pid in (helper, *pids) if is_alive(pid)]
    assert not left, f"processes are left: {left}"
    return values


def measure_change() -> dict[str, float]:
    """A rule added to the group of many interfaces, until it is in effect."""
    composers: list[Ruleset] = [accept_all]

    def compose(vpc: Vpc, topology: Topology, devices: Mapping[str, str]) -> str:
        return composers[-1](vpc, topology, devices)

    with running_fabric(compose) as fabric:
        wanted = topology(1, MANY)
        fabric.apply(wanted)
        # Without rules for now: those of all interfaces are composed again for each.
        fds = [fabric.add_interface(interface_id) for interface_id in interface_ids(wanted)]
        composers.append(ruleset)
        fabric.reapply()
        web = GroupRule("sgr-3", Traffic("tcp", 80, 80), cidrs=("192.0.2.0/24",))
        (one,) = wanted.vpcs.values()
        group = one.groups["sg-1"]
        changed = replace(one, groups={"sg-1": replace(group, ingress=(*group.ingress, web))})
        begin = time.monotonic()
        fabric.apply(make_topology(changed))
        seconds = time.monotonic() - begin
        close(fds)
        return {RULE: seconds}


def interface_ids(wanted: Topology) -> list[str]:
    """The interfaces of all VPCs, one VPC after the other."""
    return [interface_id for one in wanted.vpcs.values() for interface_id in one.interfaces]


def proportional_bytes(pid: int) -> float:
    """A process's memory; what several processes share counts in equal parts (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def main() -> int:
    arguments = parser(__doc__, runs=5).parse_args()
    finding = probe()
    if not finding.works:
        print(f"no namespaces network here: {finding.reason}; {finding.remedy}", file=sys.stderr)
        return 1
    values: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.runs):
        for way, measured in {
            IDLE: measure_one_vpc(),
            ONE_VPC: measure_many(1),
            MANY_VPCS: measure_many(VPCS),
            ALL_OF_ONE: measure_change(),
        }.items():
            for quantity, value in measured.items():
                values.setdefault((way, quantity), []).append(value)
    units = {HELPER: "MB", PROGRAMS: "MB"}
    figures = [
        Figure(way, quantity, units.get(quantity, "ms"), tuple(taken)) for (way, quantity), taken in values.items()
    ]
    of = {(one.way, one.quantity): one.median for one in figures}
    targets = (
        Target(CREATED, of[IDLE, CREATED], VPC_SECONDS, "ms"),
        Target(ADDED, of[IDLE, ADDED], INTERFACE_SECONDS, "ms"),
        Target(HELPER, of[IDLE, HELPER], HELPER_BYTES, "MB"),
        Target(f"{RULE}, {ALL_OF_ONE}", of[ALL_OF_ONE, RULE], RULE_SECONDS, "ms"),
        Target(PROGRAMS, of[IDLE, PROGRAMS], VPC_BYTES, "MB"),
        *(
            Target(
                f"{way}: the last quarter's additions against the first's", of[way, LAST] / of[way, FIRST], GROWTH, "x"
            )
            for way in (ONE_VPC, MANY_VPCS)
        ),
    )
    title = "networks of VPCs, without machines"
    return Report("vpc_network", title, arguments.runs, tuple(figures), targets).finish(arguments)


if __name__ == "__main__":
    sys.exit(main())
