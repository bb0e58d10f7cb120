from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from pycloudlib.errors import HostKeyError, InvalidArgumentError
from pycloudlib.ssh.host_keys import (
    HostKey,
    HostKeys,
    KeyOwners,
    Mode,
    keys_from_console,
)
from support.sshd import make_key

HOST = "192.0.2.1:22"


class Key:
    """A host key made by ssh-keygen."""

    def __init__(self, directory: Path, name: str, key_type: str = "ed25519") -> None:
        self.path = make_key(directory / name, key_type).with_suffix(".pub")
        self.line = " ".join(self.path.read_text().split()[:2])
        self.kind, encoded = self.line.split()
        self.blob = base64.b64decode(encoded)

    @property
    def fingerprint(self) -> str:
        return subprocess.run(
            ["ssh-keygen", "-l", "-f", str(self.path)], check=True, capture_output=True, text=True
        ).stdout.split()[1]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path, "key")


@pytest.fixture
def other(tmp_path: Path) -> Key:
    return Key(tmp_path, "other")


def check(host_keys: HostKeys, key: Key) -> None:
    host_keys.check(key.kind, key.blob, host=HOST)


def test_a_key_is_written_as_openssh_reads_it(key: Key, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(HostKey(key.kind, key.blob).known_hosts_line("[127.0.0.1]:2222"))
    command = ["ssh-keygen", "-F", "[127.0.0.1]:2222", "-l", "-f", str(known_hosts)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert key.fingerprint in found


def test_pinned_accepts_the_first_key_and_that_one_again(key: Key) -> None:
    host_keys = HostKeys("pinned")
    check(host_keys, key)
    check(host_keys, key)
    assert host_keys.known_kinds == ("ssh-ed25519",)


def test_pinned_refuses_another_key_and_names_both_fingerprints(key: Key, other: Key) -> None:
    host_keys = HostKeys("pinned")
    check(host_keys, key)
    with pytest.raises(HostKeyError) as raised:
        check(host_keys, other)
    message = str(raised.value)
    assert key.fingerprint in message
    assert other.fingerprint in message
    assert HOST in message
    check(host_keys, key)


def test_pinned_checks_the_first_key_against_those_of_the_console(key: Key, other: Key) -> None:
    host_keys = HostKeys("pinned")
    host_keys.learn([other.line])
    with pytest.raises(HostKeyError, match="is not on its console"):
        check(host_keys, key)
    check(host_keys, other)


def test_console_refuses_every_key_before_the_console_has_shown_any(key: Key) -> None:
    host_keys = HostKeys("console")
    with pytest.raises(HostKeyError, match="does not show its host keys yet"):
        check(host_keys, key)


def test_console_accepts_any_of_the_keys_it_has_learned(key: Key, other: Key, tmp_path: Path) -> None:
    host_keys = HostKeys("console")
    ecdsa = Key(tmp_path, "ecdsa", "ecdsa")
    host_keys.learn([f"{key.line} root@host", ecdsa.line])
    check(host_keys, key)
    check(host_keys, ecdsa)
    assert host_keys.known_kinds == ("ssh-ed25519", "ecdsa-sha2-nistp256")
    with pytest.raises(HostKeyError, match=r"SHA256:.* is not among .*SHA256:.*SHA256:"):
        check(host_keys, other)


def test_keys_learned_later_take_the_place_of_the_earlier_ones(key: Key, other: Key) -> None:
    host_keys = HostKeys("console")
    host_keys.learn([key.line])
    host_keys.learn([])
    check(host_keys, key)
    host_keys.learn([other.line])
    with pytest.raises(HostKeyError):
        check(host_keys, key)


def test_insecure_accepts_every_key(key: Key, other: Key) -> None:
    host_keys = HostKeys("insecure")
    host_keys.learn([key.line])
    check(host_keys, key)
    check(host_keys, other)
    assert host_keys.known_kinds == ()


def test_a_host_may_have_new_keys_after_the_old_ones_are_forgotten(key: Key, other: Key) -> None:
    host_keys = HostKeys("pinned")
    host_keys.learn([key.line])
    check(host_keys, key)
    host_keys.forget()
    check(host_keys, other)


def test_there_is_no_other_mode() -> None:
    with pytest.raises(InvalidArgumentError, match="'strict'; allowed are console, pinned, insecure"):
        HostKeys("strict")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 !!!!", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA"]
)
def test_what_is_no_public_key_is_not_learned(line: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not a public host key"):
        HostKeys().learn([line])


def console(*lines: str) -> str:
    begin = ["[   12.3] cloud-init[501]: ci-info: +++", "-----BEGIN SSH HOST KEY KEYS-----"]
    end = ["-----END SSH HOST KEY KEYS-----", "login: "]
    return "\r\n".join([*begin, *lines, *end])


def test_console_keys_are_found_among_kernel_and_journal_noise(key: Key, tmp_path: Path) -> None:
    rsa = Key(tmp_path, "rsa", "rsa")
    text = console(
        f"[   14.701218] cloud-init[555]: {key.line} root@ip-10-0-0-1",
        "[   14.8] random: crng init done",
        f"<14>Nov 20 16:00:00 cloud-init: {rsa.line} root@ip-10-0-0-1",
    )
    assert keys_from_console(text) == [key.line, rsa.line]


def test_console_keys_of_the_latest_boot_count(key: Key, other: Key) -> None:
    assert keys_from_console(console(key.line) + console(other.line)) == [other.line]


@pytest.mark.parametrize("text", ["", "login: ", "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAAC3Nza"])
def test_a_console_without_a_complete_block_gives_no_keys(text: str) -> None:
    assert keys_from_console(text) == []


def test_fingerprints_of_other_blocks_are_not_taken_for_keys(key: Key) -> None:
    text = f"-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 {key.fingerprint} root@host (ED25519)\n" + console(key.line)
    assert keys_from_console(text) == [key.line]


def test_a_pinned_key_that_the_console_does_not_show_is_contradicted(key: Key, other: Key) -> None:
    host_keys = HostKeys()
    check(host_keys, key)
    assert not host_keys.is_contradicted
    host_keys.learn([other.line])
    assert host_keys.is_contradicted
    host_keys.drop_pin()
    with pytest.raises(HostKeyError, match="is not on its console"):
        check(host_keys, key)
    check(host_keys, other)
    assert not host_keys.is_contradicted


@pytest.mark.parametrize("mode", ["pinned", "console", "insecure"])
def test_the_key_that_was_accepted_is_known_in_every_mode(mode: Mode, key: Key) -> None:
    host_keys = HostKeys(mode)
    assert host_keys.accepted is None
    host_keys.learn([key.line])
    check(host_keys, key)
    assert host_keys.accepted == HostKey(key.kind, key.blob)


def test_two_who_have_the_same_key_are_found(key: Key, other: Key) -> None:
    owners = KeyOwners()
    first, second = HostKey(key.kind, key.blob), HostKey(other.kind, other.blob)
    assert owners.note(first, "i-1") is None
    assert owners.note(first, "i-1") is None
    assert owners.note(second, "i-2") is None
    assert owners.note(first, "i-3") == "i-1"
    assert owners.note(second, "i-3") == "i-2"
    assert owners.note(first, "i-4") is None
