"""The image under validation: launch an instance of it, run the probes, and keep the instance for further steps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pycloudlib.ec2.api.faults import translated
from pycloudlib.errors import InstanceError, PycloudlibError, SSHError
from pycloudlib.guest.probes import ProbeResult, run_probes
from pycloudlib.timeline.guest import QUESTIONS as TIMELINE_QUESTIONS
from pycloudlib.timeline.guest import boot_record
from pycloudlib.validation.facts import Facts, Launch
from pycloudlib.validation.questions import QUESTIONS, USER_DATA

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.ec2.instance import EC2Instance
    from pycloudlib.timeline.model import BootRecord

logger = logging.getLogger(__name__)

MORE_GIB = 2
"""GiB by which the root volume exceeds the image, so that the file system can grow."""

ASK_TIMEOUT = 900.0
"""Seconds for all probes: under emulation, programs start slowly."""

CONSOLE_TIMEOUT = 300.0
"""Seconds until the console log must be available; on AWS it takes some minutes."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """The launch options of a validation.

    Args:
        image_id: the AMI id.
        instance_type: the instance type; default "t3.micro".
        username: the login user; default the image's.
        boot_timeout: seconds until the login must succeed and cloud-init must finish; default the setting's.
        label: the label of the image in pictures; default its name.
    """

    image_id: str
    instance_type: str = "t3.micro"
    username: str | None = None
    boot_timeout: float | None = None
    label: str = ""


class Subject:
    """An image and its instances; the owner of `ec2` cleans up.

    Args:
        ec2: the EC2 session.
        request: the launch options.
        progress: called with one line for each step; default none.
    """

    def __init__(self, ec2: EC2, request: Request, progress: Progress = lambda _: None) -> None:
        self._ec2 = ec2
        self._request = request
        self._image = ec2.image(request.image_id)
        self.progress = progress
        self.instance: EC2Instance | None = None
        self.record: BootRecord | None = None

    @property
    def ec2(self) -> EC2:
        """The EC2 session."""
        return self._ec2

    @property
    def image_name(self) -> str:
        """The name of the image, or else its id."""
        return self._image.name or self._image.id

    def launch(self) -> Facts:
        """Launch an instance in its own network, wait for it, and run all probes.

        Raises:
            PycloudlibError: EC2 rejected a request. A failed boot is a finding instead.
        """
        self.progress(f"launching {self._image.id} ({self.image_name})")
        self.instance, facts, self.record = self._launched(self._image.id)
        return facts

    def launch_copy(self, image_id: str) -> Facts:
        """Launch an image that was created from the instance, run all probes, and delete the new instance.

        Args:
            image_id: the AMI id.
        """
        self.progress(f"launching {image_id}, the image of the instance")
        copy, facts, _ = self._launched(image_id)
        copy.delete(wait=False)
        return facts

    def _launched(self, image_id: str) -> tuple[EC2Instance, Facts, BootRecord | None]:
        size = self._image.root_size_gb + MORE_GIB
        instance = self._ec2.launch(
            image_id,
            self._request.instance_type,
            USER_DATA,
            self._ec2.get_or_create_vpc(self._ec2.tag),
            wait=False,
            disk_size_gb=size,
            # The name of an image of the instance does not reveal the login user.
            username=self.instance.username if self.instance else self._request.username,
            enable_ipv6=True,
            MetadataOptions={"HttpTokens": "required", "HttpEndpoint": "enabled"},
        )
        if self._request.boot_timeout is not None:
            instance.boot_timeout = self._request.boot_timeout
        error = self._wait(instance)
        facts = Facts(
            launch=self._launch_of(instance, image_id, size),
            # A failed wait for a login has already waited for the console.
            console=_console(instance, CONSOLE_TIMEOUT if instance.timeline.logged_in else 0.0),
            boot_error=error,
            logged_in_after=instance.timeline.logged_in,
        )
        if facts.logged_in_after is None:
            self.progress(f"no login to {instance.id} succeeded")
            return instance, replace(facts, not_asked="no login to the instance succeeded"), None
        self.progress(f"logged in to {instance.id} after {facts.logged_in_after:.0f} s; running the probe")
        try:
            results = run_probes(instance.execute, {**TIMELINE_QUESTIONS, **QUESTIONS}, timeout=ASK_TIMEOUT)
        except SSHError as error:
            return instance, replace(facts, not_asked=str(error)), None
        record = boot_record(
            results,
            instance.timeline,
            label=self._request.label or self.image_name,
            image_id=image_id,
            instance_id=instance.id,
        )
        return instance, replace(facts, answers=_check_results(results)), record

    def _wait(self, instance: EC2Instance) -> str:
        """Return why the boot failed; empty if it succeeded. Separate checks report a cloud-init error."""
        try:
            instance.wait(cloud_init_failure="warn")
        except InstanceError as error:
            return str(error)
        return ""

    def _launch_of(self, instance: EC2Instance, image_id: str, size: int) -> Launch:
        with translated():
            described = self._ec2.client.describe_instances(InstanceIds=[instance.id])
        record: Any = described["Reservations"][0]["Instances"][0]
        interfaces: Any = record.get("NetworkInterfaces", [])
        return Launch(
            instance_id=instance.id,
            image_id=image_id,
            image_name=self.image_name,
            image_size_gb=self._image.root_size_gb,
            volume_size_gb=size,
            username=instance.username,
            public_key=instance.key_pair.public_key_content if instance.key_pair else "",
            private_ip=record.get("PrivateIpAddress", ""),
            ipv6_addresses=tuple(
                address["Ipv6Address"] for interface in interfaces for address in interface.get("Ipv6Addresses", [])
            ),
            private_dns_name=record.get("PrivateDnsName", ""),
            boot_timeout=instance.boot_timeout,
        )


def _console(instance: EC2Instance, timeout: float) -> str:
    try:
        return instance.console_log(timeout=timeout)
    except PycloudlibError as error:
        logger.warning("no console log: %s", error)
        return ""


def _check_results(results: dict[str, ProbeResult]) -> dict[str, ProbeResult]:
    return {name: results[name] for name in QUESTIONS}
