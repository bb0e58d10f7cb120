"""Asking the metadata service from inside a guest, as IMDSv2 wants it."""

from __future__ import annotations

_PROGRAM = """
import sys, urllib.request as http
base = "http://169.254.169.254/latest/"
lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
token = http.urlopen(http.Request(base + "api/token", headers=lifetime, method="PUT")).read().decode()
asked = http.Request(base + "meta-data/" + sys.argv[1], headers={"X-aws-ec2-metadata-token": token})
print(http.urlopen(asked).read().decode())
"""


def asking_imds(path: str) -> list[str]:
    """The command that prints what the metadata service of its guest says.

    Args:
        path: below latest/meta-data/.
    """
    return ["python3", "-c", _PROGRAM, path]
