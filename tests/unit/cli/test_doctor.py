"""`pycloudlib doctor`: what is configured, from where, and what is missing."""

from __future__ import annotations

import grp
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pycloudlib.cli import diagnosis
from pycloudlib.local.images.simulated import SimulatedCatalog
from pycloudlib.local.prerequisites import DEBIAN_PACKAGES, find
from support.cli_world import CliWorld, QuickCommandLine, home_environment
from support.moto_server import moto_server
from support.sshd import make_key

SECRET = "verysecretvalue"


@dataclass(frozen=True)
class Told:
    """What doctor says with --json."""

    status: int
    text: str

    @property
    def checks(self) -> dict[str, Any]:
        return {one["name"]: one for one in json.loads(self.text)["checks"]}

    @property
    def settings(self) -> dict[str, tuple[str, str]]:
        return {one["key"]: (one["value"], one["origin"]) for one in json.loads(self.text)["settings"]}

    @property
    def missing(self) -> set[str]:
        return {name for name, one in self.checks.items() if one["state"] == "missing"}


class Patient:
    """A home of one's own, to be looked into."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = home_environment(home)

    def examine(self, *options: str, **environment: str) -> Told:
        done = QuickCommandLine(self.home, {**self.environment, **environment}).run("doctor", "--json", *options)
        return Told(done.returncode, done.stdout)

    def configure(self, text: str, mode: int = 0o600) -> Path:
        path = self.home / ".config" / "pycloudlib.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"[ec2]\n{text}\n")
        path.chmod(mode)
        return path

    def make_key(self) -> Path:
        (self.home / ".ssh").mkdir(exist_ok=True)
        return make_key(self.home / ".ssh" / "id_ed25519", "ed25519")


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


@pytest.fixture(scope="module")
def moto_url() -> Any:
    with moto_server() as url:
        yield url


def test_a_launch_would_work_on_the_local_ec2(world: CliWorld) -> None:
    done = world.cli.run("doctor", "--local")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "Ready to launch an instance."
    assert "region             us-east-1" in done.stdout
    assert done.stdout.count("--local") >= 4
    assert f"{world.cli.home}/.config/pycloudlib.toml: [ec2] username" in done.stdout


def test_empty_home_reports_everything_missing(patient: Patient) -> None:
    told = patient.examine()
    assert told.status == 1
    assert told.missing == {"region", "credentials", "SSH key"}
    for name in told.missing:
        assert told.checks[name]["remedy"]
    assert "ssh-keygen -t ed25519" in told.checks["SSH key"]["remedy"]
    assert told.settings == {}
    assert told.checks["local EC2"]["remedy"] == "if you need it: pycloudlib local start"


def test_without_aws_the_local_ec2_is_suggested(patient: Patient) -> None:
    def last_line(*options: str) -> str:
        return (
            QuickCommandLine(patient.home, home_environment(patient.home))
            .run("doctor", *options)
            .stdout.splitlines()[-1]
        )

    assert last_line() == "The local EC2 needs neither a region nor credentials: pycloudlib doctor --local"
    assert "pycloudlib doctor --local" not in last_line("--local")


@pytest.fixture
def installed_programs(patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All programs of the local EC2 and of the image build: the host's own, or else empty files."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for program in DEBIAN_PACKAGES:
        (directory / program).touch(mode=0o755)
    patient.environment["PATH"] = f"{os.environ['PATH']}:{directory}"
    monkeypatch.setattr("pycloudlib.local.images.builder.KEYRINGS", (Path(__file__),))


@pytest.mark.usefixtures("installed_programs")
def test_local_ec2_need_not_run_but_needs_an_image(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    without_image = patient.examine("--local")
    assert (without_image.status, without_image.missing) == (1, {"local images"})
    assert without_image.checks["local EC2"]["remedy"] == "pycloudlib local start"
    image = SimulatedCatalog().images()[:1]
    monkeypatch.setattr("pycloudlib.local.images.catalog.Catalog.images", lambda _: image)
    assert patient.examine("--local").status == 0
    text = QuickCommandLine(patient.home, patient.environment).run("doctor", "--local").stdout
    assert text.splitlines()[-1] == "Ready to start a local EC2: pycloudlib local start"


@pytest.mark.usefixtures("installed_programs")
def test_missing_programs_of_the_image_build_are_a_note(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patient.examine("--local").checks["image build"]["state"] == "ok"
    monkeypatch.setattr("pycloudlib.local.images.builder.KEYRINGS", ())
    note = patient.examine("--local").checks["image build"]
    assert (note["state"], note["remedy"].endswith("apt-get install -y debian-archive-keyring")) == ("note", True)


@pytest.mark.parametrize("program", ["mke2fs", "sfdisk"])
def test_programs_are_found_without_the_administrators_directories_in_path(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find(program)
    if found is None:
        pytest.skip(f"needs {program}")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find(program) == found


def test_settings_are_printed_with_origins_and_without_secrets(patient: Patient, moto_url: str) -> None:
    key = patient.make_key()
    path = patient.configure(f'region = "eu-central-1"\nendpoint_url = "{moto_url}"\nboot_timeout = "15m"')
    environment = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE12345", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    told = patient.examine("--region", "eu-west-1", **environment)
    assert told.status == 0, told.text
    assert told.settings == {
        "access_key_id": ("...2345", "environment variable AWS_ACCESS_KEY_ID"),
        "boot_timeout": ("900", f"{path}: [ec2] boot_timeout"),
        "endpoint_url": (moto_url, f"{path}: [ec2] endpoint_url"),
        "region": ("eu-west-1", "--region"),
        "secret_access_key": ("(set)", "environment variable AWS_SECRET_ACCESS_KEY"),
    }
    assert SECRET not in told.text
    assert told.checks["region"]["found"] == "eu-west-1 (--region)"
    assert told.checks["SSH key"]["found"].startswith(f"{key} SHA256:")
    assert told.checks["settings file"]["found"] == str(path)


def test_credentials_of_the_boto3_chain_are_reported_as_such(patient: Patient, moto_url: str) -> None:
    patient.make_key()
    aws = patient.home / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(f"[work]\naws_access_key_id = AKIAtest\naws_secret_access_key = {SECRET}\n")
    (aws / "config").write_text("[profile work]\nregion = eu-north-1\n")
    told = patient.examine("--profile", "work", "--endpoint-url", moto_url)
    assert told.status == 0, told.text
    assert told.checks["region"]["found"] == "eu-north-1 (boto3's own chain)"
    assert told.checks["credentials"]["found"] == "from boto3's own chain: shared-credentials-file, profile work"
    assert SECRET not in told.text


def test_every_invalid_setting_is_reported(patient: Patient) -> None:
    patient.configure('regoin = "eu-central-1"\nssh_port = "ssh"')
    told = patient.examine()
    assert told.status == 1
    found = [one["found"] for one in json.loads(told.text)["checks"] if one["name"] == "settings"]
    assert len(found) == 2
    assert "did you mean region?" in found[0]


def test_unresponsive_endpoint_is_reported(patient: Patient) -> None:
    patient.make_key()
    patient.configure(f'region = "eu-central-1"\naccess_key_id = "a"\nsecret_access_key = "{SECRET}"')
    told = patient.examine("--endpoint-url", "http://127.0.0.1:9")
    assert (told.status, told.missing) == (1, {"EC2"})
    assert told.checks["EC2"]["found"].startswith("cannot reach EC2 at http://127.0.0.1:9")


def test_unknown_region_is_reported(world: CliWorld) -> None:
    done = world.cli.run("doctor", "--local", "--region", "mars-1")
    assert done.returncode == 1
    assert "missing  EC2" in done.stdout


def test_world_readable_files_are_reported(patient: Patient, moto_url: str) -> None:
    key = patient.make_key()
    key.chmod(0o644)
    text = f'region = "us-east-1"\nendpoint_url = "{moto_url}"\naccess_key_id = "a"\nsecret_access_key = "{SECRET}"'
    patient.configure(text, mode=0o644)
    told = patient.examine()
    assert told.status == 0
    assert told.checks["SSH key"]["remedy"] == f"chmod 600 {key}"
    # The secret of an endpoint on loopback guards nothing.
    assert told.checks["settings file"]["state"] == "ok"
    path = patient.configure(text.replace(moto_url, "http://cloud.invalid"), mode=0o644)
    assert patient.examine().checks["settings file"]["remedy"] == f"chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to a group")
def test_a_kvm_of_another_group_comes_with_the_way_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kvm = tmp_path / "kvm"
    kvm.touch(mode=0o660)
    kvm.chmod(0o660)
    group = next(group for group in grp.getgrall() if group.gr_gid)
    os.chown(kvm, -1, group.gr_gid)
    monkeypatch.setattr(diagnosis, "KVM", kvm)
    assert f"--groups {group.gr_name} " in diagnosis._lack_of_kvm()[1]
    kvm.chmod(0o600)
    assert diagnosis._lack_of_kvm() == ("this user may not open it", "")


def test_an_image_for_arm64_needs_qemu_for_arm64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "qemu-system-x86_64").touch(mode=0o755)
    (check,) = diagnosis._platforms({"x86_64", "arm64", "riscv64"})
    assert (check.name, check.state) == ("arm64 images", diagnosis.State.NOTE)
    assert check.remedy.endswith("apt-get install -y qemu-system-arm qemu-efi-aarch64")


def test_missing_programs_are_reported(patient: Patient) -> None:
    told = patient.examine("--local", PATH=str(patient.home))
    assert told.checks["OpenSSH"]["state"] == "note"
    assert "QEMU" in told.missing
    assert "apt-get install -y" in told.checks["QEMU"]["remedy"]
    assert told.checks["local EC2"]["found"] == "none is running"
