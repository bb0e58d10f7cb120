"""QMP, spoken with a real QEMU that has no machine in it."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from pycloudlib.errors import MachineError
from pycloudlib.local.machines.qmp import QMP, READY


class Qemu:
    """A QEMU without a machine, and the events it sent."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
            command += ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
            self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        self.qmp = QMP(ours)
        self.events: list[str] = []
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()
        assert self.ready.wait(60)

    def listen(self) -> None:
        for event in self.qmp.events():
            self.events.append(event["event"])
            if event is READY:
                self.ready.set()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.qmp.close()


@pytest.fixture
def qemu() -> Iterator[Qemu]:
    qemu = Qemu()
    yield qemu
    qemu.end()


def test_the_first_event_is_that_it_is_ready(qemu: Qemu) -> None:
    assert qemu.events == ["READY"]


def test_a_command_gives_back_what_qemu_answers(qemu: Qemu) -> None:
    assert qemu.qmp.execute("query-status")["running"] is True


def test_a_refusal_is_an_error_with_qemus_words(qemu: Qemu) -> None:
    with pytest.raises(MachineError, match="nonsense"):
        qemu.qmp.execute("nonsense")


def test_responses_reach_their_callers(qemu: Qemu) -> None:
    futures = [qemu.qmp.send("query-status" if number % 2 else "query-version") for number in range(20)]
    answers = [future.result(30) for future in futures]
    assert all(("running" in answer) == bool(number % 2) for number, answer in enumerate(answers))


def test_events_come_as_they_happen_and_end_with_qemu(qemu: Qemu) -> None:
    qemu.qmp.execute("stop")
    qemu.qmp.send("quit")
    qemu.thread.join(30)
    assert not qemu.thread.is_alive()
    assert qemu.events[:2] == ["READY", "STOP"]
    assert qemu.events[-1] == "SHUTDOWN"


def test_a_command_for_a_machine_that_is_gone_is_an_error(qemu: Qemu) -> None:
    qemu.process.kill()
    qemu.thread.join(30)
    with pytest.raises(MachineError, match="the machine is gone"):
        qemu.qmp.execute("query-status")
