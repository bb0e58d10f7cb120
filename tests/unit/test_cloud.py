from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.cloud import BaseCloud, ImageType
from pycloudlib.errors import CleanupError, InvalidArgumentError, InvalidTagNameError, KeyPairError, UnsetSSHKeyError
from pycloudlib.key import KeyPair


class Cloud(BaseCloud):
    """A cloud that has nothing."""

    errors: tuple[Exception, ...] = ()
    cleanings = 0

    def clean(self) -> list[Exception]:
        self.cleanings += 1
        return list(self.errors)

    def _has_nothing(self, *_: object, **__: object) -> str:
        raise NotImplementedError

    get_instance = daily_image = released_image = image_serial = list_keys = delete_key = _has_nothing


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_tag_is_made_unique() -> None:
    assert Cloud("test").tag.startswith("test-")
    assert Cloud("test").tag != Cloud("test").tag


@pytest.mark.parametrize("length", [1, 52])
def test_tag_of_up_to_52_characters_takes_a_suffix(length: int) -> None:
    assert Cloud("a" * length).tag.startswith("a" * length + "-")


def test_tag_without_timestamp_suffix_is_kept() -> None:
    assert Cloud("test", timestamp_suffix=False).tag == "test"


@pytest.mark.parametrize("tag", ["", "Upper", "under_score", "x" * 64])
def test_a_tag_that_cannot_name_resources_is_refused(tag: str) -> None:
    with pytest.raises(InvalidTagNameError) as caught:
        Cloud(tag)
    assert caught.value.tag == tag


def test_the_configured_key_is_used(tmp_path: Path) -> None:
    pair = KeyPair.generate(tmp_path)
    cloud = Cloud("test", public_key_path=pair.public_key_path, key_name="known")
    assert cloud.key_pair == KeyPair(pair.public_key_path, pair.private_key_path, "known")


def test_missing_key_error_explains_how_to_create_one() -> None:
    with pytest.raises(UnsetSSHKeyError, match="ssh-keygen"):
        _ = Cloud("test").key_pair


def test_use_key_takes_the_key_it_is_given(tmp_path: Path) -> None:
    cloud = Cloud("test")
    pair = KeyPair.generate(tmp_path)
    cloud.use_key(pair.public_key_path)
    assert cloud.key_pair == pair


def test_use_key_refuses_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyPairError, match="nothing"):
        Cloud("test").use_key(tmp_path / "nothing.pub")


def test_create_key_pair_creates_the_requested_type() -> None:
    assert Cloud("test").create_key_pair()[0].startswith("ssh-ed25519 ")
    assert Cloud("test").create_key_pair("rsa")[0].startswith("ssh-rsa ")
    with pytest.raises(InvalidArgumentError, match="dsa"):
        Cloud("test").create_key_pair("dsa")


def test_create_key_pair_gives_two_texts_that_belong_together(tmp_path: Path) -> None:
    public, private = Cloud("test").create_key_pair()
    (tmp_path / "key").write_text(private)
    (tmp_path / "key.pub").write_text(public)
    KeyPair.load(tmp_path / "key.pub").check()


def test_leaving_the_context_cleans_up() -> None:
    with Cloud("test") as cloud:
        pass
    assert cloud.cleanings == 1


def test_leaving_the_context_raises_what_is_left() -> None:
    cloud = Cloud("test")
    cloud.errors = (RuntimeError("i-1 is left"),)
    with pytest.raises(CleanupError, match="i-1 is left"), cloud:
        pass


def test_an_error_in_the_body_stays_the_main_one() -> None:
    cloud = Cloud("test")
    cloud.errors = (RuntimeError("i-1 is left"),)
    with pytest.raises(ZeroDivisionError), cloud:
        raise ZeroDivisionError


def test_image_types_have_the_names_that_suites_use() -> None:
    assert {kind.name: kind.value for kind in ImageType} == {
        "GENERIC": "generic",
        "MINIMAL": "minimal",
        "PRO": "Pro",
        "PRO_FIPS": "Pro FIPS",
        "PRO_FIPS_UPDATES": "Pro FIPS Updates",
    }
