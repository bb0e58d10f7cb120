"""Any sequence of launches, deletions, interrupts, lost responses, and refusals: clean() leaves nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pycloudlib.ec2.api import retries
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instances import boot
from pycloudlib.errors import CloudError, IllegalStateError
from support.faulty_ec2 import Break, FaultyEC2, Refusal, faulty_ec2
from support.moto_server import BOOKWORM_DAILY

PATIENCE = 60.0
"""Seconds after which a test that would hang fails."""

TROUBLES = ("none", "lost", "refused", "interrupted before", "interrupted after")
"""What may happen to one call: nothing, its response is lost, EC2 refuses it, or Ctrl-C comes around it."""

VPC_CALLS = (
    "CreateVpc",
    "ModifyVpcAttribute",
    "CreateInternetGateway",
    "AttachInternetGateway",
    "CreateRouteTable",
    "CreateRoute",
    "CreateSubnet",
    "AssociateRouteTable",
    "CreateSecurityGroup",
    "CreateTags",
)

VPC_DELETIONS = ("DetachInternetGateway", "DeleteSubnet", "DeleteSecurityGroup", "DeleteVpc")


def press_ctrl_c() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


class CleanMachine(RuleBasedStateMachine):
    """One EC2 object, used by one or two threads."""

    def __init__(self, ec2: EC2, gate: FaultyEC2, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.ec2 = ec2
        self.gate = gate
        self.pool = pool

    @rule(trouble=st.sampled_from(TROUBLES), count=st.integers(1, 2))
    def launch(self, trouble: str, count: int) -> None:
        self.attempt("RunInstances", trouble, lambda: self.ec2.launch_many(BOOKWORM_DAILY, count, wait=False))

    @rule(trouble=st.sampled_from(TROUBLES))
    def create_volume(self, trouble: str) -> None:
        self.attempt("CreateVolume", trouble, lambda: self.ec2.create_volume(1, zone=f"{self.ec2.region}a"))

    @rule(trouble=st.sampled_from(TROUBLES), action=st.sampled_from(VPC_CALLS))
    def create_vpc(self, trouble: str, action: str) -> None:
        self.attempt(action, trouble, lambda: self.ec2.get_or_create_vpc(self.ec2.tag))

    @rule(trouble=st.sampled_from(TROUBLES), action=st.sampled_from(VPC_DELETIONS))
    def delete_vpc(self, trouble: str, action: str) -> None:
        if self.ec2.created_vpcs:
            self.attempt(action, trouble, self.ec2.created_vpcs[0].delete)

    @rule(trouble=st.sampled_from(TROUBLES))
    def upload_key(self, trouble: str) -> None:
        public_key = self.ec2.key_pair.public_key_path
        self.attempt("ImportKeyPair", trouble, lambda: self.ec2.upload_key(public_key, name=self.ec2.tag))

    @rule(moment=st.sampled_from(("interrupted before", "interrupted after")))
    def interrupt_a_launch_that_waits(self, moment: str) -> None:
        known = self.left_in_ec2()
        # Nobody answers in the instance, so that it would wait until the interrupt.
        self.attempt("GetConsoleOutput", moment, lambda: self.ec2.launch(BOOKWORM_DAILY, wait=True))
        assert self.left_in_ec2() <= known

    @rule(trouble=st.sampled_from(TROUBLES))
    def delete_instance(self, trouble: str) -> None:
        if self.ec2.created_instances:
            instance = self.ec2.created_instances[0]
            self.attempt("TerminateInstances", trouble, lambda: instance.delete(wait=False))

    @rule(trouble=st.sampled_from(TROUBLES), action=st.sampled_from(("TerminateInstances", "DeleteVolume")))
    def clean(self, trouble: str, action: str) -> None:
        self.attempt(action, trouble, self.ec2.clean)

    @rule(cleans_first=st.booleans())
    def launch_and_clean_at_once(self, cleans_first: bool) -> None:
        calls: list[Callable[[], object]] = [lambda: self.ec2.launch(BOOKWORM_DAILY, wait=False), self.ec2.clean]
        futures = [self.pool.submit(call) for call in (reversed(calls) if cleans_first else calls)]
        for future in futures:
            error = future.exception(PATIENCE)
            assert error is None or isinstance(error, IllegalStateError)

    @rule()
    def clean_for_good(self) -> None:
        assert self.ec2.clean() == []
        assert self.left_in_ec2() | self.left_of_vpcs() == set()
        assert (self.ec2.created_instances, len(self.ec2._ledger)) == ([], 0)

    @invariant()
    def knows_what_it_created(self) -> None:
        # The ledger holds each resource, or the call that may have created it.
        unknown = {one for one in self.left_in_ec2() if one not in self.ec2._ledger}
        assert not unknown or any("may have been made" in entry.kind for entry in self.ec2._ledger._all())

    def attempt(self, action: str, trouble: str, call: Callable[[], object]) -> None:
        if trouble == "lost":
            self.gate.fail_action(action, Break.AFTER)
        elif trouble == "refused":
            self.gate.fail_action(action, Refusal("UnauthorizedOperation", 403))
        elif trouble != "none":
            self.gate.on(action, **{trouble.removeprefix("interrupted "): press_ctrl_c})
        allowed = {"refused": (CloudError,), "none": (), "lost": ()}.get(trouble, (KeyboardInterrupt,))
        with contextlib.suppress(*allowed):
            call()
        self.gate.behave()

    def left_in_ec2(self) -> set[str]:
        named = [{"Name": "tag:Name", "Values": [self.ec2.tag]}]
        volumes = self.ec2.client.describe_volumes(Filters=named)["Volumes"]
        reservations = self.ec2.client.describe_instances(Filters=named)["Reservations"]
        instances = [instance for reservation in reservations for instance in reservation["Instances"]]
        living = {one["InstanceId"] for one in instances if one["State"]["Name"] not in ("shutting-down", "terminated")}
        # moto keeps the root volumes of terminated instances, which are larger.
        keys = self.ec2.client.describe_key_pairs(Filters=named)["KeyPairs"]
        return living | {one["VolumeId"] for one in volumes if one["Size"] == 1} | {one["KeyName"] for one in keys}

    def left_of_vpcs(self) -> set[str]:
        named = [{"Name": "tag:Name", "Values": [self.ec2.tag]}]
        client = self.ec2.client
        return {
            *(one["VpcId"] for one in client.describe_vpcs(Filters=named)["Vpcs"]),
            *(one["SubnetId"] for one in client.describe_subnets(Filters=named)["Subnets"]),
            *(one["RouteTableId"] for one in client.describe_route_tables(Filters=named)["RouteTables"]),
            *(one["InternetGatewayId"] for one in client.describe_internet_gateways(Filters=named)["InternetGateways"]),
            *(one["GroupId"] for one in client.describe_security_groups(Filters=named)["SecurityGroups"]),
        }

    def teardown(self) -> None:
        self.gate.behave()
        self.clean_for_good()


@pytest.fixture
def gate(moto_url: str) -> Iterator[FaultyEC2]:
    """moto, behind a connection on which calls go wrong."""
    with faulty_ec2(moto_url) as faulty:
        yield faulty


def test_whatever_happens_clean_leaves_nothing(
    gate: FaultyEC2, connect: Callable[..., EC2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retries, "LOOK_FOR_LOST", 0.5)
    # The interrupt of a launch that waits comes around its first read of the console.
    monkeypatch.setattr(boot, "CONSOLE_INTERVAL", 0.1)
    monkeypatch.setattr(boot, "WATCH_INTERVAL", 0.1)
    with ThreadPoolExecutor(2) as pool:
        run_state_machine_as_test(
            lambda: CleanMachine(connect(gate.url), gate, pool),
            settings=settings(
                max_examples=6,
                stateful_step_count=6,
                deadline=None,
                derandomize=True,
                database=None,
                # Without shrinking, which would take minutes: the steps of a failure are few anyway.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
