from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pycloudlib.local.network.namespaces import large_rulesets
from pycloudlib.local.network.namespaces.ruleset import ruleset
from support.guest_network import PATIENCE
from support.topologies import make_interface, make_topology, make_vpc

RULESET = """table inet ec2 { }
delete table inet ec2
table inet ec2 {
set public {
type ipv4_addr;
elements = { 10.0.1.5, 10.0.1.6 }
}
chain sg-1.in {
tcp dport 22 accept
}
chain egress {
type filter hook prerouting priority filter;
jump sg-1.in
}
}
"""

# An ordinary user's socket buffers, whoever runs it.
LARGE = """
import os, sys
from dataclasses import replace
from support.topologies import make_interface, make_topology, make_vpc
from pycloudlib.local.network.namespaces import syscalls
from pycloudlib.local.network.namespaces.nftables import Nftables
from pycloudlib.local.network.namespaces.ruleset import ruleset
from pycloudlib.local.network.topology import GroupRule, SecurityGroup, Traffic

def compose(count):
    rules = [GroupRule("sgr-1", Traffic("tcp", port, port), ("10.9.0.0/16",)) for port in range(1, count + 1)]
    vpc = make_vpc("vpc-1", *(make_interface(number, f"10.0.1.{number + 3}") for number in range(1, 201)))
    vpc = replace(vpc, groups={"sg-1": SecurityGroup("sg-1", tuple(rules), ())})
    return ruleset(vpc, make_topology(vpc), {one: f"eni{number}" for number, one in enumerate(vpc.interfaces)})

uid, gid = os.geteuid(), os.getegid()
syscalls.unshare(syscalls.CLONE_NEWUSER)
syscalls.map_root(uid, gid)
syscalls.unshare(syscalls.CLONE_NEWNET)
nftables = Nftables()
for count in (3000, 2, 3000, 2999, 1):
    nftables.apply(compose(count))
    tables = nftables.run("list tables").split("\\n")
    rules = nftables.run("list ruleset").count("ip saddr 10.9.0.0/16 tcp dport")
    print(count, rules, len([table for table in tables if table]))
"""


def test_steps_fill_another_table_and_replace_the_old_one_last() -> None:
    steps = list(large_rulesets.steps(RULESET, "inet ec2_a", ["inet ec2"]))
    assert steps == [
        "table inet ec2_a { }\ndelete table inet ec2_a\ntable inet ec2_a { }\n",
        "table inet ec2_a {\nset public {\ntype ipv4_addr;\n}\nchain sg-1.in {\n}\n}\n",
        "add element inet ec2_a public { 10.0.1.5, 10.0.1.6 }\nadd rule inet ec2_a sg-1.in tcp dport 22 accept\n",
        "table inet ec2_a {\nchain egress {\ntype filter hook prerouting priority filter;\njump sg-1.in\n}\n}\n"
        "table inet ec2 { }\ndelete table inet ec2\n",
    ]


def test_steps_are_short() -> None:
    interfaces = [make_interface(number, f"10.0.{number // 200}.{number % 200 + 4}") for number in range(1000)]
    vpc = make_vpc("vpc-1", *interfaces)
    devices = {interface_id: f"eni{number}" for number, interface_id in enumerate(vpc.interfaces)}
    steps = list(large_rulesets.steps(ruleset(vpc, make_topology(vpc), devices), "inet ec2_a", []))
    assert max(map(len, steps)) < 4 * large_rulesets.STEP_CHARACTERS


def test_table_of_names_the_table() -> None:
    assert large_rulesets.table_of(RULESET) == "inet ec2"
    assert large_rulesets.table_of("flush ruleset") is None


def test_an_ordinary_user_applies_large_rulesets(namespaces_work: None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LARGE],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert done.stdout.splitlines() == ["3000 3000 1", "2 2 1", "3000 3000 1", "2999 2999 1", "1 1 1"], done.stderr
