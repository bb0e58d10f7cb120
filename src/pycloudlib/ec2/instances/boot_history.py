"""The boots of one instance: the latest one, and the criteria for the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pycloudlib.ec2.instances.boot_timeline import TimelineRecorder
from pycloudlib.ec2.instances.console import ConsoleMark


@dataclass(frozen=True)
class ExpectedBoot:
    """The criteria that distinguish the awaited boot from earlier ones.

    Args:
        old_boot_id: the boot id of the previous boot; default none, for a first boot or an unknown boot id.
        console_before: the end of the console log of earlier boots; default: there were none.
        was_stopped: whether the instance was just started, so that EC2 may still report it as stopped; default no.
        keeps_host_keys: whether the host should keep its keys; default no, as a first boot generates new ones.
    """

    old_boot_id: str | None = None
    console_before: ConsoleMark = field(default_factory=ConsoleMark)
    was_stopped: bool = False
    keeps_host_keys: bool = False


class BootHistory:
    """The boots of one instance.

    Args:
        on_stage: called with each reached stage of a boot, and the seconds since its request.
        boots_first: whether the instance is newly launched, so that its next boot generates host keys.
    """

    def __init__(self, on_stage: Callable[[str, float], None], *, boots_first: bool) -> None:
        self._on_stage = on_stage
        self.seen_boot_id: str | None = None
        """The boot id as last read; None before the first read."""
        self.expected = ExpectedBoot(keeps_host_keys=not boots_first)
        """The boot that the next wait expects."""
        self.recorder = TimelineRecorder(on_stage)
        """The timeline of the latest boot."""

    def expect_boot_after(self, boot_id: str) -> None:
        """Expect a boot that was requested elsewhere, for example by a command in the guest.

        Args:
            boot_id: the boot id before it.
        """
        self.expected = replace(self.expected, old_boot_id=boot_id)

    def expect_first_boot(self) -> None:
        """Expect a boot with new host keys: the guest was cleaned, or has another root volume."""
        self.expected = replace(self.expected, keeps_host_keys=False)

    def note_console(self, text: str) -> None:
        """Record where the console log of the next boot begins.

        Args:
            text: the console log of the earlier boots.
        """
        self.expected = replace(self.expected, console_before=ConsoleMark.at_end_of(text))

    def note_request(self, *, started: bool = False) -> None:
        """Record a request to stop, start, or reboot the instance.

        Args:
            started: whether it was a start request; default no.
        """
        # After a reboot request, the old boot's sshd still answers for a while; after a stop it does not.
        self.expected = replace(
            self.expected,
            was_stopped=self.expected.was_stopped or started,
            old_boot_id=None if started else self.seen_boot_id,
        )
        self.restart_timeline()

    def restart_timeline(self) -> None:
        """Record the timeline of another boot, which begins now."""
        self.recorder = TimelineRecorder(self._on_stage)

    def note_ready(self, awaited: ExpectedBoot, boot_id: str | None) -> None:
        """Record that an expected boot is over. Requests of other threads since the wait began remain expected.

        Args:
            awaited: the boot that the wait expected.
            boot_id: the boot id; None if the guest has none.
        """
        self.seen_boot_id = boot_id
        if replace(self.expected, console_before=awaited.console_before) == awaited:
            self.expected = replace(self.expected, old_boot_id=None, was_stopped=False, keeps_host_keys=True)
