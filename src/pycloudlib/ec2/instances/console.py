"""The console of an instance (GetConsoleOutput).

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.retries import NOT_YET_VISIBLE_CODES, PASSING_CODES
from pycloudlib.errors import CloudError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

NO_LATEST_OUTPUT_CODES = frozenset({"InvalidParameterCombination", "UnsupportedOperation"})
"""Only instances built on Nitro have a latest output; the others have that of their latest boot."""


class Console:
    """What one machine printed.

    Args:
        client: the boto3 EC2 client.
        instance_id: the machine.
    """

    def __init__(self, client: EC2Client, instance_id: str) -> None:
        self._client = client
        self._id = instance_id
        self._has_latest = True

    def read(self) -> str:
        """Read what is there: 64 KiB at most, on AWS; empty when there is nothing yet.

        Raises:
            CloudError: EC2 refused.
        """
        if self._has_latest:
            try:
                return self._output(latest=True)
            except CloudError as error:
                if error.code not in NO_LATEST_OUTPUT_CODES:
                    raise
                self._has_latest = False
        return self._output(latest=False)

    def read_in_time(self) -> str:
        """Read what is there, for those who ask again: empty when EC2 cannot answer for the moment.

        Raises:
            CloudError: EC2 refused.
        """
        try:
            return self.read()
        except CloudError as error:
            if error.code not in PASSING_CODES and error.code not in NOT_YET_VISIBLE_CODES:
                raise
        return ""

    def read_if_possible(self) -> str:
        """Read what is there, for those who can do without: empty when EC2 does not give it."""
        with suppress(CloudError):
            return self.read()
        return ""

    def _output(self, *, latest: bool) -> str:
        with translated():
            return self._client.get_console_output(InstanceId=self._id, Latest=latest).get("Output", "")
