"""Suites that run on several clouds import the names of all of them."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import pytest

import pycloudlib
from pycloudlib.cloud import BaseCloud
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.errors import CloudSetupError, PycloudlibException
from pycloudlib.instance import BaseInstance
from pycloudlib.other_clouds import NotSupported

CLOUDS = (
    "Azure",
    "GCE",
    "IBM",
    "IBMClassic",
    "LXD",
    "LXDContainer",
    "LXDVirtualMachine",
    "OCI",
    "Openstack",
    "Qemu",
    "VMWare",
)

NAMES = {
    "pycloudlib.azure.cloud": ["Azure"],
    "pycloudlib.azure.instance": ["AzureInstance"],
    "pycloudlib.azure.util": ["AzureCreateParams", "AzureParams"],
    "pycloudlib.gce.cloud": ["GCE"],
    "pycloudlib.gce.errors": ["GceException"],
    "pycloudlib.gce.instance": ["GceInstance"],
    "pycloudlib.gce.util": ["raise_on_error"],
    "pycloudlib.ibm.cloud": ["IBM"],
    "pycloudlib.ibm.errors": ["IBMCapacityException", "IBMException"],
    "pycloudlib.ibm.instance": ["IBMInstance"],
    "pycloudlib.ibm_classic.cloud": ["IBMClassic"],
    "pycloudlib.ibm_classic.errors": ["IBMClassicException"],
    "pycloudlib.ibm_classic.instance": ["IBMClassicInstance"],
    "pycloudlib.lxd.cloud": ["BaseCloud", "LXD", "LXDContainer", "LXDVirtualMachine", "_BaseLXD"],
    "pycloudlib.lxd.instance": ["BaseInstance", "LXDInstance", "LXDVirtualMachineInstance"],
    "pycloudlib.oci.cloud": ["OCI"],
    "pycloudlib.oci.instance": ["OciInstance"],
    "pycloudlib.openstack.cloud": ["Openstack"],
    "pycloudlib.openstack.errors": ["OpenStackError"],
    "pycloudlib.openstack.instance": ["OpenstackInstance"],
    "pycloudlib.qemu.cloud": ["Qemu"],
    "pycloudlib.qemu.instance": ["QemuInstance"],
    "pycloudlib.vmware.cloud": ["VMWare"],
    "pycloudlib.vmware.instance": ["VMWareInstance"],
}
"""The names that suites written for pycloudlib import, by module."""


def members() -> list[object]:
    return [getattr(import_module(module), name) for module, names in NAMES.items() for name in names]


def uninstantiable() -> list[type]:
    return [member for member in members() if inspect.isclass(member) and issubclass(member, NotSupported)]


def test_every_name_of_another_cloud_can_be_imported() -> None:
    missing = [
        f"{module}.{name}"
        for module, names in NAMES.items()
        for name in names
        if name not in vars(import_module(module))
    ]
    assert missing == []


@pytest.mark.parametrize("name", CLOUDS)
def test_clouds_are_names_of_the_package(name: str) -> None:
    cloud = getattr(pycloudlib, name)
    assert cloud.__name__ == name
    assert issubclass(cloud, BaseCloud)
    assert name in dir(pycloudlib)


def test_no_class_of_another_cloud_is_one_of_ec2() -> None:
    assert len(uninstantiable()) == 24
    for cls in uninstantiable():
        assert not issubclass(EC2, cls)
        assert not issubclass(EC2Instance, cls)
        assert not isinstance("an object", cls)


def test_instances_of_other_clouds_are_base_instances() -> None:
    of_instances = [cls for cls in uninstantiable() if cls.__module__.endswith(".instance")]
    assert len(of_instances) == 10
    assert all(issubclass(cls, BaseInstance) for cls in of_instances)


@pytest.mark.parametrize("cls", uninstantiable(), ids=lambda cls: cls.__name__)
def test_instantiation_reports_that_only_ec2_is_supported(cls: type) -> None:
    with pytest.raises(CloudSetupError, match=f"supports Amazon EC2 only, so {cls.__name__} cannot be used; install"):
        cls(tag="test")


def test_raise_on_error_of_gce_reports_that_only_ec2_is_supported() -> None:
    with pytest.raises(CloudSetupError, match="supports Amazon EC2 only"):
        pycloudlib.gce.util.raise_on_error({})


def test_errors_of_other_clouds_can_be_caught() -> None:
    caught = [member for member in members() if inspect.isclass(member) and issubclass(member, PycloudlibException)]
    assert len(caught) == 5


def test_every_submodule_is_an_attribute_of_the_package() -> None:
    for module in pkgutil.iter_modules(pycloudlib.__path__):
        if not module.name.startswith("_"):
            assert getattr(pycloudlib, module.name).__name__ == f"pycloudlib.{module.name}"


@pytest.mark.parametrize("module", NAMES)
def test_modules_of_a_cloud_are_attributes_of_its_package(module: str) -> None:
    package, _, name = module.rpartition(".")
    assert getattr(import_module(package), name).__name__ == module
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        import_module(package).nothing  # noqa: B018
