"""The network of a local EC2: namespaces where they work, or else user networking, with the reason."""

from __future__ import annotations

import ctypes.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import LocalEC2, prerequisites
from pycloudlib.local.documents import fetch_entrance
from pycloudlib.local.network.namespaces.probe import probe
from pycloudlib.local.options import ServerOptions
from pycloudlib.local.prerequisites import find
from pycloudlib.local.server import NetworkChoice, _choose_network
from support.cli_world import home_environment
from support.command_line import CommandLine
from support.hidden import without
from support.inside import run_inside
from support.namespaces import require_namespaces
from support.ordinary_user import ordinary_environment, ordinary_home, with_tun

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "socat", "setpriv")
MISSING = "dnsmasq and slirp4netns are not installed"

needs_qemu = pytest.mark.skipif(None in map(find, PROGRAMS), reason="needs QEMU's programs")


@pytest.fixture
def namespaces_work() -> None:
    require_namespaces()


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prerequisites, "SYSTEM_DIRECTORIES", str(tmp_path))
    probe.cache_clear()
    yield
    probe.cache_clear()


def test_namespaces_are_the_default_where_they_work(namespaces_work: None) -> None:
    assert _choose_network(ServerOptions()) == NetworkChoice("namespaces", "supported here")
    assert _choose_network(ServerOptions(network="namespaces")) == NetworkChoice("namespaces", "as requested")


def test_user_networking_is_the_default_elsewhere(nothing_installed: None) -> None:
    chosen = _choose_network(ServerOptions())
    assert chosen.name == "user"
    assert chosen.reason.startswith(f"{MISSING}; ")
    assert "apt-get install -y dnsmasq-base slirp4netns" in chosen.reason
    with pytest.raises(LocalEC2Error, match=f"namespaces do not work here: {MISSING}; .*apt-get"):
        _choose_network(ServerOptions(network="namespaces"))


def test_user_networking_can_be_requested() -> None:
    assert _choose_network(ServerOptions(network="user")) == NetworkChoice("user", "as requested")


def test_simulated_machines_have_no_network() -> None:
    assert _choose_network(ServerOptions(driver="simulated")) == NetworkChoice("", "")
    for network in ("namespaces", "user"):
        with pytest.raises(LocalEC2Error, match=f"simulated instances cannot have the network '{network}': omit it"):
            _choose_network(ServerOptions(driver="simulated", network=network))


def test_unknown_network_is_refused() -> None:
    with pytest.raises(LocalEC2Error, match="unknown network 'bridge': choose auto, namespaces, or user"):
        _choose_network(ServerOptions(network="bridge"))


def files_of(name: str) -> list[Path]:
    """Return what a part of the network consists of on this computer."""
    if name == "tun":
        return [Path("/dev/net")]
    if name == "nft":
        library = ctypes.util.find_library("nftables")
        found = list(Path("/usr/lib").rglob(library)) if library else []
        return [*found, *filter(None, [find("nft")])]
    program = find(name)
    assert program is not None
    return [program]


@needs_qemu
@pytest.mark.parametrize(
    ("part", "reason", "remedy"),
    [
        ("dnsmasq", "dnsmasq is not installed", "apt-get install -y dnsmasq-base"),
        ("tun", "cannot open /dev/net/tun: No such file or directory", "sudo modprobe tun"),
        ("nft", "cannot apply an nftables ruleset: ", "apt-get install -y nftables"),
    ],
)
def test_start_status_and_doctor_report_missing_programs(
    part: str, reason: str, remedy: str, tmp_path: Path, namespaces_work: None
) -> None:
    cli = CommandLine(tmp_path, home_environment(tmp_path))
    lacking = CommandLine(tmp_path, cli.environment)
    lacking.command = without(files_of(part), cli.command)
    started = lacking.run("local", "start", "--accelerator", "tcg")
    try:
        assert started.returncode == 0, started.stderr
        line = started.stderr.splitlines()[0]
        assert line.startswith(f"Network: user ({reason}")
        assert remedy in line
        assert line.removeprefix("Network: user ") in cli.run("local", "status").stdout
    finally:
        cli.run("local", "stop")
    checks = json.loads(lacking.run("doctor", "--json").stdout)["checks"]
    (network,) = [one for one in checks if one["name"] == "local network"]
    assert network["state"] == "note"
    assert network["found"].startswith(reason)
    assert network["found"].endswith("so instances use user networking, and do not reach each other")
    assert remedy in network["remedy"]


@needs_qemu
def test_two_servers_have_networks_of_their_own(
    tmp_path: Path, namespaces_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def namespace(local: LocalEC2) -> str:
        return run_inside(fetch_entrance(local.info), "readlink", "/proc/self/ns/net").stdout

    with LocalEC2(accelerator="tcg") as one:
        with LocalEC2(accelerator="tcg") as other:
            assert {one.info.network, other.info.network} == {"namespaces"}
            assert namespace(one) != namespace(other)
        assert namespace(one).startswith("net:[")


INNER = """
from pycloudlib.local import LocalEC2
with LocalEC2(accelerator="tcg") as local:
    print(local.info.network, flush=True)
    if local.info.network == "namespaces":
        from pycloudlib.local.documents import fetch_entrance
        print(fetch_entrance(local.info).vpc_id[:4])
"""


@needs_qemu
def test_server_inside_a_vpc_of_another_one(
    tmp_path: Path, namespaces_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with LocalEC2(accelerator="tcg") as outer:
        done = run_inside(fetch_entrance(outer.info), sys.executable, "-c", INNER)
    assert (done.stdout.split(), done.stderr) == (["namespaces", "vpc-"], "")


OUTER = """
import json, subprocess, sys
from dataclasses import asdict
from pycloudlib.local import LocalEC2
from pycloudlib.local.documents import fetch_entrance
with LocalEC2(accelerator="tcg") as local:
    entrance = json.dumps(asdict(fetch_entrance(local.info)))
    subprocess.run([sys.executable, "-m", "pycloudlib.local.inside", entrance, sys.executable, "-c", sys.argv[1]])
"""


@needs_qemu
def test_server_of_an_ordinary_user_inside_a_vpc_of_another_one(namespaces_work: None) -> None:
    with ordinary_home() as home:
        done = subprocess.run(
            with_tun([sys.executable, "-c", OUTER, INNER]),
            env=ordinary_environment(home),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout.split(), done.stderr) == (["namespaces", "vpc-"], "")
