"""Any overlap of operations on one instance: each ends in time, with a result or a clear error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from getpass import getuser

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import InstanceStateError, PycloudlibError
from support.guest import Guest
from support.moto_server import BOOKWORM_DAILY

PATIENCE = 60.0
"""Seconds after which a test that would hang fails."""

OPERATIONS: dict[str, Callable[..., object]] = {
    "execute": lambda instance: instance.execute("echo hi", timeout=PATIENCE),
    "execute for a while": lambda instance: instance.execute("sleep 0.2; echo hi", timeout=PATIENCE),
    "restart": lambda instance: instance.restart(),
    "restart without waiting": lambda instance: instance.restart(wait=False),
    "stop": lambda instance: instance.shutdown(),
    "start": lambda instance: instance.start(),
    "wait": lambda instance: instance.wait(),
    "give up": lambda instance: instance.execute("sleep 600", timeout=0.1),
    "run a script": lambda instance: instance.run_script("echo hi"),
    "push": lambda instance: instance.push_file(__file__, "/dev/null"),
    "pull": lambda instance: instance.pull_file("/proc/uptime", "/dev/null"),
    "read the console": lambda instance: instance.console_log(0),
    "close": lambda instance: instance.__del__(),
    "refresh": lambda instance: instance.refresh(),
}

OVERLAPS = st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=2, max_size=4)


class InstanceMachine(RuleBasedStateMachine):
    """One instance, used by several threads."""

    def __init__(self, ec2: EC2, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.pool = pool
        self.instance = ec2.launch(BOOKWORM_DAILY, username=getuser())
        # Another thread may start the instance before a stop is seen; then only the timeout ends the wait for it.
        self.instance.stop_timeout, self.instance.boot_timeout = 5.0, PATIENCE / 2
        self.is_deleted = False

    @rule(names=OVERLAPS)
    def overlap(self, names: list[str]) -> None:
        self.run_together([OPERATIONS[name] for name in names])

    @rule(names=OVERLAPS)
    def overlap_with_deletion(self, names: list[str]) -> None:
        outcomes = self.run_together([*(OPERATIONS[name] for name in names), lambda instance: instance.delete()])
        self.is_deleted = True
        assert outcomes[-1] == []
        # moto revives a terminated instance that it is told to reboot; EC2 refuses that.
        if not any(name.startswith("restart") for name in names):
            assert self.instance.state is InstanceState.TERMINATED
        assert self.instance._ssh.current is None

    @invariant()
    def is_of_use_unless_deleted(self) -> None:
        if self.is_deleted:
            for name in ("execute", "restart"):
                with pytest.raises(InstanceStateError):
                    OPERATIONS[name](self.instance)
        else:
            # moto stops at once, so this is a no-op for one that was not stopped.
            self.instance.start()
            assert self.instance.execute("echo alive", timeout=PATIENCE) == "alive"

    def run_together(self, operations: list[Callable[..., object]]) -> list[object]:
        """Begin all of them at once; what each returned or raised."""
        start = threading.Barrier(len(operations))

        def run(operation: Callable[..., object]) -> object:
            start.wait(PATIENCE)
            try:
                return operation(self.instance)
            except PycloudlibError as error:
                return error

        futures = [self.pool.submit(run, operation) for operation in operations]
        return [future.result(PATIENCE) for future in futures]

    def teardown(self) -> None:
        assert self.instance.delete() == []


def test_overlapping_operations_end_in_time(ec2_with_guest: EC2, guest: Guest) -> None:
    ec2_with_guest.client.meta.events.register("after-call.ec2.RebootInstances", lambda **_: guest.reboot())
    with ThreadPoolExecutor(5) as pool:
        run_state_machine_as_test(
            lambda: InstanceMachine(ec2_with_guest, pool),
            settings=settings(
                max_examples=6,
                stateful_step_count=4,
                deadline=None,
                derandomize=True,
                database=None,
                # Without shrinking, which would take minutes: the steps of a failure are few anyway.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
