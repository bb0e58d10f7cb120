"""ImportKeyPair, DescribeKeyPairs and DeleteKeyPair, through EC2."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.key_pairs import is_same_key
from pycloudlib.errors import KeyPairError
from pycloudlib.key import KeyPair


def test_an_uploaded_key_is_listed_and_clean_deletes_it(ec2: EC2, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path)
    ec2.upload_key(pair.public_key_path, name=f"{ec2.tag}-uploaded")
    assert f"{ec2.tag}-uploaded" in ec2.list_keys()
    assert ec2.clean() == []
    assert f"{ec2.tag}-uploaded" not in ec2.list_keys()


def test_the_uploaded_key_is_the_one_that_was_given(ec2: EC2, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path)
    ec2.upload_key(pair.public_key_path)
    (record,) = ec2.client.describe_key_pairs(KeyNames=[ec2.tag], IncludePublicKey=True)["KeyPairs"]
    assert is_same_key(pair.public_key_content, record)


def test_an_rsa_key_can_be_uploaded(ec2: EC2, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path, key_type="rsa")
    ec2.upload_key(pair.public_key_path)
    assert ec2.tag in ec2.list_keys()


def test_uploading_the_same_key_twice_is_fine(ec2: EC2, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path)
    ec2.upload_key(pair.public_key_path)
    ec2.upload_key(pair.public_key_path)
    assert ec2.list_keys().count(ec2.tag) == 1


def test_another_key_under_the_same_name_is_refused(ec2: EC2, tmp_path: Path) -> None:
    ec2.upload_key(KeyPair.generate(tmp_path, "one").public_key_path)
    with pytest.raises(KeyPairError, match=ec2.tag):
        ec2.upload_key(KeyPair.generate(tmp_path, "other").public_key_path)


def test_a_deleted_key_is_gone_and_deleting_it_again_is_fine(ec2: EC2, tmp_path: Path) -> None:
    ec2.upload_key(KeyPair.generate(tmp_path).public_key_path)
    ec2.delete_key(ec2.tag)
    assert ec2.tag not in ec2.list_keys()
    ec2.delete_key(ec2.tag)


def test_a_launch_uploads_the_key_in_use(ec2: EC2, image_id: str) -> None:
    ec2.launch(image_id, wait=False)
    (name,) = ec2.created_keys
    assert name in ec2.list_keys()


def test_create_key_pair_uploads_nothing(ec2: EC2) -> None:
    before = set(ec2.list_keys())
    public, _ = ec2.create_key_pair()
    assert public.startswith("ssh-ed25519 ")
    assert set(ec2.list_keys()) == before


@pytest.mark.parametrize("endpoint", ["simulated", "old"], indirect=True)  # moto has fingerprints of its own
@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_key_pairs_are_listed_with_their_fingerprints(ec2: EC2, tmp_path: Path, key_type: str) -> None:
    pair = KeyPair.generate(tmp_path, key_type=key_type)
    ec2.upload_key(pair.public_key_path)
    (found,) = [found for found in ec2.key_pairs() if found.name == ec2.tag]
    assert is_same_key(pair.public_key_content, {"KeyFingerprint": found.fingerprint})
    assert found.tags.get("Name", ec2.tag) == ec2.tag


def test_a_key_that_was_created_here_is_written_uploaded_used_and_deleted(
    ec2: EC2, image_id: str, tmp_path: Path
) -> None:
    _, private = ec2.create_key_pair()
    pair = KeyPair.save(tmp_path / "mine", private)
    assert pair.private_key_path.stat().st_mode & 0o777 == 0o600
    ec2.upload_key(pair.public_key_path, name=f"{ec2.tag}-mine")
    instance = ec2.launch(image_id, wait=False)
    described = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    assert described["KeyName"] == f"{ec2.tag}-mine"
    assert instance.key_pair.private_key_path == pair.private_key_path
    ec2.delete_key(f"{ec2.tag}-mine")
    assert f"{ec2.tag}-mine" not in ec2.list_keys()


@pytest.mark.parametrize("endpoint", ["moto", "simulated"], indirect=True)
def test_a_pem_file_of_ec2s_own_key_pair_can_be_used(ec2: EC2, image_id: str, tmp_path: Path) -> None:
    name = f"{ec2.tag}-ec2s"
    material = ec2.client.create_key_pair(KeyName=name)["KeyMaterial"]
    try:
        pem = tmp_path / "ec2s.pem"
        pem.write_text(material)
        ec2.use_key(pem, name=name)
        assert ec2.launch(image_id, wait=False).key_pair.private_key_path == pem
    finally:
        ec2.delete_key(name)
