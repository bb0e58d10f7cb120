"""What goes wrong around real machines, and what is left of them when somebody gives up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycloudlib import EC2, EC2Instance, KeyPair
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.errors import BootError, ImageError
from pycloudlib.local import LocalEC2, paths
from pycloudlib.local.images.catalog import Catalog
from pycloudlib.waiting import wait_until
from support.instance_states import wait_for_state
from support.processes import machines_of
from support.small_disk import fill, small_disk

pytestmark = pytest.mark.vm

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@contextmanager
def cloud(local: LocalEC2, directory: Path) -> Iterator[EC2]:
    key_pair = KeyPair.generate(directory / "keys")
    with EC2(
        "faults",
        region=local.region,
        endpoint_url=local.endpoint_url,
        access_key_id=local.access_key_id,
        secret_access_key=local.secret_access_key,
    ) as ec2:
        ec2.use_key(key_pair.public_key_path)
        yield ec2


@pytest.fixture
def halting_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk whose boot sector does nothing; the only image of a catalogue of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "disk.raw"
    path.write_bytes(b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    return path


def state_reason(ec2: EC2, instance: EC2Instance) -> str:
    described = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    return described["StateReason"]["Message"]


def test_a_machine_for_whose_writes_there_is_no_room_ends_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "small", "300m") as disk:
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        with LocalEC2() as local, cloud(local, tmp_path) as ec2:
            instance = ec2.launch(ec2.daily_image("bookworm"), wait=False)
            wait_for_state(instance, InstanceState.RUNNING)
            fill(disk)
            with pytest.raises(BootError) as caught:
                instance.wait()
            assert "no space left on the disk for " in str(caught.value).splitlines()[0]
            assert instance.state is InstanceState.TERMINATED
            assert machines_of(local.info.pid) == []


def test_a_machine_that_would_soon_be_out_of_room_is_not_started(
    halting_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Catalog(paths.images_dir()).add(halting_disk, release="bookworm")
    with small_disk(tmp_path / "small", "50m") as disk:
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        with LocalEC2() as local, cloud(local, tmp_path) as ec2:
            instance = ec2.launch(ec2.daily_image("bookworm"), wait=False)
            wait_for_state(instance, InstanceState.TERMINATED)
            reason = state_reason(ec2, instance)
            assert reason.startswith("Server.InternalError: no space left on the disk: ")
            assert reason.endswith(" MiB are needed")


def test_an_image_is_kept_as_long_as_a_machine_needs_it(halting_disk: Path, tmp_path: Path) -> None:
    catalogue = Catalog(paths.images_dir())
    catalogue.add(halting_disk, release="bookworm")
    with LocalEC2() as local, cloud(local, tmp_path) as ec2:
        image_id = ec2.daily_image("bookworm")
        instance = ec2.launch(image_id, wait=False)
        wait_for_state(instance, InstanceState.RUNNING)
        with pytest.raises(ImageError, match="is in use: delete the instances"):
            catalogue.remove(image_id)
        ec2.client.stop_instances(InstanceIds=[instance.id], Force=True)
        wait_for_state(instance, InstanceState.STOPPED)
        with pytest.raises(ImageError, match="is in use: delete the instances"):
            catalogue.remove(image_id)
        ec2.client.start_instances(InstanceIds=[instance.id])
        wait_for_state(instance, InstanceState.RUNNING)
        assert instance.delete() == []
        catalogue.remove(image_id)
        assert catalogue.images() == []


def test_an_image_that_a_killed_server_used_can_be_removed(halting_disk: Path) -> None:
    catalogue = Catalog(paths.images_dir())
    image = catalogue.add(halting_disk, release="bookworm")
    local = LocalEC2()
    info = local.start()
    settings = {"region": info.region, "endpoint_url": info.endpoint_url}
    ec2 = EC2("killed", **settings, access_key_id="a", secret_access_key="b")
    ec2.client.run_instances(ImageId=image.image_id, MinCount=1, MaxCount=1)
    wait_until(lambda: machines_of(info.pid), what="the machine to run", deadline=Deadline.after(240), interval=0.05)
    os.kill(info.pid, signal.SIGKILL)
    wait_until(
        lambda: not local.directory.exists(),
        what="the directory to be gone",
        deadline=Deadline.after(240),
        interval=0.05,
    )
    local.stop()
    catalogue.remove(image.image_id)
    assert catalogue.images() == []


def test_when_no_address_has_its_ssh_port_free_the_instance_says_so(halting_disk: Path, tmp_path: Path) -> None:
    Catalog(paths.images_dir()).add(halting_disk, release="bookworm")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        taken.bind(("", 0))
        port = taken.getsockname()[1]
        taken.close()
        with LocalEC2(ssh_port=port) as local, cloud(local, tmp_path) as ec2, socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            listener.bind(("", port))
            listener.listen()
            instance = ec2.launch(ec2.daily_image("bookworm"), wait=False)
            wait_for_state(instance, InstanceState.TERMINATED)
            assert f"no loopback address has port {port} free" in state_reason(ec2, instance)
            assert machines_of(local.info.pid) == []


@pytest.mark.parametrize(
    ("number", "status", "complaints"),
    [
        (signal.SIGINT, 130, ["demo: interrupted; nothing is left running"]),
        (signal.SIGTERM, 1, ["demo: terminated; nothing is left running"]),
        (signal.SIGKILL, -9, []),
    ],
)
def test_nothing_is_left_of_a_demo_that_is_cut_off(
    number: signal.Signals, status: int, complaints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    command = [sys.executable, str(DEMO)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("Waiting until it has booted" in line for line in demo.stdout)
        processes = processes_of(tmp_path)
        demo.send_signal(number)
        _, stderr = demo.communicate(timeout=240)
    assert (demo.returncode, [line for line in stderr.splitlines() if line.startswith("demo: ")]) == (
        status,
        complaints,
    )
    assert "Traceback" not in stderr
    assert processes
    wait_until(
        lambda: not processes_of(tmp_path), what="every process to be gone", deadline=Deadline.after(240), interval=0.05
    )
    wait_until(
        lambda: not list(paths.state_dir().iterdir()),
        what="its directory to go",
        deadline=Deadline.after(240),
        interval=0.05,
    )
    if number is not signal.SIGKILL:
        assert list(temporary.iterdir()) == []


def processes_of(directory: Path) -> list[int]:
    """The processes whose command or working directory is below a directory."""
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _is_of(process, directory)]


def _is_of(process: Path, directory: Path) -> bool:
    try:
        command = (process / "cmdline").read_text()
        return f"{directory}/" in command or (process / "cwd").readlink().is_relative_to(directory)
    except OSError:
        return False
