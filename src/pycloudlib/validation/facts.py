"""The findings about an instance of the image, as plain text: the input of all checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pycloudlib.guest.probes import ProbeResult
from pycloudlib.validation.verdicts import not_applicable

NOT_FOUND = 127
"""A shell's exit status for a missing program."""

CLOCK_SLACK = 5
"""The tolerance in seconds for clock adjustments after files were written, and for the rounding of the boot time."""


@dataclass(frozen=True)
class Launch:
    """The launch of the instance.

    Args:
        instance_id: the instance id.
        image_id: the AMI id.
        image_name: the name of the image.
        image_size_gb: the size of the image's root volume in GiB.
        volume_size_gb: the size of the instance's root volume in GiB.
        username: the login user.
        public_key: the public key of the launch, in the format of authorized_keys.
        private_ip: the private IPv4 address.
        ipv6_addresses: the IPv6 addresses; default none.
        private_dns_name: the private DNS name; empty without one.
        boot_timeout: seconds within which a login must succeed; default 600.
    """

    instance_id: str
    image_id: str
    image_name: str = ""
    image_size_gb: int = 0
    volume_size_gb: int = 0
    username: str = ""
    public_key: str = ""
    private_ip: str = ""
    ipv6_addresses: tuple[str, ...] = ()
    private_dns_name: str = ""
    boot_timeout: float = 600.0


@dataclass(frozen=True)
class Facts:
    """The findings about one boot of an instance.

    Args:
        launch: the launch.
        console: the console log; empty if EC2 returns none.
        boot_error: why the boot failed; empty if the instance became ready.
        logged_in_after: seconds from the launch until the first login; None without one.
        answers: the results of the guest's probes; empty if they could not run.
        not_asked: why the probes could not run; empty if they did.
    """

    launch: Launch
    console: str = ""
    boot_error: str = ""
    logged_in_after: float | None = None
    answers: Mapping[str, ProbeResult] = field(default_factory=dict)
    not_asked: str = ""

    def answer(self, question: str) -> ProbeResult:
        """Return the result of a probe. Skip the check if the probes could not run.

        Args:
            question: the name of the probe, as in `questions.QUESTIONS`.
        """
        if not self.answers:
            not_applicable(self.not_asked or "the probe of the guest failed")
        return self.answers[question]

    def text(self, question: str) -> str:
        """Return the output of a probe, regardless of its exit status."""
        return self.answer(question).text

    def lines(self, question: str) -> list[str]:
        """Return the nonempty lines of a probe's output."""
        return self.answer(question).lines

    def console_text(self) -> str:
        """Return the console log. Skip the check if there is none."""
        if not self.console:
            not_applicable("EC2 has no console log of this instance")
        return self.console

    def to_json(self) -> str:
        """Serialize the findings as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Parse the JSON of `to_json()`."""
        document: dict[str, Any] = json.loads(text)
        launch = dict(document["launch"])
        launch["ipv6_addresses"] = tuple(launch["ipv6_addresses"])
        answers = {name: ProbeResult(**answer) for name, answer in document["answers"].items()}
        return cls(**{**document, "launch": Launch(**launch), "answers": answers})
