"""The lifecycle steps of the instance, each executed once: added devices, restarts, and an image of the instance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pycloudlib.deadline import Deadline
from pycloudlib.errors import PycloudlibTimeoutError
from pycloudlib.guest.probes import run_probes
from pycloudlib.validation.facts import Facts
from pycloudlib.validation.questions import QUESTIONS
from pycloudlib.validation.subject import Subject
from pycloudlib.validation.verdicts import not_applicable
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from pycloudlib.ec2.instance import EC2Instance

VOLUME_GIB = 1
PLUG_TIMEOUT = 120.0
"""Seconds until a hotplugged device must be usable."""

DATA_FILE = "/var/tmp/pycloudlib-validation-data"  # noqa: S108  (in the guest, and nobody else is there)
KEPT = ("boot_id", "machine_id", "host_public_keys", "user_data_runs")
ASK_TIMEOUT = 300.0


@dataclass(frozen=True)
class AddedVolume:
    """A volume that was added to the running instance.

    Args:
        device: the device in the guest; empty if none appeared.
        size: the size in bytes, as the guest sees it.
        expected_size: the volume's size in bytes.
    """

    device: str
    size: int
    expected_size: int


@dataclass(frozen=True)
class AddedInterface:
    """A network interface that was added to the running instance.

    Args:
        ip: the private address.
        addresses: the addresses of the guest's interfaces.
    """

    ip: str
    addresses: str


@dataclass(frozen=True)
class Booted:
    """The state of the instance before and after another boot: the results of some probes, and data in a file.

    Args:
        before: the results by the name of the probe.
        after: the same after the boot.
        data_before: the contents of the file; default empty.
        data_after: the contents after the boot; default empty.
    """

    before: dict[str, str]
    after: dict[str, str]
    data_before: str = ""
    data_after: str = ""


class Life:
    """The lifecycle steps of an instance, executed when a check requests them.

    Args:
        subject: the instance and its image.
        facts: the findings about the instance.
    """

    def __init__(self, subject: Subject, facts: Facts) -> None:
        self._subject = subject
        self.facts = facts

    @property
    def instance(self) -> EC2Instance:
        """The instance. Skip the check if no login is possible."""
        if self._subject.instance is None or not self.facts.answers:
            not_applicable(self.facts.not_asked or "the probe of the guest failed")
        return self._subject.instance

    @cached_property
    def added_volume(self) -> AddedVolume:
        """Add a volume, and look it up in the guest."""
        instance = self.instance
        self._subject.progress("adding a volume")
        volume = instance.add_volume(size=VOLUME_GIB)
        expected_size = VOLUME_GIB * 1024**3
        try:
            device = volume.guest_device(timeout=PLUG_TIMEOUT)
        except PycloudlibTimeoutError:
            return AddedVolume("", 0, expected_size)
        size = instance.execute(["blockdev", "--getsize64", device], use_sudo=True).check()
        return AddedVolume(device, int(size), expected_size)

    @cached_property
    def added_interface(self) -> AddedInterface:
        """Add a network interface, and give the guest some time to configure it."""
        instance = self.instance
        self._subject.progress("adding a network interface")
        ip = instance.add_network_interface()
        addresses = ""

        def is_configured() -> bool:
            nonlocal addresses
            addresses = instance.execute(QUESTIONS["addresses"]).stdout
            return f" {ip}/" in addresses

        try:
            wait_until(
                is_configured,
                what=f"the guest to have {ip}",
                deadline=Deadline.after(PLUG_TIMEOUT),
                interval=1.0,
                max_interval=5.0,
            )
        except PycloudlibTimeoutError:
            return AddedInterface(ip, addresses)
        return AddedInterface(ip, addresses)

    @cached_property
    def restarted(self) -> Booted:
        """Restart the instance."""
        instance = self.instance
        before = self._probe_invariants()
        self._subject.progress("restarting the instance")
        instance.restart(cloud_init_failure="raise")
        return Booted(before, self._probe_invariants())

    @cached_property
    def stopped_and_started(self) -> Booted:
        """Write some data, stop the instance, and start it again."""
        instance = self.instance
        before = self._probe_invariants()
        data = f"written in boot {before['boot_id']}"
        instance.execute(f"cat >{DATA_FILE} && sync {DATA_FILE}", stdin=data, use_sudo=True).check()
        self._subject.progress("stopping and starting the instance")
        instance.shutdown()
        instance.start(cloud_init_failure="raise")
        result = instance.execute(["cat", DATA_FILE], use_sudo=True)
        return Booted(before, self._probe_invariants(), data, result.stdout)

    @cached_property
    def copy(self) -> Facts:
        """Create an image of the instance, and launch it; the instance itself remains stopped."""
        instance = self.instance
        self._subject.progress("creating an image of the instance")
        instance.clean()
        instance.shutdown()
        image_id = self._subject.ec2.snapshot(instance, clean=False)
        return self._subject.launch_copy(image_id)

    def _probe_invariants(self) -> dict[str, str]:
        results = run_probes(self.instance.execute, {name: QUESTIONS[name] for name in KEPT}, timeout=ASK_TIMEOUT)
        return {name: result.text for name, result in results.items()}
