"""What a launch asks for, seen from inside the machine; and logging in with each kind of key."""

from __future__ import annotations

from collections.abc import Iterator
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.ec2.instances.description import InstanceState

pytestmark = pytest.mark.vm

DISK_SIZE_GB = 13


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, KeyPair]:
    directory = tmp_path_factory.mktemp("keys")
    return {key_type: KeyPair.generate(directory, key_type=key_type) for key_type in ("ed25519", "rsa")}


@pytest.fixture(scope="module")
def launched(
    settings_file: Path, image_id: str, keys: dict[str, KeyPair], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EC2Instance]:
    """A protected machine with a key that EC2 made, and user data of several parts that let in two more."""
    lines = ["#cloud-config", "ssh_authorized_keys:", *(f"- {key.public_key_content}" for key in keys.values())]
    message = MIMEMultipart()
    message.attach(MIMEText("\n".join(lines), "cloud-config"))
    message.attach(MIMEText("#!/bin/sh\necho 'gr\u00fc\u00df dich' >/var/tmp/greeting\n", "x-shellscript"))
    with EC2("launch", config_file=settings_file) as ec2:
        pem = tmp_path_factory.mktemp("pem") / "ec2s.pem"
        made = ec2.client.create_key_pair(KeyName="ec2s", KeyFormat="pem")
        ec2.use_key(KeyPair.save(pem, made["KeyMaterial"]).private_key_path, name="ec2s")
        instance = ec2.launch(
            image_id,
            "t3.small",
            message,
            disk_size_gb=DISK_SIZE_GB,
            DisableApiTermination=True,
            Placement={"AvailabilityZone": f"{ec2.region}b"},
        )
        yield instance
        instance.termination_protection = False
    assert instance.state is InstanceState.TERMINATED


def test_user_data_of_several_parts_is_all_heeded(launched: EC2Instance) -> None:
    assert launched.execute("cat /var/tmp/greeting").check() == "gr\u00fc\u00df dich"


def test_the_disk_has_the_size_asked_for(launched: EC2Instance) -> None:
    size = launched.execute("lsblk --bytes --nodeps --noheadings --output SIZE /dev/nvme0n1").check()
    assert int(size) == DISK_SIZE_GB * 2**30


def test_the_machine_is_in_the_zone_asked_for(launched: EC2Instance) -> None:
    assert launched.availability_zone.endswith("b")
    assert launched.execute("cloud-init query availability_zone").check() == launched.availability_zone


def test_a_pem_file_of_ec2s_own_key_lets_in(launched: EC2Instance) -> None:
    assert launched.key_pair is not None
    assert launched.key_pair.name == "ec2s"
    assert "RSA PRIVATE KEY" in launched.key_pair.private_key_path.read_text()
    assert launched.execute("whoami").check() == launched.username


@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_each_type_of_key_lets_in(
    launched: EC2Instance, keys: dict[str, KeyPair], key_type: str, settings_file: Path
) -> None:
    other = EC2("other", config_file=settings_file)
    other.use_key(keys[key_type].public_key_path)
    found = other.get_instance(launched.id)
    assert found.key_pair == keys[key_type]
    assert found.execute("whoami").check() == launched.username


def test_a_protected_machine_goes_on(launched: EC2Instance) -> None:
    (error,) = launched.delete()
    assert "has termination protection" in str(error)
    assert launched.execute("echo still here").check() == "still here"


def test_the_console_log_is_complete(launched: EC2Instance) -> None:
    log = launched.console_log()
    assert "Linux version" in log
    assert "Cloud-init v." in log
    assert "login:" in log
