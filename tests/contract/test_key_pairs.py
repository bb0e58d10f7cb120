"""ImportKeyPair, DescribeKeyPairs and DeleteKeyPair, through EC2."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.ec2.cloud import EC2
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
    assert record["PublicKey"].split()[:2] == pair.public_key_content.split()[:2]


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
