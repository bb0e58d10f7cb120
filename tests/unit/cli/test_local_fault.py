"""`pycloudlib local fault`, and LocalEC2's network faults."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import LocalEC2
from pycloudlib.local.documents import fetch_faults, put_fault, remove_faults
from pycloudlib.local.network.faults import Fault
from support.cli_world import QuickCommandLine
from support.namespaces_ec2 import namespaces_ec2, use_region

FAULT = ("local", "fault")
NAME = "faulty"
ZONES = ("us-east-1a", "us-east-1b")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEC2]:
    with namespaces_ec2(tmp_path_factory.mktemp("faults"), NAME) as server:
        yield server


@pytest.fixture
def local(server: LocalEC2) -> Iterator[LocalEC2]:
    yield server
    remove_faults(server.info)


@pytest.fixture
def command(local: LocalEC2) -> QuickCommandLine:
    return QuickCommandLine(local.directory)


def test_partition_ends_with_its_block(local: LocalEC2) -> None:
    with local.partition(*ZONES) as fault_id:
        assert fetch_faults(local.info) == [Fault(fault_id, "partition", ZONES)]
        with local.packet_loss("us-east-1c", percent=30) as other:
            assert fetch_faults(local.info)[1] == Fault(other, "loss", ("us-east-1c", "all"), 30)
        assert [fault.fault_id for fault in fetch_faults(local.info)] == [fault_id]
    assert fetch_faults(local.info) == []


def test_rate_and_delay_end_with_their_block(local: LocalEC2) -> None:
    with local.rate_limit("us-east-1c", kbit_per_second=64) as fault_id:
        assert fetch_faults(local.info) == [Fault(fault_id, "rate", ("us-east-1c", "all"), 64)]
    assert fetch_faults(local.info) == []
    with contextlib.ExitStack() as block:
        try:
            fault_id = block.enter_context(local.delay(*ZONES, milliseconds=50))
        except LocalEC2Error as error:
            assert str(error) == (  # noqa: PT017  (a kernel without netem)
                "this kernel does not have netem, which a delay needs: try `sudo modprobe -a sch_netem`, or use a "
                "kernel that has it"
            )
        else:
            assert fetch_faults(local.info) == [Fault(fault_id, "delay", ZONES, 50)]
    assert fetch_faults(local.info) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_fault_ends_with_an_error(local: LocalEC2, error: type[BaseException]) -> None:
    with pytest.raises(error), local.partition(*ZONES):
        raise error
    assert fetch_faults(local.info) == []


def test_fault_that_is_healed_inside_its_block(local: LocalEC2) -> None:
    with local.partition(*ZONES) as fault_id:
        assert remove_faults(local.info, fault_id) == [fault_id]


def test_faults_of_a_server_that_another_process_started(local: LocalEC2) -> None:
    with LocalEC2(NAME).partition(*ZONES) as fault_id:
        assert [fault.fault_id for fault in fetch_faults(local.info)] == [fault_id]
    assert fetch_faults(local.info) == []


def test_unknown_instance_is_refused(local: LocalEC2) -> None:
    with pytest.raises(LocalEC2Error, match=r"^unknown instance 'i-0'"), local.partition("i-0", "us-east-1a"):
        pytest.fail("entered the block")
    with pytest.raises(LocalEC2Error, match="invalid percent 0"), local.packet_loss(*ZONES, percent=0):
        pytest.fail("entered the block")
    with pytest.raises(LocalEC2Error, match="invalid kbit_per_second 7"), local.rate_limit(*ZONES, kbit_per_second=7):
        pytest.fail("entered the block")


def test_putting_a_fault_is_idempotent(local: LocalEC2) -> None:
    for _ in range(2):
        put_fault(local.info, Fault("fault-1", "partition", ZONES))
    assert [fault.fault_id for fault in fetch_faults(local.info)] == ["fault-1"]


def test_faults_need_a_signature(local: LocalEC2) -> None:
    for method in ("GET", "PUT", "DELETE"):
        request = urllib.request.Request(f"{local.endpoint_url}/local-api/faults/fault-1", b"{}", method=method)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=60)


def test_faults_end_with_the_server(server: LocalEC2) -> None:
    with LocalEC2(network="namespaces", accelerator="tcg") as local:
        use_region(local)
        # The end of the block finds no server, and so nothing to heal.
        with local.partition(*ZONES):
            assert len(fetch_faults(local.info)) == 1
            local.stop()
        local.start(end_with_this_process=True)
        assert fetch_faults(local.info) == []


def test_user_networking_has_no_faults(server: LocalEC2) -> None:
    with LocalEC2(network="user", accelerator="tcg") as local:
        message = (
            "has user networking (as requested), and therefore no network faults: start it with `--network namespaces`"
        )
        with pytest.raises(LocalEC2Error, match=re.escape(message)), local.partition(*ZONES):
            pytest.fail("entered the block")
        with pytest.raises(LocalEC2Error, match=r"has user networking .*, and therefore no network to run a"):
            local.exec_inside(["true"])
        complaint = QuickCommandLine(local.directory).complaint(*FAULT, "list", "--name", local.name)
        assert complaint.endswith(message)


def test_simulated_machines_have_no_faults(server: LocalEC2) -> None:
    with LocalEC2(driver="simulated") as local:
        with pytest.raises(LocalEC2Error, match="has simulated machines, and therefore"):
            fetch_faults(local.info)
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(
                urllib.request.Request(f"{local.endpoint_url}/local-api/network", method="DELETE"), timeout=60
            )


def test_command_adds_lists_and_heals(command: QuickCommandLine) -> None:
    one = command.run(*FAULT, "partition", *ZONES, "--name", NAME).stdout.strip()
    other = command.run(*FAULT, "loss", "us-east-1c", "all", "30", "--name", NAME).stdout.strip()
    rate = command.run(*FAULT, "rate", *ZONES, "1000", "--name", NAME).stdout.strip()
    assert command.run(*FAULT, "list", "--name", NAME).stdout == (
        f"{one}  partition between us-east-1a and us-east-1b\n{other}  30 % loss between us-east-1c and all\n"
        f"{rate}  1000 kbit/s between us-east-1a and us-east-1b\n"
    )
    listed = json.loads(command.run(*FAULT, "list", "--json", "--name", NAME).stdout)
    assert listed[1] == {"fault_id": other, "kind": "loss", "between": ["us-east-1c", "all"], "percent": 30}
    assert command.run(*FAULT, "heal", one, "--name", NAME).stdout == f"{one}\n"
    assert listed[2]["kbit_per_second"] == 1000
    assert command.run(*FAULT, "heal", "--name", NAME).stdout == f"{other}\n{rate}\n"
    assert command.run(*FAULT, "list", "--name", NAME).stdout == ""


def test_command_explains_what_it_refuses(command: QuickCommandLine) -> None:
    unknown = command.complaint(*FAULT, "partition", "i-0", "all", "--name", NAME, status=3)
    assert unknown == "unknown instance 'i-0': it does not exist, or is terminated"
    assert "unknown end 'web': give an instance id" in command.complaint(
        *FAULT, "loss", "web", "all", "5", "--name", NAME, status=3
    )
    unknown = command.complaint(*FAULT, "delay", "i-0", "all", "5", "--name", NAME, status=3)
    assert unknown == "unknown instance 'i-0': it does not exist, or is terminated"
    gone = command.complaint(*FAULT, "heal", "fault-1", "--name", NAME, status=3)
    assert gone == "unknown fault 'fault-1': `pycloudlib local fault list` lists them"
    absent = command.complaint(*FAULT, "list", "--name", "absent", status=3)
    assert absent.startswith("no local EC2 named 'absent' is running")
