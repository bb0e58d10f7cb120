"""A cloud test harness: launch, drive, snapshot, and delete EC2 instances.

The public names and the submodules are imported on first use, so that `import pycloudlib` loads neither boto3 nor
paramiko.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pycloudlib.submodules import lazy_submodules

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

_OTHER_CLOUDS = {
    "Azure": "pycloudlib.azure.cloud",
    "GCE": "pycloudlib.gce.cloud",
    "IBM": "pycloudlib.ibm.cloud",
    "IBMClassic": "pycloudlib.ibm_classic.cloud",
    "LXD": "pycloudlib.lxd.cloud",
    "LXDContainer": "pycloudlib.lxd.cloud",
    "LXDVirtualMachine": "pycloudlib.lxd.cloud",
    "OCI": "pycloudlib.oci.cloud",
    "Openstack": "pycloudlib.openstack.cloud",
    "Qemu": "pycloudlib.qemu.cloud",
    "VMWare": "pycloudlib.vmware.cloud",
}
"""pycloudlib's other clouds: test suites import their names, but cannot instantiate them here."""

__all__ = ["EC2", "VPC", "EC2Instance", "Fleet", "ImageType", "KeyPair", "Result"]

_get_submodule = lazy_submodules(__name__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Import lazily: this takes half of the module's import time.
        from importlib.metadata import version  # noqa: PLC0415

        globals()[name] = version("pycloudlib-ec2")
        return globals()[name]
    module = _MODULES.get(name) or _OTHER_CLOUDS.get(name)
    if module:
        value = getattr(import_module(module), name)
        globals()[name] = value
        return value
    return _get_submodule(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_OTHER_CLOUDS, "__version__"})
