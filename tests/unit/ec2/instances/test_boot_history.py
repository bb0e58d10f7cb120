from __future__ import annotations

from pycloudlib.ec2.instances.boot_history import BootHistory, ExpectedBoot
from pycloudlib.ec2.instances.console import ConsoleMark


def history(*, boots_first: bool = False) -> BootHistory:
    return BootHistory(lambda *_: None, boots_first=boots_first)


def test_launch_expects_new_host_keys_in_first_boot_only() -> None:
    boots = history(boots_first=True)
    assert not boots.expected.keeps_host_keys
    boots.note_ready(boots.expected, "one")
    assert boots.expected == ExpectedBoot(keeps_host_keys=True)


def test_reboot_expects_another_boot_id_and_a_new_timeline() -> None:
    boots = history()
    boots.seen_boot_id = "one"
    before = boots.recorder
    boots.note_request()
    assert boots.expected.old_boot_id == "one"
    assert boots.recorder is not before


def test_start_expects_any_boot_id() -> None:
    boots = history()
    boots.seen_boot_id = "one"
    boots.note_request()
    boots.note_request(started=True)
    assert boots.expected == ExpectedBoot(was_stopped=True, keeps_host_keys=True)


def test_console_mark_survives_a_boot() -> None:
    boots = history()
    boots.note_console("the first boot")
    boots.note_ready(boots.expected, "one")
    assert boots.expected.console_before == ConsoleMark("the first boot")


def test_end_of_a_wait_keeps_later_requests() -> None:
    boots = history()
    awaited = boots.expected
    boots.seen_boot_id = "one"
    boots.note_request()
    boots.note_ready(awaited, "one")
    assert boots.expected.old_boot_id == "one"


def test_clean_expects_new_host_keys() -> None:
    boots = history()
    boots.expect_first_boot()
    assert not boots.expected.keeps_host_keys
