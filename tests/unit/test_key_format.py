from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pycloudlib.key_format import (
    PassphraseNeeded,
    fingerprint,
    has_private_key,
    parse_private_key,
    parse_public_key,
    public_key_of,
)
from support.sshd import make_key


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "id", "ed25519")


def test_public_key_is_its_type_and_its_blob(key: Path) -> None:
    public = key.with_suffix(".pub")
    kind, blob = parse_public_key(public.read_text())
    shown = subprocess.run(["ssh-keygen", "-l", "-f", public], check=True, capture_output=True, text=True).stdout
    assert kind == "ssh-ed25519"
    assert fingerprint(blob) in shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not one line"),
        ("ssh-ed25519", "not one line"),
        ("ssh-ed25519 AAAA\nssh-rsa AAAA", "not one line"),
        ("ssh-ed25519 A!", "not in base64"),
        ("ssh-ed25519 AAAAB3NzaC1yc2E=", "not of the type"),
    ],
)
def test_invalid_public_key_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_public_key(text)


def test_private_key_has_its_public_key(key: Path) -> None:
    text = key.read_text()
    assert has_private_key(text)
    assert parse_public_key(public_key_of(parse_private_key(text, key))) == parse_public_key(
        key.with_suffix(".pub").read_text()
    )


def test_passphrase_differs_from_damage(tmp_path: Path, key: Path) -> None:
    protected = make_key(tmp_path / "protected", "ed25519", passphrase="secret")
    with pytest.raises(PassphraseNeeded, match="`ssh-keygen -p -f"):
        parse_private_key(protected.read_text(), protected)
    with pytest.raises(ValueError, match="is damaged") as caught:
        parse_private_key(key.read_text().replace("b3Blb", "b4Blb"), key)
    assert not isinstance(caught.value, PassphraseNeeded)
