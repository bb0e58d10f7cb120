from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import paths


@dataclass(frozen=True)
class Place:
    make: Callable[[], Path]
    variable: str
    default: str
    below: str


PLACES = [
    pytest.param(Place(paths.images_dir, "XDG_DATA_HOME", ".local/share", "pycloudlib/images"), id="images"),
    pytest.param(Place(paths.state_dir, "XDG_STATE_HOME", ".local/state", "pycloudlib/local"), id="state"),
    pytest.param(Place(paths.cache_dir, "XDG_CACHE_HOME", ".cache", "pycloudlib"), id="cache"),
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("place", PLACES)
def test_without_xdg_variables_directories_lie_in_the_home(place: Place, home: Path) -> None:
    assert place.make() == home / place.default / place.below


@pytest.mark.parametrize("place", PLACES)
def test_an_xdg_variable_moves_the_directory(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(place.variable, str(tmp_path / "elsewhere"))
    assert place.make() == tmp_path / "elsewhere" / place.below


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ignored", ["", "relative/path"])
def test_an_empty_or_relative_xdg_variable_is_ignored(
    place: Place, ignored: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(place.variable, ignored)
    assert place.make() == home / place.default / place.below


@pytest.mark.parametrize("place", PLACES)
def test_new_directories_are_for_the_user_alone(place: Place) -> None:
    made = place.make()
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_a_directory_that_exists_keeps_its_permissions(home: Path) -> None:
    shared = home / ".local"
    shared.mkdir(parents=True, mode=0o755)
    before = stat.S_IMODE(shared.stat().st_mode)
    paths.images_dir()
    assert stat.S_IMODE(shared.stat().st_mode) == before


def test_a_file_in_the_way_is_named(home: Path) -> None:
    home.mkdir()
    (home / ".cache").write_text("")
    with pytest.raises(LocalEC2Error, match=r"\.cache/pycloudlib"):
        paths.cache_dir()


@pytest.mark.parametrize("place", PLACES)
def test_without_a_home_directory_the_variable_is_named(
    place: Place, homeless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LocalEC2Error, match=f"^this user has no home directory: set {place.variable}, or HOME$"):
        place.make()
    monkeypatch.setenv(place.variable, str(tmp_path / "set"))
    assert place.make() == tmp_path / "set" / place.below


@pytest.mark.parametrize("place", PLACES)
def test_a_directory_that_cannot_be_made_is_named_with_the_variable(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write to every directory but this one.
    monkeypatch.setenv("HOME", "/proc")
    with pytest.raises(LocalEC2Error, match=rf"directory /proc/\S+{place.below} \(.+\): set {place.variable} to "):
        place.make()
