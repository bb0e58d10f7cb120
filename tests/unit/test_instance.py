from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from getpass import getuser
from pathlib import Path

import pytest

from pycloudlib.errors import CleanupError, CommandError, SSHConnectionError, UnsetSSHKeyError
from pycloudlib.instance import raise_unless_secondary
from pycloudlib.key import KeyPair
from support.guest import Guest
from support.plain_instance import PlainInstance as Machine
from support.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


@pytest.fixture
def machine(sshd: Sshd) -> Iterator[Machine]:
    private = sshd.private_key_path
    pair = KeyPair(private.with_suffix(".pub"), private)
    machine = Machine("m-1", username=getuser(), key_pair=pair, port=sshd.port)
    yield machine
    machine._ssh.close()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    """A guest that grants root rights to nobody, but says what was asked for."""
    with Guest(tmp_path / "guest") as guest:
        guest.program("sudo", 'echo "as root: $*"')
        yield guest


@pytest.fixture
def machine_of_guest(guest: Guest) -> Iterator[Machine]:
    machine = Machine("m-2", username=getuser(), key_pair=guest.key_pair, port=guest.sshd.port)
    yield machine
    machine._ssh.close()


def test_a_command_gives_back_both_streams_and_its_status(machine: Machine) -> None:
    result = machine.execute("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.return_code) == ("out", "err", 3)


def test_output_is_given_as_it_comes_and_not_kept(machine: Machine) -> None:
    pieces: list[tuple[str, bytes]] = []
    result = machine.execute("echo out; echo err >&2; exit 3", on_output=lambda *piece: pieces.append(piece))
    assert sorted(pieces) == [("stderr", b"err\n"), ("stdout", b"out\n")]
    assert (result.stdout, result.stderr, result.return_code) == ("", "", 3)


def test_accepted_host_key_is_available(machine: Machine, sshd: Sshd) -> None:
    assert machine.host_key().known_hosts_line("m-1") == f"m-1 {sshd.host_key}\n"
    assert machine.host_key() is machine.host_key()


def test_commands_share_one_connection(machine: Machine) -> None:
    show = "echo $SSH_CONNECTION"
    assert machine.execute(show) == machine.execute(show)


def test_threads_share_one_connection(machine: Machine) -> None:
    shown: list[str] = []
    threads = [threading.Thread(target=lambda: shown.append(machine.execute("echo $SSH_CONNECTION"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown) == 5
    assert len(set(shown)) == 1


def test_another_address_gets_a_connection_of_its_own(machine: Machine) -> None:
    before = machine.execute("echo $SSH_CONNECTION")
    machine.address = "localhost"
    assert machine.execute("echo $SSH_CONNECTION") != before


def test_a_script_runs_from_a_file_that_only_its_user_can_read(machine: Machine) -> None:
    result = machine.run_script('#!/bin/sh\nstat -c %a "$0"; echo "$0"; exit 5')
    mode, path = result.splitlines()
    assert (mode, result.return_code) == ("700", 5)
    assert not Path(path).exists()


def test_a_script_makes_files_with_the_modes_that_a_command_does(machine: Machine) -> None:
    assert machine.run_script("umask") == machine.execute("umask")


def test_a_script_that_is_killed_is_removed_too(machine: Machine) -> None:
    result = machine.run_script("#!/bin/sh\necho $0; kill -KILL $$")
    assert result.return_code == 137
    assert not Path(str(result)).exists()


def test_script_runs_with_its_interpreter(machine: Machine) -> None:
    assert machine.run_script("#!/usr/bin/env -S cat\nas it is") == "#!/usr/bin/env -S cat\nas it is"


def test_a_script_without_a_first_line_is_run_by_the_shell(machine: Machine) -> None:
    assert machine.run_script("echo plain") == "plain"


@pytest.fixture
def machine_with_noexec(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """A machine whose login shell sees these directories mounted noexec."""
    with ExitStack() as undo:

        def make(*folders: Path | str) -> Machine:
            mounts = "".join(f"mount -t tmpfs -o noexec,mode=1777 none '{folder}' && " for folder in folders)
            shell = tmp_path / "shell"
            shell.write_text(f'#!/bin/sh\nexec unshare -m -r sh -c \'{mounts}exec /bin/sh "$@"\' sh "$@"\n')
            shell.chmod(0o755)
            if subprocess.run([shell, "-c", "true"], check=False, capture_output=True).returncode:
                pytest.skip("this user may not mount anything, even in a namespace")
            sshd = undo.enter_context(Sshd(tmp_path / "sshd", shell=str(shell)))
            private = sshd.private_key_path
            pair = KeyPair(private.with_suffix(".pub"), private)
            machine = Machine("m-3", username=getuser(), key_pair=pair, port=sshd.port)
            undo.callback(machine._ssh.close)
            return machine

        yield make


SHOW_FOLDER = '#!/bin/sh\nstat -c %a "$0"; dirname "$0"; exit 5'


def test_a_script_runs_where_tmp_is_mounted_noexec(machine_with_noexec: Callable[..., Machine]) -> None:
    # The home directory of the test is below /tmp.
    machine = machine_with_noexec("/tmp")
    result = machine.run_script(SHOW_FOLDER)
    assert (result.stdout.splitlines(), result.return_code) == (["700", "/var/tmp"], 5)
    assert machine.run_script("echo plain") == "plain"
    assert machine.execute("ls -d /tmp/script.* /var/tmp/script.* 2>/dev/null") == ""


def test_a_script_that_may_run_nowhere_names_the_directories(
    machine_with_noexec: Callable[..., Machine], tmp_path: Path
) -> None:
    result = machine_with_noexec("/tmp", "/var/tmp", "/run", "/dev/shm").run_script("echo no")
    assert (result.stdout, result.return_code) == ("", 126)
    assert "/tmp, " in result.stderr
    assert "/dev/shm are not writable, or mounted noexec" in result.stderr


def test_a_script_may_hold_any_bytes(machine: Machine) -> None:
    assert machine.run_script(b"#!/bin/sh\nprintf '\xff'").raw_stdout == b"\xff"


def test_a_script_shows_its_description_and_nothing_else(machine: Machine) -> None:
    assert machine.run_script("exit 1", description="set up").command == "set up"
    assert machine.run_script("exit 1").command == "a script"


def test_a_file_goes_in_and_comes_back(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"\0\xff text")
    machine.push_file(tmp_path / "local", str(tmp_path / "remote"))
    machine.pull_file(tmp_path / "remote", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"\0\xff text"


def test_a_directory_goes_in_and_comes_back(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "local" / "inner").mkdir(parents=True)
    (tmp_path / "local" / "inner" / "file").write_bytes(b"\0\xff text")
    machine.push_dir(tmp_path / "local", tmp_path / "remote")
    machine.pull_dir(str(tmp_path / "remote"), str(tmp_path / "back"))
    assert (tmp_path / "back" / "inner" / "file").read_bytes() == b"\0\xff text"


def test_packages_are_installed_as_root(machine_of_guest: Machine, guest: Guest) -> None:
    guest.program("sudo", 'case "$*" in *command*) echo /usr/bin/dnf;; *) echo "as root: $*";; esac')
    assert machine_of_guest.install("hello vim") == "as root: -n -- sh -c -- dnf -y install hello vim"
    assert machine_of_guest.install(["hello"]) == "as root: -n -- sh -c -- dnf -y install hello"


def test_packages_are_updated_as_root(machine_of_guest: Machine, guest: Guest) -> None:
    guest.program("sudo", 'case "$*" in *command*) echo /usr/bin/dnf;; *) echo "as root: $*";; esac')
    assert machine_of_guest.update() == "as root: -n -- sh -c -- dnf -y --refresh upgrade"


def test_it_is_cleaned_as_root_in_one_command(machine_of_guest: Machine, guest: Guest, tmp_path: Path) -> None:
    guest.program("sudo", f'echo "$3 $4 $5" >>"{tmp_path}/asked"')
    machine_of_guest.clean()
    assert (tmp_path / "asked").read_text() == "env ROOT= sh\n"


def test_a_clean_machine_may_come_back_with_other_host_keys(machine_of_guest: Machine, guest: Guest) -> None:
    machine_of_guest.clean()
    guest.sshd.restart(new_host_keys=True)
    assert machine_of_guest.execute("echo here") == "here"


def test_failed_clean_reports_the_reason(machine_of_guest: Machine, guest: Guest) -> None:
    guest.program("sudo", 'echo "sudo: a password is required" >&2; exit 1')
    with pytest.raises(CommandError, match="the guest could not be cleaned: sudo: a password is required"):
        machine_of_guest.clean()


def test_missing_key_is_an_error(sshd: Sshd) -> None:
    with pytest.raises(UnsetSSHKeyError, match=r"m-1 .*use_key"):
        Machine("m-1", username="me", key_pair=None, port=sshd.port).execute("true")


def test_a_machine_that_is_not_there_is_a_connection_error(machine: Machine) -> None:
    machine.port = 9
    with pytest.raises(SSHConnectionError, match=r"127\.0\.0\.1:9"):
        machine.execute("true")


def test_leaving_the_context_deletes_it(machine: Machine) -> None:
    with machine as entered:
        assert entered is machine
    assert machine.deletions == 1


def test_leaving_the_context_raises_what_went_wrong(machine: Machine) -> None:
    machine.errors = (RuntimeError("still there"),)
    with pytest.raises(CleanupError, match="still there"), machine:
        pass


def test_an_error_in_the_body_stays_the_main_one(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.errors = (RuntimeError("still there"),)
    with pytest.raises(ZeroDivisionError) as caught, machine:
        raise ZeroDivisionError
    assert "still there" in caplog.text
    assert "still there" in "".join(getattr(caught.value, "__notes__", [caplog.text]))


def test_no_errors_raise_nothing() -> None:
    raise_unless_secondary([], None)
