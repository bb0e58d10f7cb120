"""What is asked of the guest over SSH, through EC2Instance."""

from __future__ import annotations

from pathlib import Path

from pycloudlib.ec2.instance import EC2Instance


def test_a_command_gives_back_both_streams_and_its_status(instance: EC2Instance) -> None:
    result = instance.execute("echo out; echo err >&2; exit 7")
    assert (result.stdout, result.stderr, result.return_code) == ("out", "err", 7)


def test_a_command_reads_its_standard_input(instance: EC2Instance) -> None:
    assert instance.execute("cat", stdin="from here") == "from here"


def test_a_command_has_the_environment_it_is_given(instance: EC2Instance) -> None:
    assert instance.execute('echo "$GREETING"', env={"GREETING": "it's me"}) == "it's me"


def test_a_list_is_run_as_it_is(instance: EC2Instance) -> None:
    assert instance.execute(["echo", "$HOME", "a  b"]) == "$HOME a  b"


def test_a_script_runs_and_is_removed(instance: EC2Instance) -> None:
    result = instance.run_script('#!/bin/sh\necho "$0"\nexit 4')
    assert result.return_code == 4
    assert instance.execute(["test", "-e", str(result)]).failed


def test_a_file_goes_in_and_comes_back(instance: EC2Instance, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "here").write_bytes(content)
    remote = instance.execute("mktemp -d").check() + "/there"
    instance.push_file(tmp_path / "here", remote)
    instance.pull_file(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_the_boot_id_stays_the_same_while_nothing_restarts(instance: EC2Instance) -> None:
    assert instance.get_boot_id() == instance.get_boot_id() != ""
