"""The program that runs cloud-init's stages in a guest, as far as it can be tried outside of one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import threading
from pathlib import Path
from types import ModuleType

import pytest

from pycloudlib.local.warm_start import initramfs

ANY_RULES: dict[str, object] = {"of": "another disk"}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = tmp_path / "preloaded_cloud_init.py"
    path.write_text(initramfs.program("preloaded_cloud_init.py"))
    spec = importlib.util.spec_from_file_location("preloaded_cloud_init", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "UNIT_DIRECTORY", tmp_path / "units")
    monkeypatch.setattr(module, "KERNEL_LOG", tmp_path / "kernel-log")
    return module


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    os.mkfifo(directory / "requests")
    return directory


def disk(tmp_path: Path, loaded: Path, text: str) -> Path:
    """A disk with one of the files that are loaded: a file of the same time, whatever is in it."""
    root = tmp_path / "root"
    copy = Path(f"{root}{loaded}")
    copy.parent.mkdir(parents=True)
    copy.write_text(text)
    told = loaded.stat()
    os.utime(copy, (told.st_atime, told.st_mtime))
    return root


@pytest.mark.parametrize(("text", "accepted"), [("same", True), ("other text", False)])
def test_disk_with_the_loaded_files_is_accepted(
    text: str, accepted: bool, program: ModuleType, directory: Path, tmp_path: Path
) -> None:
    loaded = tmp_path / "module.py"
    loaded.write_text("same")
    root = disk(tmp_path, loaded, text)
    os.mkfifo(directory / "answer.0")
    files = {str(loaded): program.Stamp.of(str(loaded))}
    found = program.accept_root(iter([(0, str(root))]), directory, program.Loaded(files, ANY_RULES))
    assert (found is not None) is accepted
    assert (directory / "requests").exists() is accepted
    reported = program.KERNEL_LOG.read_text() if program.KERNEL_LOG.exists() else ""
    assert reported == ("" if accepted else f"preloaded cloud-init: not used: {loaded} differs from the loaded file\n")
    units = sorted(path.name for path in program.UNIT_DIRECTORY.glob("*")) if accepted else []
    assert units == (sorted(f"{unit}.d" for unit in program.UNITS) if accepted else [])
    if found is not None:
        os.close(found)


def test_file_with_another_time_differs(program: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("text")
    stamp = program.Stamp.of(str(path))
    assert program.same_file(str(path), stamp)
    os.utime(path, (1, 1))
    assert not program.same_file(str(path), stamp)
    assert not program.same_file(str(tmp_path / "missing"), stamp)


def test_locally_installed_cloud_init_takes_precedence(program: ModuleType, directory: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    Path(f"{root}{program.LOCAL_PACKAGES}/cloudinit").mkdir(parents=True)
    os.mkfifo(directory / "answer.0")
    assert program.accept_root(iter([(0, str(root))]), directory, program.Loaded({}, ANY_RULES)) is None
    assert not program.UNIT_DIRECTORY.exists()


CLOUD_INITS_OWN = "etc/udev/rules.d/70-persistent-net.rules"


@pytest.mark.parametrize(
    "own", ["", CLOUD_INITS_OWN, "etc/udev/rules.d/10-own.rules", "usr/lib/udev/rules.d/50-default.rules"]
)
def test_other_udev_rules_trigger_all_devices_again(
    own: str, program: ModuleType, directory: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    default = root / "usr/lib/udev/rules.d/50-default.rules"
    (root / "etc/udev/rules.d").mkdir(parents=True)
    default.parent.mkdir(parents=True)
    default.write_text("# as it was loaded\n")
    loaded = program.Loaded({}, program.udev_rules(str(root)))
    if own:
        (root / own).write_text("# of the user's own\n")
    os.mkfifo(directory / "answer.0")
    found = program.accept_root(iter([(0, str(root))]), directory, loaded)
    os.close(found)
    drop_in = program.UNIT_DIRECTORY / "systemd-udev-trigger.service.d" / "preloaded.conf"
    same = own in ("", CLOUD_INITS_OWN)
    assert drop_in.exists() is same
    if same:
        assert drop_in.read_text().splitlines()[2].endswith("--subsystem-match=net")


def test_rules_in_etc_override_rules_of_the_same_name(program: ModuleType, tmp_path: Path) -> None:
    for directory, text in (("usr/lib", "the package's"), ("etc", "the administrator's own")):
        path = tmp_path / directory / "udev/rules.d/70-same.rules"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert program.udev_rules(str(tmp_path))["70-same.rules"].size == len("the administrator's own")


def test_each_unit_runs_its_own_stage(program: ModuleType, directory: Path) -> None:
    program.write_drop_ins(directory, program.units_of(str(directory)))
    drop_in = (program.UNIT_DIRECTORY / "cloud-init-local.service.d" / "preloaded.conf").read_text().splitlines()
    assert drop_in == [
        "[Service]",
        "ExecStart=",
        f"ExecStart=/bin/sh {directory}/stage init --local",
        "ExecStart=/bin/touch /run/cloud-init/network-config-ready",
    ]


def test_single_process_runs_all_stages_and_may_notify_systemd(
    program: ModuleType, directory: Path, tmp_path: Path
) -> None:
    unit = tmp_path / "root/usr/lib/systemd/system/cloud-init-main.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    program.write_drop_ins(directory, program.units_of(str(tmp_path / "root")))
    assert [path.name for path in program.UNIT_DIRECTORY.iterdir()] == ["cloud-init-main.service.d"]
    assert (program.UNIT_DIRECTORY / "cloud-init-main.service.d" / "preloaded.conf").read_text().splitlines() == [
        "[Service]",
        "NotifyAccess=all",
        "ExecStart=",
        f"ExecStart=/bin/sh {directory}/stage --all-stages",
    ]


@pytest.mark.parametrize(("status", "told"), [(0, "0"), (3, "3"), (-9, "137")])
def test_answer_reaches_a_requester_that_reads_later(
    status: int, told: str, program: ModuleType, directory: Path
) -> None:
    os.mkfifo(directory / "answer.7")
    program.send_reply(directory, 7, status)
    with (directory / "answer.7").open() as answers:
        assert answers.readline().strip() == told
    program.send_reply(directory, 8, status)  # it is gone: nothing happens


def test_requests_are_read_as_they_arrive(program: ModuleType, directory: Path) -> None:
    requests = program.read_requests(os.open(directory / "requests", os.O_RDWR))

    def ask() -> None:
        (directory / "requests").write_text("12 init --local\n")

    asking = threading.Thread(target=ask)
    asking.start()
    assert next(requests) == (12, "init --local")
    asking.join()


@pytest.mark.parametrize("is_initramfs", [True, False])
def test_libraries_are_deleted_only_in_an_initramfs(
    is_initramfs: bool, program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(program.shutil, "rmtree", lambda path, **_: forgotten.append(path))
    monkeypatch.setattr(program, "INITRAMFS", tmp_path if is_initramfs else tmp_path / "missing")
    program.delete_loaded_files()
    assert (str(Path(os.__file__).parent) in forgotten) is is_initramfs
    assert bool(forgotten) is is_initramfs


def test_stamps_include_all_files_of_the_process(program: ModuleType) -> None:
    stamps = program.stamps()
    assert stamps[os.__file__] == program.Stamp.of(os.__file__)
    assert any("libc" in path for path in stamps)


def run_stage(directory: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the program that stands in a unit in cloud-init's place, with a cloud-init that says what it was told."""
    cloud_init = tmp_path / "cloud-init"
    cloud_init.write_text('#!/bin/sh\necho "cloud-init $*"\n')
    cloud_init.chmod(0o755)
    (directory / "stage").write_text(initramfs.program("stage.sh").replace("/usr/bin/cloud-init", str(cloud_init)))
    command = ["/bin/sh", str(directory / "stage"), "modules", "--mode=final"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("server", ["", "999999999"])
def test_stage_runs_cloud_init_itself_without_a_server(server: str, directory: Path, tmp_path: Path) -> None:
    (directory / "server").write_text(server)
    assert run_stage(directory, tmp_path).stdout == "cloud-init modules --mode=final\n"


def test_stage_exits_with_the_status_of_the_server(program: ModuleType, directory: Path, tmp_path: Path) -> None:
    (directory / "server").write_text(str(os.getpid()))
    asked: list[str] = []

    def serve() -> None:
        number, stage = next(program.read_requests(os.open(directory / "requests", os.O_RDWR)))
        asked.append(stage)
        program.send_reply(directory, number, 3)

    server = threading.Thread(target=serve)
    server.start()
    done = run_stage(directory, tmp_path)
    server.join()
    assert (done.returncode, done.stdout, asked) == (3, "", ["modules --mode=final"])
    assert not list(directory.glob("answer.*"))


def test_stage_fails_if_the_server_ends_during_it(program: ModuleType, directory: Path, tmp_path: Path) -> None:
    (directory / "server").write_text(str(os.getpid()))

    def end_in_the_middle() -> None:
        number, _ = next(program.read_requests(os.open(directory / "requests", os.O_RDWR)))
        # For writing alone, so that it is open only when the stage reads.
        os.close(os.open(directory / f"answer.{number}", os.O_WRONLY))

    server = threading.Thread(target=end_in_the_middle)
    server.start()
    done = run_stage(directory, tmp_path)
    server.join()
    assert done.returncode == 1
