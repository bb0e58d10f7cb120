"""The life of a local EC2's process: start, find, stop, and whatever may end it instead."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import boto3
import pytest
from botocore.exceptions import ClientError

from pycloudlib.deadline import Deadline
from pycloudlib.errors import LocalEC2Error, MissingPrerequisiteError
from pycloudlib.local import LocalEC2, daemon, server_directories
from pycloudlib.waiting import wait_until

pytestmark = pytest.mark.usefixtures("home")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_it_answers_inside_the_block_and_leaves_nothing_behind() -> None:
    with LocalEC2(driver="simulated") as local:
        assert answers(local.endpoint_url)
        pid, directory, url = local.info.pid, local.directory, local.endpoint_url
        assert directory.stat().st_mode & 0o777 == 0o700
    assert is_gone(pid)
    assert not directory.exists()
    assert not answers(url)


def test_it_listens_on_loopback_only() -> None:
    with LocalEC2(driver="simulated") as local:
        host = local.endpoint_url.removeprefix("http://").split(":")[0]
        assert host == "127.0.0.1"


def test_its_directory_is_where_it_was_started_wherever_the_next_one_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "first"))
    with LocalEC2(driver="simulated") as local:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "second"))
        assert local.directory.is_relative_to(tmp_path / "first")
        assert local.directory.is_dir()
    assert not local.directory.exists()
    assert not (tmp_path / "second").exists()


def test_two_run_side_by_side() -> None:
    with LocalEC2(driver="simulated") as one, LocalEC2(driver="simulated") as other:
        assert one.endpoint_url != other.endpoint_url
        assert answers(one.endpoint_url)
        assert answers(other.endpoint_url)


def test_a_daemon_is_found_by_its_name_until_it_is_stopped() -> None:
    started = LocalEC2("one", driver="simulated").start()
    try:
        assert daemon.find_server("one") == started
        assert daemon.running_servers() == {"one": started}
        assert daemon.log_file("one").exists()
    finally:
        daemon.stop_server("one")
    assert daemon.find_server("one") is None
    wait_until(lambda: is_gone(started.pid), what="its process to be gone", deadline=Deadline.after(60))


def test_a_stopped_daemon_is_gone_with_all_it_had_and_its_name_is_free() -> None:
    for _ in range(5):
        local = LocalEC2("again", driver="simulated")
        pid = local.start().pid
        # As another program stops it, which has not started it.
        daemon.stop_server("again")
        assert is_gone(pid)
        assert not local.directory.exists()


def test_a_name_is_taken_once(home: Path) -> None:
    with LocalEC2("one", driver="simulated") as first:
        with pytest.raises(LocalEC2Error, match="'one' is already running"):
            LocalEC2("one", driver="simulated").start()
        assert answers(first.endpoint_url)
        assert first.directory.exists()


def test_stopping_what_does_not_run_is_an_error() -> None:
    with pytest.raises(LocalEC2Error, match="no local EC2 named 'none' is running"):
        daemon.stop_server("none")


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        local = LocalEC2(driver="simulated", port=port)
        with pytest.raises(LocalEC2Error, match=f"cannot listen on 127.0.0.1:{port}"):
            local.start()
    assert not local.directory.exists()


def test_missing_qemu_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    local = LocalEC2(driver="qemu")
    with pytest.raises(MissingPrerequisiteError, match=r"qemu-system-x86_64.* apt-get install -y .*qemu-system-x86"):
        local.start()
    assert not local.directory.exists()


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LocalEC2Error, match=r"unknown option 'memory': known are .*max_memory_mib"):
        LocalEC2(memory=1)


def test_endpoint_before_start_is_an_error() -> None:
    with pytest.raises(LocalEC2Error, match="is not running"):
        _ = LocalEC2().endpoint_url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_the_server_its_directory_goes_too(number: signal.Signals) -> None:
    local = LocalEC2("one", driver="simulated")
    info = local.start()
    os.kill(info.pid, number)
    wait_until(lambda: not local.directory.exists(), what="the directory to be gone", deadline=Deadline.after(60))
    wait_until(lambda: is_gone(info.pid), what="the server to be gone", deadline=Deadline.after(60))
    assert daemon.find_server("one") is None
    local.stop()


def test_it_ends_with_the_process_that_used_it(home: Path) -> None:
    program = "import sys, pycloudlib.local as l; e = l.LocalEC2('one', driver='simulated').__enter__(); "
    program += "print(e.info.pid, flush=True); sys.stdin.read()"
    user = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert user.stdout is not None
    pid = int(user.stdout.readline())
    assert not is_gone(pid)
    user.kill()
    user.communicate()
    wait_until(lambda: is_gone(pid), what="the server to be gone", deadline=Deadline.after(60))
    wait_until(
        lambda: not daemon.paths.state_dir().joinpath("one").exists(),
        what="its directory to go",
        deadline=Deadline.after(60),
    )


def test_what_was_left_after_a_power_cut_is_removed_by_the_next_start() -> None:
    left = daemon.paths.state_dir() / "left"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "root.qcow2").touch()
    with LocalEC2(driver="simulated"):
        assert not left.exists()


def test_starts_of_one_name_after_a_power_cut_do_not_delete_each_others_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = daemon.paths.state_dir() / "one"
    left.mkdir(parents=True)
    (left / "lock").touch()
    other = LocalEC2("one", driver="simulated")
    other_start = Thread(target=other.start)
    rmtree = shutil.rmtree

    def interrupted(path: Path, **more: bool) -> None:
        """Before the first deletion, let the other start come first."""
        if other_start.ident is None:
            other_start.start()
            other_start.join()
        rmtree(path, **more)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    try:
        with pytest.raises(LocalEC2Error, match="'one' is already running"):
            LocalEC2("one", driver="simulated").start()
        assert daemon.find_server("one") == other.info
        assert answers(other.endpoint_url)
    finally:
        other.stop()


def test_a_killed_server_is_started_again_at_once() -> None:
    local = LocalEC2("one", driver="simulated")
    killed = local.start()
    many = local.directory / "machines"
    many.mkdir()
    for number in range(2000):
        (many / str(number)).touch()
    os.kill(killed.pid, signal.SIGKILL)
    with LocalEC2("one", driver="simulated") as again:
        assert again.info.pid != killed.pid
        assert daemon.find_server("one") == again.info
        assert answers(again.endpoint_url)
        assert server_directories.is_locked(again.directory)


def test_the_janitor_deletes_nothing_of_the_next_server(tmp_path: Path) -> None:
    """The next server makes its directory while the reaper deletes that of the server that was killed."""
    directory, aside = tmp_path / "one", tmp_path / ".gone-1"
    directory.mkdir()
    (directory / "old").touch()
    rm = tmp_path / "bin" / "rm"
    rm.parent.mkdir()
    rm.write_text(f'#!/bin/sh\nmkdir -p {directory}; touch {directory}/new; exec /bin/rm "$@"\n')
    rm.chmod(0o755)
    reaper = ["/bin/sh", "-c", server_directories.REAPER, str(directory), str(aside)]
    environment = {**os.environ, "PATH": f"{rm.parent}:{os.environ['PATH']}"}
    subprocess.run(reaper, stdin=subprocess.DEVNULL, env=environment, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "one"]
    assert [path.name for path in directory.iterdir()] == ["new"]


def test_the_settings_lead_to_it() -> None:
    with LocalEC2(driver="simulated", region="eu-west-1", ssh_port=2222) as local:
        settings = local.info.settings()
        assert settings["endpoint_url"] == local.endpoint_url
        assert (settings["region"], settings["ssh_port"]) == ("eu-west-1", 2222)
        assert f'endpoint_url = "{local.endpoint_url}"' in local.info.settings_toml()
        assert 'public_key_path = "/keys/one.pub"' in local.info.settings_toml(public_key_path=Path("/keys/one.pub"))


def test_one_that_runs_is_not_started_again() -> None:
    with LocalEC2(driver="simulated") as local:
        with pytest.raises(LocalEC2Error, match="is already running"):
            local.start()
        assert answers(local.endpoint_url)
    assert not local.directory.exists()


def test_threads_have_one_each() -> None:
    def endpoint(_: int) -> str:
        with LocalEC2(driver="simulated") as local:
            assert answers(local.endpoint_url)
            return local.endpoint_url

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(endpoint, range(4)))) == 4
    assert list(daemon.paths.state_dir().iterdir()) == []


def test_looking_whether_one_runs_keeps_none_from_starting() -> None:
    seen = Event()

    def look() -> None:
        while not seen.is_set():
            daemon.running_servers()
            server_directories.open_log(daemon.paths.state_dir() / "other").close()

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        try:
            with LocalEC2(driver="simulated") as local:
                assert answers(local.endpoint_url)
        finally:
            seen.set()
        looking.result()


def test_a_region_that_there_is_not_is_refused_by_the_server_too() -> None:
    with LocalEC2(driver="simulated") as local:
        client = boto3.client(
            "ec2",
            region_name="nowhere-1",
            endpoint_url=local.endpoint_url,
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        with pytest.raises(ClientError, match=r"InvalidParameterValue.*There is no region 'nowhere-1'"):
            client.describe_instances()


def test_limit_of_open_files_is_raised() -> None:
    """Each port that security groups open to the host is a listening socket."""
    program = (
        "from pathlib import Path; from pycloudlib.local import LocalEC2\n"
        "with LocalEC2(driver='simulated') as local: print(Path(f'/proc/{local.info.pid}/limits').read_text())"
    )
    shell = 'ulimit -Sn 256; ulimit -Hn 4096; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    (line,) = [line.split() for line in done.stdout.splitlines() if line.startswith("Max open files")]
    assert line[3:5] == ["4096", "4096"]
