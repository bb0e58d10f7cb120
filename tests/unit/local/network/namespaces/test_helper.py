"""The helper as the server sees it: an error is an answer, never the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.namespaces import helper_client
from pycloudlib.local.network.namespaces.helper_client import HelperClient
from pycloudlib.waiting import Deadline, wait_until
from support.guest_network import PATIENCE
from support.processes import is_alive

HOLDER = """
import sys, time
from pathlib import Path
from pycloudlib.local.network.namespaces.helper_client import HelperClient
client = HelperClient(Path(sys.argv[1]), lambda *_: None)
client.call("configure_vpc", "vpc-1", cidrs=["10.0.0.0/16"], service_addresses=["169.254.169.254"])
print(client.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def helper(tmp_path: Path, namespaces_work: None) -> Iterator[HelperClient]:
    with contextlib.closing(HelperClient(tmp_path, lambda *_: None)) as helper:
        yield helper


def test_errors_are_answers(helper: HelperClient) -> None:
    with pytest.raises(LocalEC2Error, match="unknown 'no_such_command'"):
        helper.call("no_such_command", "vpc-1")
    with pytest.raises(LocalEC2Error, match=r"the network of vpc-1: delete_vpc: .*unexpected"):
        helper.call("delete_vpc", "vpc-1", unexpected=1)
    with pytest.raises(LocalEC2Error, match="unknown 'vpc-1'"):
        helper.call("apply_ruleset", "vpc-1", ruleset="")
    with pytest.raises(LocalEC2Error, match="configure_vpc: illegal IP"):
        helper.call("configure_vpc", "vpc-1", cidrs=["nonsense"], service_addresses=[])
    helper.call("configure_vpc", "vpc-1", cidrs=["10.0.0.0/16"], service_addresses=[])


def test_namespaces_are_in_proc(helper: HelperClient) -> None:
    result, _ = helper.call("configure_vpc", "vpc-1", cidrs=["10.0.0.0/16"], service_addresses=[])
    assert str(Path(f"/proc/{helper.pid}/fd/{result['namespace_fd']}").readlink()).startswith("net:[")
    helper.call("delete_vpc", "vpc-1")
    assert not os.path.lexists(f"/proc/{helper.pid}/fd/{result['namespace_fd']}")


def test_deleting_a_vpc_twice_is_a_no_op(helper: HelperClient) -> None:
    helper.call("delete_vpc", "vpc-1")
    helper.call("remove_interface", "vpc-1", interface_id="eni-1")


def test_calls_after_the_end_are_errors(tmp_path: Path, namespaces_work: None) -> None:
    ended = threading.Event()
    helper = HelperClient(tmp_path, lambda *_: ended.set())
    os.kill(helper.pid, signal.SIGKILL)
    assert ended.wait(PATIENCE)
    with pytest.raises(LocalEC2Error, match="the network helper has ended"):
        helper.call("delete_vpc", "vpc-1")
    helper.close()


def test_helper_start_failure_reports_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_client, "_MODULE", "no_such_module")
    helper = HelperClient(tmp_path, lambda *_: None)
    with pytest.raises(LocalEC2Error, match=r"the network helper has ended: .*No module named no_such_module"):
        helper.call("delete_vpc", "vpc-1")
    helper.close()


def test_close_is_no_unexpected_end(tmp_path: Path, namespaces_work: None) -> None:
    reported: list[str] = []
    helper = HelperClient(tmp_path, lambda _, reason: reported.append(reason))
    helper.close()
    assert not is_alive(helper.pid)
    assert reported == []


def test_the_helper_ends_with_a_killed_server(tmp_path: Path, namespaces_work: None) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        server.kill()
    wait_until(lambda: not is_alive(pid), what="the helper to end", deadline=Deadline.after(PATIENCE))
