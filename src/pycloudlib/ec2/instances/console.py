"""The console of an instance (GetConsoleOutput).

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.api.retries import TRANSIENT_CODES
from pycloudlib.errors import CloudError, NoResponseError, PycloudlibTimeoutError
from pycloudlib.waiting import call_within, wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

TAIL_LINES = 20
"""Lines of the console log shown in an error."""

TAIL_PATIENCE = 2.0
"""Seconds beyond the deadline for which an error may wait for its console log."""

MARK_LENGTH = 1024
"""Characters at the end of a console log that identify its position. Timestamps make them unique."""

NO_LATEST_OUTPUT_CODES = frozenset({"InvalidParameterCombination", "UnsupportedOperation"})
"""Only Nitro-based instances support Latest; other instances have the output of their latest boot."""


@dataclass(frozen=True)
class ConsoleMark:
    """A position in a console log; the text after it belongs to a later boot.

    The mark is a text rather than a length, because EC2 keeps only the last 64 KiB.

    Args:
        tail: the text before the position; default: the beginning of the log.
    """

    tail: str = ""

    @classmethod
    def at_end_of(cls, text: str) -> ConsoleMark:
        """Return the mark of the end of a log.

        Args:
            text: the whole log.
        """
        return cls(text.rstrip()[-MARK_LENGTH:])

    def since(self, text: str) -> str:
        """Return the part of a log after the mark; all of it if the mark has disappeared.

        Args:
            text: the whole log.
        """
        if not self.tail:
            return text
        _, separator, after = text.rpartition(self.tail)
        return after if separator else text


class Console:
    """The console log of one instance.

    Args:
        client: the boto3 EC2 client.
        instance_id: the instance id.
    """

    def __init__(self, client: EC2Client, instance_id: str) -> None:
        self._client = client
        self._id = instance_id
        self._has_latest = True

    def read(self, deadline: Deadline = NEVER) -> str:
        """Return the console log, at most 64 KiB on AWS; empty if there is none yet (GetConsoleOutput).

        Args:
            deadline: when to stop waiting for EC2; default never.

        Raises:
            NoResponseError: EC2 did not respond in time.
            CloudError: EC2 rejected the request.
        """
        if self._has_latest:
            try:
                return self._output(deadline, latest=True)
            except CloudError as error:
                if error.code not in NO_LATEST_OUTPUT_CODES:
                    raise
                self._has_latest = False
        return self._output(deadline, latest=False)

    def wait_for_output(self, deadline: Deadline) -> str:
        """Wait for the first output, and return it. Tolerate transient errors.

        Args:
            deadline: when to give up.

        Raises:
            PycloudlibTimeoutError: there was no output in time; the message has the last error, if any.
            CloudError: EC2 rejected the request.
        """
        last_seen = ""

        def poll() -> str:
            nonlocal last_seen
            try:
                text, last_seen = self.read(deadline), ""
            except (CloudError, NoResponseError) as error:
                if isinstance(error, CloudError) and error.code not in TRANSIENT_CODES:
                    raise
                text, last_seen = "", str(error)
            return text

        return wait_until(
            poll,
            what=f"{self._id} to have a console log",
            deadline=deadline,
            interval=1.0,
            max_interval=10.0,
            last_seen=lambda: last_seen,
        )

    def read_if_possible(self, deadline: Deadline) -> str:
        """Return the console log, or an empty string if EC2 does not return it.

        Args:
            deadline: when to stop waiting for EC2.
        """
        # Do not call read() directly: it may outlast the deadline by some seconds.
        with suppress(CloudError, PycloudlibTimeoutError):
            return call_within(self.read, what=f"the console log of {self._id}", deadline=deadline)
        return ""

    def read_tail(self) -> str:
        """Return the end of the console log for an error; empty if EC2 does not return it within TAIL_PATIENCE."""
        text = self.read_if_possible(Deadline.after(TAIL_PATIENCE))
        return "\n".join(text.replace("\r", "").rstrip().splitlines()[-TAIL_LINES:])

    def _output(self, deadline: Deadline, *, latest: bool) -> str:
        ask = partial(self._client.get_console_output, InstanceId=self._id, Latest=latest)
        return responded(ask, what=f"give the console log of {self._id}", deadline=deadline).get("Output", "")
