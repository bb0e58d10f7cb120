"""A local EC2 of real machines, and one machine that the tests which disturb nothing share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.local import LocalEC2
from support.default_images import only_default_images
from support.processes import machines_of
from support.vm_release import RELEASE

USER_DATA = """#!/bin/sh
echo "user data ran as $(id -un)" >/var/tmp/user-data-ran
"""


NETWORK = os.environ.get("PYCLOUDLIB_VM_NETWORK", "auto")
"""The network of the shared machines: "user" for user networking where there is a better one."""


@pytest.fixture(scope="session", autouse=True)
def own_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the other images of the user's catalog from the tests."""
    with only_default_images(tmp_path_factory.mktemp("data")):
        yield


@pytest.fixture(scope="session")
def local() -> Iterator[LocalEC2]:
    with LocalEC2(network=NETWORK) as local:
        yield local
        pid = local.info.pid
        assert machines_of(pid) == [], "a test left a machine running"


@pytest.fixture(scope="session")
def settings_file(local: LocalEC2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("settings")
    key_pair = KeyPair.generate(directory)
    path = directory / "pycloudlib.toml"
    path.write_text(local.info.settings_toml(public_key_path=key_pair.public_key_path))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="session")
def shared_ec2(settings_file: Path) -> Iterator[EC2]:
    with EC2("shared", config_file=settings_file) as ec2:
        yield ec2


@pytest.fixture
def ec2(settings_file: Path) -> Iterator[EC2]:
    with EC2("test", config_file=settings_file) as ec2:
        yield ec2


@pytest.fixture(scope="session")
def image_id(shared_ec2: EC2) -> str:
    return shared_ec2.daily_image(RELEASE)


@pytest.fixture(scope="session")
def instance(shared_ec2: EC2, image_id: str) -> EC2Instance:
    """A machine that every test finds running, and leaves so."""
    return shared_ec2.launch(image_id, user_data=USER_DATA, disk_size_gb=11, MetadataOptions={"HttpTokens": "required"})
