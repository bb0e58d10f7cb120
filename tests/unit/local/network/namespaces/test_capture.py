"""Packet capture of interfaces, with real packets."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces.capture import Capture, Tap, capturing
from pycloudlib.local.network.namespaces.fabric import Fabric
from pycloudlib.waiting import Deadline, wait_until
from support.guest_network import PATIENCE, Guest
from support.pcap import read_pcap
from support.processes import is_alive
from support.topologies import make_interface, make_topology, make_vpc

from .conftest import Connect

A = make_interface(1, "10.0.1.5")
B = make_interface(2, "10.0.1.6")
CAPTURE_UNTIL_KILLED = """
import json, sys
from pathlib import Path
from pycloudlib.local.network.namespaces.capture import Tap, capturing
tap = Tap.from_document(json.loads(sys.argv[1]))
with Path(sys.argv[2]).open("wb") as file, capturing(tap, file.fileno()) as capture:
    print(capture._process.pid, flush=True)
    sys.stdin.read()
"""


def tap_of(fabric: Fabric, interface_id: str) -> Tap:
    device = fabric.device(interface_id)
    assert device is not None
    return Tap(fabric.entrance("vpc-1"), device)


@pytest.fixture
def guests(fabric: Fabric, connect: Connect) -> tuple[Guest, Guest]:
    fabric.apply(make_topology(make_vpc("vpc-1", A, B)))
    one, other = connect(fabric, A), connect(fabric, B)
    other.call("serve", port=7007, kind="udp")
    return one, other


def talk(guests: tuple[Guest, Guest], text: str) -> None:
    """Let the first guest send a datagram to the second one, and receive its own address as the answer."""
    assert guests[0].call("exchange", address="10.0.1.6", port=7007, seconds=PATIENCE, text=text) == "10.0.1.5"


def test_frames_of_both_directions_are_written(fabric: Fabric, guests: tuple[Guest, Guest], tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    talk(guests, "before")
    began = time.time_ns()
    with file.open("wb") as output, capturing(tap_of(fabric, "eni-2"), output.fileno()) as capture:
        talk(guests, "what is my address?")
        captured = capture.stop()
    talk(guests, "afterwards")
    frames = read_pcap(file)
    assert captured.packets == len(frames)
    assert captured.dropped == 0
    payloads = [frame.data for frame in frames]
    (request,) = [frame for frame in frames if frame.data.endswith(b"what is my address?")]
    (answer,) = [frame for frame in frames if frame.data.endswith(b"10.0.1.5")]
    assert began <= request.nanoseconds <= answer.nanoseconds <= time.time_ns()
    assert request.data[12:14] == b"\x08\x00"  # IPv4
    assert request.data[6:12] == answer.data[:6]  # the gateway's MAC address
    assert not any(text in payload for payload in payloads for text in (b"before", b"afterwards"))


def test_capture_ends_with_the_machine(fabric: Fabric, guests: tuple[Guest, Guest], tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    with file.open("wb") as output, capturing(tap_of(fabric, "eni-2"), output.fileno()) as capture:
        # The end is reported to the process before frames that it has not read.
        os.kill(capture._process.pid, signal.SIGSTOP)
        talk(guests, "the last word")
        guests[1].close()
        os.kill(capture._process.pid, signal.SIGCONT)
        capture.wait()
        assert capture.stop().packets == len(read_pcap(file))
    assert any(frame.data.endswith(b"the last word") for frame in read_pcap(file))


def test_capture_ends_with_the_process_that_started_it(
    fabric: Fabric, guests: tuple[Guest, Guest], tmp_path: Path
) -> None:
    file = tmp_path / "a.pcap"
    command = [sys.executable, "-c", CAPTURE_UNTIL_KILLED, json.dumps(asdict(tap_of(fabric, "eni-2"))), str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        talk(guests, "the last word")
        process.kill()
    wait_until(lambda: not is_alive(pid), what="the capture to end", deadline=Deadline.after(PATIENCE))
    assert any(frame.data.endswith(b"the last word") for frame in read_pcap(file))


def test_full_disk_is_reported(fabric: Fabric, guests: tuple[Guest, Guest]) -> None:
    message = r"^cannot write the captured packets: No space left on device$"
    with (
        Path("/dev/full").open("wb") as output,
        pytest.raises(LocalEC2Error, match=message),
        capturing(tap_of(fabric, "eni-2"), output.fileno()),
    ):
        pytest.fail("entered the block")


def test_disk_that_becomes_full_leaves_whole_records(
    fabric: Fabric, guests: tuple[Guest, Guest], tmp_path: Path
) -> None:
    def fill(capture: Capture) -> None:
        resource.prlimit(capture._process.pid, resource.RLIMIT_FSIZE, (3000, 3000))
        for _ in range(5):
            talk(guests, "x" * 1000)
        capture.wait()

    file = tmp_path / "a.pcap"
    with (
        file.open("wb") as output,
        pytest.raises(LocalEC2Error, match=r"^cannot write the captured packets: File too large$"),
        capturing(tap_of(fabric, "eni-2"), output.fileno()) as capture,
    ):
        fill(capture)
    assert 0 < len(read_pcap(file)) < 10
    assert file.stat().st_size <= 3000


def test_reader_that_ends_early_is_no_error(fabric: Fabric, guests: tuple[Guest, Guest]) -> None:
    ours, theirs = os.pipe()
    with open(theirs, "wb") as output, capturing(tap_of(fabric, "eni-2"), output.fileno()) as capture:  # noqa: PTH123
        os.close(ours)
        talk(guests, "hello")
        capture.wait()
        assert capture.stop().packets == 0


def test_machine_that_has_ended_is_reported(fabric: Fabric, guests: tuple[Guest, Guest], tmp_path: Path) -> None:
    tap = tap_of(fabric, "eni-2")
    fabric.remove_interface("eni-2")
    with (
        (tmp_path / "a.pcap").open("wb") as output,
        pytest.raises(LocalEC2Error, match=r"^cannot capture packets: No such device; is the machine still running\?$"),
        capturing(tap, output.fileno()),
    ):
        pytest.fail("entered the block")


def test_killed_capture_is_reported(fabric: Fabric, guests: tuple[Guest, Guest], tmp_path: Path) -> None:
    def kill(capture: Capture) -> None:
        os.kill(capture._process.pid, signal.SIGKILL)
        capture.wait()

    with (
        (tmp_path / "a.pcap").open("wb") as output,
        pytest.raises(LocalEC2Error, match="the capture ended unexpectedly"),
        capturing(tap_of(fabric, "eni-2"), output.fileno()) as capture,
    ):
        kill(capture)
