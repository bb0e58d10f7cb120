"""`pycloudlib local capture`, and LocalEC2.capture()."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import LocalEC2
from pycloudlib.local.network.namespaces.capture import Tap
from pycloudlib.local.network.namespaces.fabric import Fabric
from support.cli_world import QuickCommandLine
from support.namespaces_ec2 import client_of, namespaces_ec2
from support.pcap import read_pcap
from support.terminal import Terminal
from support.topologies import accept_all, make_interface, make_topology, make_vpc

CAPTURE = ("local", "capture")
NAME = "capturing"
INTERFACE = make_interface(1, "10.0.1.5")
# The command, except that a machine's tap comes from the test: machines take minutes to boot.
COMMAND = """
import json, sys
from pycloudlib.cli import main
from pycloudlib.local import documents
from pycloudlib.local.network.namespaces.capture import Tap
tap = Tap.from_document(json.loads(sys.argv.pop(1)))
documents.fetch_tap = lambda *_: tap
main()
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    with namespaces_ec2(tmp_path_factory.mktemp("capture"), NAME) as server:
        yield server


@pytest.fixture
def command(local: LocalEC2) -> QuickCommandLine:
    return QuickCommandLine(local.directory)


@pytest.fixture
def interface_id(local: LocalEC2) -> str:
    client = client_of(local, "ec2")
    subnet = client.describe_subnets()["Subnets"][0]["SubnetId"]
    return str(client.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"])


@pytest.fixture
def tap(local: LocalEC2, tmp_path: Path) -> Iterator[Tap]:
    """The tap of an interface, as a machine has it."""
    with contextlib.closing(Fabric(tmp_path, accept_all)) as fabric:
        fabric.apply(make_topology(make_vpc("vpc-1", INTERFACE)))
        with open(fabric.add_interface("eni-1"), "wb"):  # noqa: PTH123  (a file descriptor)
            device = fabric.device("eni-1")
            assert device is not None
            yield Tap(fabric.entrance("vpc-1"), device)


def test_capture_ends_with_ctrl_c(tap: Tap, tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    started = [sys.executable, "-c", COMMAND, json.dumps(asdict(tap)), *CAPTURE, "web", str(file), "--name", NAME]
    with subprocess.Popen(started, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "capturing packets of web; press Ctrl-C to stop\n"
        process.send_signal(signal.SIGINT)
        (last,) = [line for line in process.stderr.read().splitlines() if line]
    assert process.returncode == 0
    assert last == f"captured {len(read_pcap(file))} packets; 0 were dropped"


def test_capture_ends_after_some_seconds(tap: Tap, tmp_path: Path) -> None:
    started = [sys.executable, "-c", COMMAND, json.dumps(asdict(tap)), *CAPTURE, "--seconds", "0", "web", "-"]
    done = subprocess.run([*started, "--name", NAME], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "a.pcap"
    file.write_bytes(done.stdout)
    assert f"captured {len(read_pcap(file))} packets" in done.stderr.decode()


def test_full_disk_is_one_line(tap: Tap) -> None:
    started = [sys.executable, "-c", COMMAND, json.dumps(asdict(tap)), *CAPTURE, "web", "/dev/full", "--name", NAME]
    done = subprocess.run(started, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == "pycloudlib: cannot write the captured packets: No space left on device\n"
    assert done.returncode == 1


def test_binary_data_is_not_printed_on_a_terminal(tap: Tap) -> None:
    started = [sys.executable, "-c", COMMAND, json.dumps(asdict(tap)), *CAPTURE, "web", "-", "--name", NAME]
    with Terminal(started) as terminal:
        assert "standard output is a terminal: name a file" in terminal.read_to_end()
    assert terminal.returncode == 1


def test_what_cannot_be_captured_is_explained(command: QuickCommandLine, interface_id: str, tmp_path: Path) -> None:
    file = str(tmp_path / "a.pcap")
    unknown = command.complaint(*CAPTURE, "web", file, "--name", NAME, status=3)
    assert unknown == "unknown instance or network interface 'web': give its id"
    stopped = command.complaint(*CAPTURE, interface_id, file, "--name", NAME)
    assert stopped == f"{interface_id} has no packets: its instance is not running"
    assert not Path(file).exists()
    absent = command.complaint(*CAPTURE, "web", file, "--name", "absent", status=3)
    assert absent.startswith("no local EC2 named 'absent' is running")


def test_library_explains_what_it_cannot_capture(local: LocalEC2, interface_id: str, tmp_path: Path) -> None:
    with (
        pytest.raises(LocalEC2Error, match="its instance is not running"),
        local.capture(interface_id, tmp_path / "a.pcap"),
    ):
        pytest.fail("entered the block")
    with (
        LocalEC2(driver="simulated") as other,
        pytest.raises(LocalEC2Error, match="has simulated machines, and therefore no packets to capture"),
        other.capture(interface_id, tmp_path / "a.pcap"),
    ):
        pytest.fail("entered the block")


def test_library_writes_a_file(local: LocalEC2, tap: Tap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycloudlib.local.documents.fetch_tap", lambda *_: tap)
    with local.capture("i-1", tmp_path / "a.pcap"):
        pass
    read_pcap(tmp_path / "a.pcap")
    with pytest.raises(LocalEC2Error, match="No space left on device"), local.capture("i-1", "/dev/full"):
        pytest.fail("entered the block")
