"""What a guest finds: its data source, its key, its user data, its disk and its metadata service."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycloudlib import EC2, EC2Instance
from pycloudlib.errors import CommandError, TransferError
from pycloudlib.local import LocalEC2

pytestmark = pytest.mark.vm

METADATA = "http://169.254.169.254/latest"
PYTHON_GET = (
    "import sys, urllib.request as r, urllib.error as e\n"
    "try: print(r.urlopen(r.Request(sys.argv[1], headers=dict(a.split('=', 1) for a in sys.argv[3:]),"
    " method=sys.argv[2]), timeout=20).read().decode())\n"
    "except e.HTTPError as error: print(error.code)\n"
)


def ask(instance: EC2Instance, path: str, method: str = "GET", **headers: str) -> str:
    """Ask the metadata service from inside; an error answers with its status."""
    arguments = [f"{name.replace('_', '-')}={text}" for name, text in headers.items()]
    return str(instance.execute(["python3", "-c", PYTHON_GET, f"{METADATA}/{path}", method, *arguments]).check())


def test_cloud_init_finds_the_ec2_data_source_by_itself(instance: EC2Instance) -> None:
    assert instance.execute("cloud-id").check() == "aws"
    assert "DataSourceEc2" in instance.execute("cloud-init status --long").check()


def test_the_user_data_ran(instance: EC2Instance) -> None:
    assert instance.execute("cat /var/tmp/user-data-ran").check() == "user data ran as root"


def test_the_kernel_is_a_real_one(instance: EC2Instance) -> None:
    assert instance.execute("uname -s").check() == "Linux"
    assert instance.execute("cat /sys/class/dmi/id/sys_vendor").check() == "Amazon EC2"


def test_the_login_user_is_the_images(instance: EC2Instance) -> None:
    assert instance.execute("id -un").check() == "admin"
    assert instance.execute("id -un", use_sudo=True).check() == "root"


def test_the_guest_has_its_private_address(instance: EC2Instance) -> None:
    assert instance.private_ip in instance.execute("hostname -I").check().split()


def test_the_root_file_system_fills_the_volume(instance: EC2Instance) -> None:
    size = instance.execute("df --output=size --block-size=1G / | tail -1").check()
    assert 10 <= int(size) <= 11


def test_memory_and_cpus_are_those_of_the_instance_type_up_to_the_cap(instance: EC2Instance, local: LocalEC2) -> None:
    mebibytes = int(instance.execute("awk '/MemTotal/ {print $2}' /proc/meminfo").check()) // 1024
    assert instance.instance_type == "t3.micro"
    assert 800 < mebibytes <= 1024
    assert int(instance.execute("nproc").check()) == (
        1 if local.info.accelerator == "tcg" else min(2, os.cpu_count() or 1)
    )


def test_the_root_disk_shows_its_volume_id(instance: EC2Instance, shared_ec2: EC2) -> None:
    described = shared_ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    volume_id = described["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    serial = instance.execute("lsblk --nodeps --noheadings --output SERIAL /dev/nvme0n1").check()
    assert serial.strip() == volume_id.replace("-", "")


def test_imds_version_2_answers_inside(instance: EC2Instance) -> None:
    token = ask(instance, "api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
    assert ask(instance, "meta-data/instance-id", X_aws_ec2_metadata_token=token) == instance.id


def test_where_tokens_are_required_version_1_is_refused(instance: EC2Instance) -> None:
    assert ask(instance, "meta-data/instance-id") == "401"


def test_where_tokens_are_optional_version_1_answers(instance: EC2Instance, shared_ec2: EC2) -> None:
    shared_ec2.client.modify_instance_metadata_options(InstanceId=instance.id, HttpTokens="optional")
    try:
        assert ask(instance, "meta-data/instance-id") == instance.id
    finally:
        shared_ec2.client.modify_instance_metadata_options(InstanceId=instance.id, HttpTokens="required")


def test_the_console_log_holds_the_host_keys(instance: EC2Instance) -> None:
    key = instance.execute("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").check()
    log = instance.console_log()
    assert "-----BEGIN SSH HOST KEY KEYS-----" in log
    assert str(key) in log


def test_no_unit_failed(instance: EC2Instance) -> None:
    assert instance.execute("systemctl --failed --no-legend --plain").check() == ""


def test_files_go_there_and_back(instance: EC2Instance, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(bytes(range(256)) * 8192)
    instance.push_file(str(there), "/var/tmp/pushed")
    instance.pull_file("/var/tmp/pushed", str(back))
    assert back.read_bytes() == there.read_bytes()
    assert instance.execute("stat -c %s /var/tmp/pushed").check() == str(there.stat().st_size)


def test_a_script_runs_and_leaves_nothing_behind(instance: EC2Instance) -> None:
    result = instance.run_script("#!/bin/bash\necho $BASH_VERSION | grep -q . && echo $0")
    assert result.ok
    assert instance.execute(["test", "-e", str(result)]).failed


def described(root: Path) -> dict[str, object]:
    """What a directory holds: modes, contents and targets of links, by name."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        what = "a directory" if path.is_dir() else path.read_bytes()
        mode = stat.S_IMODE(path.lstat().st_mode)
        found[str(path.relative_to(root))] = str(path.readlink()) if path.is_symlink() else (mode, what)
    return found


def test_a_directory_goes_there_and_back(instance: EC2Instance, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    (there / "a b's\nfolder").mkdir(parents=True)
    (there / "a b's\nfolder" / "data").write_bytes(bytes(range(256)) * 8192)
    (there / "program").write_text("#!/bin/sh\necho it runs\n")
    (there / "program").chmod(0o755)
    (there / "link").symlink_to("program")
    (there / os.fsdecode(b"not utf-8 \xff")).mkdir()
    (there / "read only").mkdir()
    (there / "read only" / "file").write_text("x")
    (there / "read only").chmod(0o555)
    instance.push_dir(there, "pushed/folder")
    assert instance.execute("pushed/folder/link").check() == "it runs"
    instance.pull_dir("pushed/folder", back)
    assert described(back) == described(there)
    instance.execute("chmod -R u+w pushed && rm -r pushed").check()


def test_a_directory_cannot_go_where_only_root_may_write(instance: EC2Instance, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TransferError, match=r"Permission denied .on the host."):
        instance.push_dir(tmp_path, "/etc/pushed")
    with pytest.raises(TransferError, match=r"Permission denied.*on the host."):
        instance.pull_dir("/root", tmp_path / "root")


REPOSITORY = "/var/tmp/repository"

APT_CONFIGURATION = f"""
Dir::Etc::sourcelist "{REPOSITORY}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "{REPOSITORY}/lists";
"""

PUBLISH = """#!/bin/sh
set -e
cd {repository}
mkdir -p package/DEBIAN
cat >package/DEBIAN/control <<END
Package: greeting
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@example.com>
Description: a package that holds nothing
END
dpkg-deb --root-owner-group --build package greeting.deb
{{
    dpkg-deb --field greeting.deb
    echo "Filename: ./greeting.deb"
    echo "Size: $(stat -c %s greeting.deb)"
    echo "SHA256: $(sha256sum greeting.deb | cut -d' ' -f1)"
}} >Packages
"""


@pytest.fixture
def publish(instance: EC2Instance) -> Iterator[Callable[[str], None]]:
    """Publishes a version of a package, in a repository inside the guest that is the only one as long as this lasts."""
    settings = "/etc/apt/apt.conf.d/99only-this-repository"
    instance.execute(["mkdir", "-p", f"{REPOSITORY}/lists/partial"]).check()
    instance.execute(f"echo 'deb [trusted=yes] file:{REPOSITORY} ./' >{REPOSITORY}/sources.list").check()
    instance.execute(f"cat >{settings}", stdin=APT_CONFIGURATION, use_sudo=True).check()

    def publish_version(version: str) -> None:
        instance.run_script(PUBLISH.format(repository=REPOSITORY, version=version)).check()

    yield publish_version
    instance.execute("dpkg --purge greeting", use_sudo=True).check()
    instance.execute(f"rm -r {REPOSITORY} {settings}", use_sudo=True).check()


def test_packages_are_installed_and_upgraded_by_the_guests_apt(
    instance: EC2Instance, publish: Callable[[str], None]
) -> None:
    publish("1.0")
    instance.execute("apt-get update", use_sudo=True).check()
    assert "greeting (1.0)" in instance.install("greeting")
    publish("1.1")
    instance.update()
    assert instance.execute("dpkg-query --show --showformat '${Version}' greeting").check() == "1.1"
    with pytest.raises(
        CommandError, match=r"^cannot install no-such-package: Unable to locate package no-such-package$"
    ):
        instance.install("no-such-package")


def test_the_host_and_its_names_resolve_as_on_ec2(instance: EC2Instance) -> None:
    name = instance.execute("hostname").check()
    assert name == f"ip-{instance.private_ip.replace('.', '-')}"


def test_the_keys_on_the_console_are_the_ones_its_sshd_has(
    instance: EC2Instance, settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCLOUDLIB_HOST_KEYS", "console")
    same = EC2("console", config_file=settings_file).get_instance(instance.id)
    same.wait()
    assert same.execute("id -un").check() == "admin"
