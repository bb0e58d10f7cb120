from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.ec2.key_pairs import KIND, KeyPairs, is_same_key
from pycloudlib.errors import KeyPairError, PermissionDeniedError
from pycloudlib.key import KeyPair
from pycloudlib.lifecycle import Ledger
from pycloudlib.tags import Ownership
from support.scripted_ec2 import ScriptedEC2
from support.sshd import make_key


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def key_pairs(moto_client, ledger: Ledger) -> KeyPairs:
    return KeyPairs(moto_client, ledger=ledger, ownership=Ownership("run", "me@here"), prefix="test")


def test_an_uploaded_key_is_listed_tagged_and_recorded(key_pairs: KeyPairs, moto_client, ledger, tmp_path) -> None:
    key_pairs.upload(KeyPair.generate(tmp_path), "uploaded")
    (record,) = moto_client.describe_key_pairs(KeyNames=["uploaded"])["KeyPairs"]
    assert {"Key": "pycloudlib:owner", "Value": "me@here"} in record["Tags"]
    assert "uploaded" in key_pairs.names()
    assert ledger.ids(KIND) == ["uploaded"]


def test_undoing_the_upload_deletes_it_from_ec2(key_pairs: KeyPairs, ledger: Ledger, tmp_path: Path) -> None:
    key_pairs.upload(KeyPair.generate(tmp_path), "undone")
    assert ledger.undo_all() == []
    assert "undone" not in key_pairs.names()


def test_the_same_key_under_the_same_name_is_fine_and_stays_its_owners(
    key_pairs, moto_client, ledger, tmp_path
) -> None:
    pair = KeyPair.generate(tmp_path)
    moto_client.import_key_pair(KeyName="theirs", PublicKeyMaterial=pair.public_key_content.encode())
    key_pairs.upload(pair, "theirs")
    assert ledger.ids(KIND) == []


def test_another_key_under_the_same_name_is_refused(key_pairs: KeyPairs, ledger: Ledger, tmp_path: Path) -> None:
    key_pairs.upload(KeyPair.generate(tmp_path, "one"), "taken")
    with pytest.raises(KeyPairError, match="another key under the name 'taken'"):
        key_pairs.upload(KeyPair.generate(tmp_path, "other"), "taken")
    assert ledger.ids(KIND) == ["taken"]


def test_a_launch_gets_the_name_that_the_key_has(key_pairs: KeyPairs, ledger: Ledger, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path)
    assert key_pairs.name_for_launch(KeyPair(pair.public_key_path, pair.private_key_path, "known")) == "known"
    assert ledger.ids(KIND) == []


def test_a_key_without_a_name_is_uploaded_by_the_first_launch(key_pairs: KeyPairs, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path)
    name = key_pairs.name_for_launch(pair)
    assert name.startswith("test-")
    assert key_pairs.name_for_launch(pair) == name
    assert key_pairs.names().count(name) == 1


def test_a_key_that_was_deleted_is_uploaded_again(key_pairs: KeyPairs, tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path)
    key_pairs.delete(key_pairs.name_for_launch(pair))
    assert key_pairs.name_for_launch(pair) in key_pairs.names()


def test_deleting_a_key_that_is_gone_is_no_error(key_pairs: KeyPairs) -> None:
    key_pairs.delete("never-was")


def test_a_key_that_ec2_does_not_take_is_named(scripted_client, script: ScriptedEC2, ledger, tmp_path) -> None:
    script.refuse("ImportKeyPair", "InvalidKey.Format", "Key is not in valid OpenSSH public key format")
    key_pairs = KeyPairs(scripted_client, ledger=ledger, ownership=Ownership("run", "me@here"), prefix="test")
    pair = KeyPair.generate(tmp_path)
    with pytest.raises(KeyPairError, match=str(pair.public_key_path)):
        key_pairs.upload(pair, "name")
    assert ledger.ids(KIND) == []


def test_denied_key_upload_raises(scripted_client, script: ScriptedEC2, ledger, tmp_path) -> None:
    script.refuse("ImportKeyPair", "UnauthorizedOperation")
    key_pairs = KeyPairs(scripted_client, ledger=ledger, ownership=Ownership("run", "me@here"), prefix="test")
    with pytest.raises(PermissionDeniedError):
        key_pairs.name_for_launch(KeyPair.generate(tmp_path))


def test_keys_are_compared_without_their_comments(tmp_path: Path) -> None:
    text = make_key(tmp_path / "key", "ed25519").with_suffix(".pub").read_text()
    other = make_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
    kind, blob = text.split()[:2]
    assert is_same_key(text, {"PublicKey": f"{kind} {blob} another comment"})
    assert not is_same_key(text, {"PublicKey": other})


@pytest.mark.parametrize("key_type", ["ed25519", "rsa"])
def test_is_same_key_compares_fingerprints_without_a_public_key(key_type: str, tmp_path: Path) -> None:
    path = make_key(tmp_path / "key", key_type)
    text = path.with_suffix(".pub").read_text()
    shown = _ec2s_fingerprint(path, key_type)
    assert is_same_key(text, {"KeyFingerprint": shown})
    assert not is_same_key(text, {"KeyFingerprint": shown[:-2] + "xx"})


def _ec2s_fingerprint(path: Path, key_type: str) -> str:
    """As https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html tells to find it."""
    import hashlib
    import subprocess

    if key_type == "ed25519":
        shown = subprocess.run(["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True).stdout
        return shown.split()[1].removeprefix("SHA256:") + "="
    export = ["ssh-keygen", "-e", "-m", "PKCS8", "-f", str(path)]
    pem = subprocess.run(export, check=True, capture_output=True, text=True).stdout
    import base64

    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    return ":".join(f"{byte:02x}" for byte in hashlib.md5(der).digest())
