from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest

import pycloudlib

SURFACE = {
    "pycloudlib": ["EC2", "EC2Instance", "Fleet", "ImageType", "KeyPair", "Result", "VPC"],
    "pycloudlib.cloud": ["BaseCloud", "ImageType"],
    "pycloudlib.instance": ["BaseInstance"],
    "pycloudlib.ec2.cloud": ["EC2"],
    "pycloudlib.ec2.instance": ["EC2Instance"],
    "pycloudlib.ec2.fleet": ["Fleet"],
    "pycloudlib.ec2.vpc": ["VPC"],
    "pycloudlib.result": ["Result"],
    "pycloudlib.key": ["KeyPair"],
    "pycloudlib.config": ["parse_config", "Config", "ConfigFile"],
    "pycloudlib.util": ["get_timestamped_tag", "LTS_RELEASES", "UBUNTU_RELEASE_VERSION_MAP"],
    "pycloudlib.errors": [
        "CleanupError",
        "CloudError",
        "CloudSetupError",
        "ImageNotFoundError",
        "InstanceNotFoundError",
        "InvalidTagNameError",
        "MissingPrerequisiteError",
        "NetworkNotFoundError",
        "PycloudlibError",
        "PycloudlibException",
        "PycloudlibTimeoutError",
        "ResourceNotFoundError",
        "ResourceType",
        "UnsetSSHKeyError",
    ],
}
"""The names that suites import, by module."""

SLOW = ("asyncio", "boto3", "botocore", "cryptography", "moto", "paramiko", "tenacity", "toml")
"""What importing the package does not load."""


def all_modules() -> list[str]:
    found = pkgutil.walk_packages(pycloudlib.__path__, prefix="pycloudlib.")
    return ["pycloudlib", *(module.name for module in found if not module.name.endswith("__main__"))]


def public_members(module: ModuleType) -> Iterator[tuple[str, object]]:
    for name, member in vars(module).items():
        defined_here = getattr(member, "__module__", None) == module.__name__
        if not defined_here or name.startswith("_") or not (inspect.isclass(member) or inspect.isfunction(member)):
            continue
        yield f"{module.__name__}.{name}", member
        if inspect.isclass(member):
            yield from public_methods(module, member)


def public_methods(module: ModuleType, cls: type) -> Iterator[tuple[str, object]]:
    for name, raw in vars(cls).items():
        documentable = inspect.isfunction(raw) or isinstance(raw, (property, classmethod, staticmethod))
        if documentable and not name.startswith("_"):
            # Through the class, because a method's documentation may be that of its base.
            yield f"{module.__name__}.{cls.__name__}.{name}", getattr(cls, name)


def run_fresh(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_names_that_suites_import_are_there() -> None:
    names = [(module, name) for module, names in SURFACE.items() for name in names]
    assert [f"{module}.{name}" for module, name in names if not hasattr(import_module(module), name)] == []


def test_everything_the_package_announces_is_there() -> None:
    assert sorted(pycloudlib.__all__) == sorted(SURFACE["pycloudlib"])
    assert set(pycloudlib.__all__) <= set(dir(pycloudlib))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pycloudlib' has no attribute 'Gce'"):
        pycloudlib.Gce  # noqa: B018
    assert not hasattr(pycloudlib, "_private")


@pytest.mark.parametrize("path", ["util.get_timestamped_tag", "errors.PycloudlibError", "ec2.instance.EC2Instance"])
def test_submodule_is_loaded_on_first_use(path: str) -> None:
    program = f"import sys, pycloudlib; before = sorted(sys.modules); print(pycloudlib.{path}.__name__, before)"
    name, _, before = run_fresh(program).partition(" ")
    assert name in (path.rpartition(".")[2], "timestamped")
    assert "pycloudlib.errors" not in before


def test_package_has_a_version() -> None:
    assert pycloudlib.__version__[0].isdigit()


def test_every_public_name_is_documented() -> None:
    undocumented = []
    for name in all_modules():
        module = import_module(name)
        members = [(name, module), *public_members(module)]
        undocumented += [member for member, value in members if not inspect.getdoc(value)]
    assert undocumented == []


def test_importing_the_package_loads_nothing_slow() -> None:
    program = f"import sys, pycloudlib; print([name for name in {SLOW} if name in sys.modules])"
    assert run_fresh(program) == "[]"


def test_keys_settings_and_tags_load_no_cloud_and_no_ssh() -> None:
    modules = "pycloudlib.config, pycloudlib.key, pycloudlib.tags, pycloudlib.lifecycle, pycloudlib.util"
    slow = [name for name in SLOW if name != "toml"]
    assert run_fresh(f"import sys, {modules}; print([name for name in {slow} if name in sys.modules])") == "[]"
