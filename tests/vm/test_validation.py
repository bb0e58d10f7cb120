"""`pycloudlib validate` on real machines: of the default image, and of copies of it that were broken on purpose.

Each run boots machines of its own, from the beginning. So all faults are in one image here, and one machine is looked
at; each fault alone, and the life of a machine, with PYCLOUDLIB_VALIDATION_EVERY=1, as in `tox -e validation`.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pycloudlib.local import paths
from pycloudlib.local.images.catalog import Catalog, Image
from support.broken_images import FAULTS, broken_copy
from support.command_line import CommandLine
from support.default_images import default_image
from support.vm_release import RELEASE

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600)]

EVERY = bool(os.environ.get("PYCLOUDLIB_VALIDATION_EVERY"))
SECONDS = 3000.0


@pytest.fixture
def own_catalogue(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk under test is offered by every local EC2 of its user; other tests must not find it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def image() -> Image:
    return default_image(RELEASE)


def check_name(case: ElementTree.Element) -> str:
    module, test = str(case.get("classname")).rpartition(".")[2], str(case.get("name"))
    return f"{module.removeprefix('test_')}::{test.removeprefix('test_')}"


def validate(directory: Path, *arguments: str) -> tuple[int, str, dict[str, str]]:
    """Its exit status, what it printed, and the outcome of each check as JUnit's report has it."""
    report = directory / "report.xml"
    patience = () if "--boot-timeout" in arguments else ("--boot-timeout", "1800")
    done = CommandLine(directory).run("validate", *arguments, *patience, "--junit", str(report), timeout=SECONDS)
    outcomes = {
        check_name(case): case[0].tag if len(case) else "passed"
        for case in ElementTree.parse(report).getroot().iter("testcase")
    }
    return done.returncode, done.stdout + done.stderr, outcomes


def with_outcome(outcomes: dict[str, str], outcome: str) -> list[str]:
    return sorted(name for name, found in outcomes.items() if found == outcome)


def of_disk(disk: Path, image: Image) -> Sequence[str]:
    """The default image's disk has no boot loader: the kernel stands beside it."""
    kernel, initrd = str(image.kernel), str(image.initrd)
    return (
        str(disk),
        "--release",
        RELEASE,
        "--kernel",
        kernel,
        "--initrd",
        initrd,
        "--kernel-arguments",
        f"{image.kernel_arguments} {image.user_mode_arguments}",
    )


def test_the_default_image_passes(image: Image, tmp_path: Path) -> None:
    page, boots = tmp_path / "report.html", tmp_path / "boots.json"
    chosen = () if EVERY else ("-m", "not lifecycle")
    status, printed, outcomes = validate(
        tmp_path, image.image_id, "--local", *chosen, "--html", str(page), "--save", str(boots)
    )
    assert with_outcome(outcomes, "failure") == [], printed
    assert with_outcome(outcomes, "error") == [], printed
    # Nothing may be skipped but what needs the internet, or Secure Boot, which a BIOS does not have.
    allowed = {"system::repository_answers", "boot::secure_boot_locks_kernel_down"}
    assert set(with_outcome(outcomes, "skipped")) <= allowed, printed
    assert status == 0, printed
    if EVERY:
        assert outcomes["lifecycle::an_image_of_it_boots_as_a_first_boot"] == "passed"
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "Linux version" in text
    (boot,) = json.loads(boots.read_text())["boots"]
    assert list(boot["reached"]) == ["running", "kernel", "userspace", "reachable", "logged_in", "ready"]
    kinds = [span["kind"] for span in boot["spans"]]
    assert kinds.count("cloud-init") == 4
    assert "unit" in kinds


@pytest.mark.usefixtures("own_catalogue")
def test_every_fault_of_an_image_is_found_and_no_other(image: Image, tmp_path: Path) -> None:
    disk = broken_copy(image, FAULTS.values(), tmp_path / f"broken-{secrets.token_hex(4)}.raw")
    status, printed, outcomes = validate(tmp_path, *of_disk(disk, image), "-m", "not lifecycle")
    assert with_outcome(outcomes, "failure") == sorted(fault.caught_by for fault in FAULTS.values()), printed
    assert status == 1, printed
    assert printed.count("why: ") == printed.count("remedy: ") == len(FAULTS)
    assert [one.name for one in Catalog(paths.images_dir()).images() if one.name.startswith(disk.stem)] == []


@pytest.mark.skipif(not EVERY, reason="each boots a machine; set PYCLOUDLIB_VALIDATION_EVERY=1")
@pytest.mark.usefixtures("own_catalogue")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_alone_is_caught_by_its_check_and_by_no_other(name: str, image: Image, tmp_path: Path) -> None:
    disk = broken_copy(image, [FAULTS[name]], tmp_path / "broken.raw")
    status, printed, outcomes = validate(tmp_path, *of_disk(disk, image), "-m", "not lifecycle")
    assert with_outcome(outcomes, "failure") == [FAULTS[name].caught_by], printed
    assert status == 1, printed


@pytest.mark.usefixtures("own_catalogue")
def test_an_image_that_never_boots_fails_at_the_login_alone(tmp_path: Path) -> None:
    disk = tmp_path / "halting.raw"
    # hlt; jmp back to it.
    disk.write_bytes(bytes.fromhex("f4 eb fd").ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    status, printed, outcomes = validate(tmp_path, str(disk), "--boot-timeout", "10")
    assert with_outcome(outcomes, "failure") == ["boot::boots_to_login_in_time"], printed
    # What the firmware prints is a console log too, and the kernel is in no trouble there.
    assert set(with_outcome(outcomes, "passed")) <= {"console::no_kernel_trouble"}, printed
    assert status == 1, printed
    assert "to be ready" in printed
