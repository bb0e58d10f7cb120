"""A cloud test harness: launch, drive, snapshot and delete EC2 instances.

The public names are imported when they are first used, so that `import pycloudlib` loads neither boto3 nor paramiko.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pycloudlib.cloud import ImageType
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.ec2.fleet import Fleet
    from pycloudlib.ec2.instance import EC2Instance
    from pycloudlib.ec2.vpc import VPC
    from pycloudlib.key import KeyPair
    from pycloudlib.result import Result

_MODULES = {
    "EC2": "pycloudlib.ec2.cloud",
    "EC2Instance": "pycloudlib.ec2.instance",
    "Fleet": "pycloudlib.ec2.fleet",
    "ImageType": "pycloudlib.cloud",
    "KeyPair": "pycloudlib.key",
    "Result": "pycloudlib.result",
    "VPC": "pycloudlib.ec2.vpc",
}

__all__ = ["EC2", "VPC", "EC2Instance", "Fleet", "ImageType", "KeyPair", "Result"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Half of this module's time, so only who asks for it pays for it.
        from importlib.metadata import version  # noqa: PLC0415

        return version("pycloudlib-ec2")
    if name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, "__version__"])
