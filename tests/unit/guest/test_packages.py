from __future__ import annotations

from pathlib import Path

import pytest

from pycloudlib.errors import CommandError, InvalidArgumentError, PycloudlibTimeoutError
from pycloudlib.guest import packages
from pycloudlib.guest.packages import install, update

APT = "apt-get|-q|-y|-o|DPkg::Lock::Timeout=300|-o|Dpkg::Options::=--force-confdef|-o|Dpkg::Options::=--force-confold|"
LOCKED = 'echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)" >&2; exit 100'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def has(run, program, log: Path):
    """Gives the guest a package manager, which writes down how it is called."""

    def has_program(name: str, then: str = "echo done") -> None:
        program(name, f'(IFS="|"; echo "{name}|$*") >>"{log}"\n{then}')

    program("ls", "exit 0")
    return has_program


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("apt-get", f"{APT}install|hello|g++"),
        ("dnf", "dnf|-y|install|hello|g++"),
        ("yum", "yum|-y|install|hello|g++"),
        ("zypper", "zypper|--non-interactive|install|--auto-agree-with-licenses|hello|g++"),
    ],
)
def test_packages_are_installed_by_the_guests_package_manager(run, has, log: Path, name: str, call: str) -> None:
    has(name)
    result = install(run, ["hello", "g++"])
    assert (result, result.ok) == ("done", True)
    assert calls(log) == [call]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("apt-get", [f"{APT}update", f"{APT}--with-new-pkgs|upgrade"]),
        ("dnf", ["dnf|-y|--refresh|upgrade"]),
        ("yum", ["yum|clean|expire-cache", "yum|-y|update"]),
        (
            "zypper",
            ["zypper|--non-interactive|refresh", "zypper|--non-interactive|update|--auto-agree-with-licenses"],
        ),
    ],
)
def test_update_refreshes_the_lists_and_upgrades(run, has, log: Path, name: str, expected: list[str]) -> None:
    has(name)
    assert update(run) == "done"
    assert calls(log) == expected


@pytest.mark.parametrize(
    ("programs", "used"), [(("yum", "dnf"), "dnf"), (("dnf", "zypper"), "zypper"), (("zypper", "apt-get"), "apt-get")]
)
def test_native_package_manager_is_preferred(run, has, log: Path, programs: tuple[str, ...], used: str) -> None:
    for each in programs:
        has(each)
    install(run, "hello")
    assert [call.split("|")[0] for call in calls(log)] == [used]


def test_installation_runs_as_root_without_prompts(run, has) -> None:
    has("apt-get", 'echo "$IS_ROOT $DEBIAN_FRONTEND"; if read answer; then echo asked; fi')
    assert install(run, "hello").splitlines()[0] == "yes noninteractive"
    assert "asked" not in install(run, "hello")


def test_spaces_separate_packages(run, has, log: Path) -> None:
    has("dnf")
    install(run, " hello  world=1.0-1 ")
    assert calls(log) == ["dnf|-y|install|hello|world=1.0-1"]


def test_names_are_passed_unchanged(run, has, log: Path) -> None:
    has("dnf")
    names = ["@development-tools", "./a$HOME.rpm", "/srv/b.rpm", "https://example.com/c.rpm", "perl(Foo::Bar)", "lib*"]
    install(run, names)
    assert calls(log) == ["|".join(["dnf", "-y", "install", *names])]


@pytest.mark.parametrize(
    "name", ["-y", "--allow-downgrades", "vim-", "", "a b", "a\nb", "!vim", "~vim", "a\0b", 7, None]
)
def test_invalid_name_is_rejected_without_a_command(run, has, log: Path, name) -> None:
    has("apt-get")
    with pytest.raises(InvalidArgumentError, match="cannot be a package: it must begin with"):
        install(run, ["hello", name])
    assert calls(log) == []


@pytest.mark.parametrize("none", ["", "  ", [], ()])
def test_empty_list_is_rejected(run, none) -> None:
    with pytest.raises(InvalidArgumentError, match="no package to install"):
        install(run, none)


@pytest.mark.parametrize("none", [None, 7, b"hello", {"hello"}])
def test_packages_must_be_strings(run, none) -> None:
    with pytest.raises(InvalidArgumentError):
        install(run, none)


def test_missing_lists_of_apt_are_fetched_first(run, has, program, log: Path) -> None:
    has("apt-get")
    program("ls", "exit 2")
    install(run, "hello")
    assert calls(log) == [f"{APT}update", f"{APT}install|hello"]


@pytest.mark.parametrize(
    ("name", "script", "why"),
    [
        (
            "apt-get",
            'echo "Reading package lists..."; echo "W: old" >&2; echo "E: Unable to locate package x" >&2; exit 100',
            "Unable to locate package x",
        ),
        ("dnf", 'echo "x"; echo "Error: Unable to find a match: x" >&2; exit 1', "Unable to find a match: x"),
        ("zypper", """echo "Reading installed packages..."; echo "'x' not found."; exit 104""", "'x' not found."),
        ("yum", "exit 3", "exit status 3, without output"),
    ],
)
def test_failure_is_one_line_with_the_result(run, has, name: str, script: str, why: str) -> None:
    has(name, script)
    with pytest.raises(CommandError) as raised:
        install(run, ["x", "y"])
    assert str(raised.value) == f"cannot install x y: {why}"
    assert raised.value.result.failed


def test_failed_fetch_ends_the_update(run, has, log: Path) -> None:
    has("apt-get", 'echo "E: no network" >&2; exit 100')
    with pytest.raises(CommandError, match="cannot get the lists of packages: no network"):
        update(run)
    assert calls(log) == [f"{APT}update"]


def test_missing_package_manager_is_reported_with_the_known_ones(run) -> None:
    with pytest.raises(CommandError, match="no supported package manager; looked for apt-get, zypper, dnf, yum"):
        update(run)


def test_missing_sudo_is_reported(run, has, program) -> None:
    has("apt-get")
    program("sudo", 'echo "sudo: a password is required" >&2; exit 1')
    with pytest.raises(CommandError, match="cannot look for a package manager: sudo: a password is required"):
        install(run, "hello")


def test_other_apt_is_awaited(run, has, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "LOCK_INTERVAL", 0.01)
    free = tmp_path / "free"
    has("apt-get", f'if [ -e "{free}" ]; then echo done; exit; fi\n: >"{free}"\n{LOCKED}')
    assert update(run) == "done"
    assert calls(log) == [f"{APT}update", f"{APT}update", f"{APT}--with-new-pkgs|upgrade"]


def test_other_apt_that_does_not_end_times_out(run, has, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "LOCK_TIMEOUT", 0.0)
    has("apt-get", LOCKED)
    with pytest.raises(
        PycloudlibTimeoutError, match=r"apt-get to be free; last seen: Could not get lock .* process 812"
    ):
        update(run)
