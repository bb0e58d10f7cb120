"""What is known about a machine that was launched from the image: all that checks judge, as plain texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pycloudlib.guest.questions import Answer
from pycloudlib.validation.verdicts import not_applicable

NOT_FOUND = 127
"""The exit status of a shell that does not find the program."""

CLOCK_SLACK = 5
"""Seconds by which the guest's clock may be set, and its start be rounded, after files were written."""


@dataclass(frozen=True)
class Launch:
    """What was launched.

    Args:
        instance_id: the machine.
        image_id: the AMI.
        image_name: its name.
        image_size_gb: GiB of its root volume.
        volume_size_gb: GiB of the root volume that the machine got.
        username: who logs in.
        public_key: the key that it was launched with, as in authorized_keys.
        private_ip: its private IPv4 address.
        ipv6_addresses: its IPv6 addresses; empty when it has none.
        private_dns_name: what EC2 calls it inside the VPC; empty when EC2 does not.
        boot_timeout: seconds within which somebody must be able to log in.
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
    """What is known about one boot of a machine.

    Args:
        launch: what was launched.
        console: its console log; empty when EC2 gives none.
        boot_error: why it was given up; empty when it became ready.
        logged_in_after: seconds from the launch until somebody could log in; None when nobody could.
        answers: what its guest answered; empty when it could not be asked.
        not_asked: why it could not be asked; empty when it was.
    """

    launch: Launch
    console: str = ""
    boot_error: str = ""
    logged_in_after: float | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    not_asked: str = ""

    def answer(self, question: str) -> Answer:
        """What the guest answered; a check of a guest that could not be asked does not apply.

        Args:
            question: its name, as in `questions.QUESTIONS`.
        """
        if not self.answers:
            not_applicable(self.not_asked or "the guest could not be asked")
        return self.answers[question]

    def text(self, question: str) -> str:
        """The text of an answer, whatever its exit status."""
        return self.answer(question).text

    def lines(self, question: str) -> list[str]:
        """The lines of an answer that are not empty."""
        return self.answer(question).lines

    def console_text(self) -> str:
        """The console log; a check of a machine without one does not apply."""
        if not self.console:
            not_applicable("EC2 gives no console log of this machine")
        return self.console

    def to_json(self) -> str:
        """Write all of it as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Read what to_json() wrote."""
        told: dict[str, Any] = json.loads(text)
        launch = dict(told["launch"])
        launch["ipv6_addresses"] = tuple(launch["ipv6_addresses"])
        answers = {name: Answer(**answer) for name, answer in told["answers"].items()}
        return cls(**{**told, "launch": Launch(**launch), "answers": answers})
