"""A machine: a queue of commands, served in order by one thread.

Requests and the hardware's signals arrive in one mailbox. A single thread therefore changes all state, without locks.
Device commands wait until the machine is off or running; power commands are served on arrival. Every command ends
exactly once.
"""

from __future__ import annotations

import enum
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import MachineError, PycloudlibError
from pycloudlib.local.machines.base import MachineOwner, MachineSpec, PowerOffCause
from pycloudlib.local.machines.commands import (
    DONE,
    OVERTAKEN,
    ChangeInterface,
    Command,
    Destroy,
    DiskCommand,
    End,
    Ended,
    Freeze,
    Grow,
    Outcome,
    Plug,
    PowerCommand,
    Reboot,
    Request,
    Start,
    Stop,
    Unplug,
)
from pycloudlib.local.machines.hardware import (
    GuestShutdown,
    Hardware,
    HardwareOffError,
    PowerOff,
    Ready,
    Released,
    Signal,
)
from pycloudlib.local.machines.mailbox import Mailbox

logger = logging.getLogger(__name__)


class MachineState(enum.Enum):
    """The lifecycle states of a machine."""

    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting down"
    ENDING = "ending"
    """The guest has shut down, or the power is cut: the hardware signals PowerOff next."""
    GONE = "gone"


_MOVES = {
    MachineState.OFF: {MachineState.STARTING, MachineState.GONE},
    MachineState.STARTING: {MachineState.RUNNING, MachineState.ENDING, MachineState.OFF},
    MachineState.RUNNING: {MachineState.SHUTTING_DOWN, MachineState.ENDING, MachineState.OFF},
    MachineState.SHUTTING_DOWN: {MachineState.ENDING, MachineState.OFF},
    MachineState.ENDING: {MachineState.OFF},
    MachineState.GONE: set(),
}

_SETTLED = {MachineState.OFF, MachineState.RUNNING}
"""The states in which device commands are served."""


@dataclass(frozen=True)
class Overdue(Signal):
    """A state has timed out.

    Args:
        state: the state; the signal is ignored if the machine has left it.
    """

    state: MachineState


class Machine:
    """A machine. Its commands are asynchronous: it reports the end of each one to a callback.

    Args:
        spec: the initial specification.
        owner: notified when the machine runs, and when it goes off without being destroyed.
        hardware: the hardware.
        mailbox: the inputs of the machine.
    """

    def __init__(self, spec: MachineSpec, owner: MachineOwner, hardware: Hardware, mailbox: Mailbox) -> None:
        self.instance_id = spec.instance_id
        self.owner = owner
        self._hardware = hardware
        self._mailbox = mailbox
        self._state = MachineState.OFF
        self._run = 0
        self._guest_powered_off = False
        self._power: list[Request] = []
        self._while_off: list[Request] = []
        self._waiting: deque[Request] = deque()
        self._unplugging: dict[str, list[Request]] = {}
        mailbox.open(self._handle)

    @property
    def state(self) -> MachineState:
        """The current state."""
        return self._state

    def submit(self, command: Command, ended: Ended | None = None) -> None:
        """Queue a command.

        Args:
            command: the command.
            ended: called once with the end of the command; default none.
        """
        self.submit_request(Request(command) if ended is None else Request(command, ended))

    def submit_request(self, request: Request) -> None:
        """Queue a request."""
        interrupt = self._hardware.interrupter()
        if not self._mailbox.put(request):
            _refuse(request)
        elif is_urgent(request):
            # Interrupt the thread's wait; it serves the request next.
            interrupt()

    def console(self) -> bytes:
        """Return the complete output of the serial console."""
        return self._hardware.console()

    def uefi_data(self) -> str:
        """Return the current UEFI variables, as `UefiData`.

        Raises:
            LocalEC2Error: they cannot be read.
        """
        return self._hardware.uefi_data()

    # Only the machine's own thread calls the methods below.

    def _handle(self, item: Any) -> None:
        if isinstance(item, Request):
            self._serve(item)
        elif item.run == self._run:
            self._on_signal(item)

    def _serve(self, request: Request) -> None:
        if self._state is MachineState.GONE:
            _refuse(request)
        elif isinstance(request.command, PowerCommand):
            self._serve_power(request)
        else:
            self._waiting.append(request)
            self._serve_waiting()

    # Power

    def _serve_power(self, request: Request) -> None:
        off = self._state is MachineState.OFF
        if isinstance(request.command, Reboot):
            self._while_off += request.command.while_off
        if isinstance(request.command, Start):
            self._start(request, request.command)
        elif off and isinstance(request.command, Reboot):
            self._serve_while_off()
            request.end(End(Outcome.FAILED, self._refusal("rebooted")))
        elif off and isinstance(request.command, Stop):
            request.end(DONE)
        elif off:
            self._delete([request])
        else:
            self._power.append(request)
            self._bring_down(request.command)

    def _start(self, request: Request, start: Start) -> None:
        if self._state is not MachineState.OFF:
            request.end(End(Outcome.FAILED, self._refusal("started")))
            return
        self._power.append(request)
        self._switch_on(start)

    def _bring_down(self, command: Command) -> None:
        """Begin the shutdown or power cut that a command needs, unless one is in progress."""
        if self._state is MachineState.ENDING:
            return
        if is_forced(command) or self._state is MachineState.STARTING:  # a guest that has not started loses nothing
            self._cut_power()
        elif self._state is MachineState.RUNNING:
            self._move(MachineState.SHUTTING_DOWN, at_most=self._hardware.shutdown_seconds)
            self._hardware.press_power_button()

    def _cut_power(self) -> None:
        self._guest_powered_off = False
        self._move(MachineState.ENDING, at_most=self._hardware.finish_seconds)
        self._hardware.cut_power(for_good=self._has(Destroy))

    def _switch_on(self, start: Start | None = None) -> None:
        self._run += 1
        self._move(MachineState.STARTING)
        try:
            self._hardware.switch_on(self._run, start)
        except Exception as error:
            self._log_fault(error)
            self._went_off(str(error))
        else:
            self._mailbox.put_after(self._hardware.start_seconds, Overdue(self._run, MachineState.STARTING))

    def _on_signal(self, signal: Signal) -> None:
        state = self._state
        if isinstance(signal, PowerOff):
            if state not in (MachineState.OFF, MachineState.GONE):
                self._went_off(signal.detail)
        elif isinstance(signal, Released):
            self._released(signal.device_id)
        elif isinstance(signal, Ready):
            if state is MachineState.STARTING:
                self._ready()
        elif isinstance(signal, GuestShutdown):
            if state in (MachineState.RUNNING, MachineState.SHUTTING_DOWN):
                self._guest_powered_off = not signal.reset
                self._move(MachineState.ENDING, at_most=self._hardware.finish_seconds)
                self._hardware.finish()
        elif isinstance(signal, Overdue) and state is signal.state:
            if state is MachineState.SHUTTING_DOWN:
                self._cut_power()
            else:
                self._hardware.cut_power(for_good=False)

    def _ready(self) -> None:
        try:
            self._hardware.complete()
        except Exception as error:
            self._log_fault(error)
            # The state remains STARTING: _went_off decides whether to retry.
            self._hardware.cut_power(for_good=False)
            return
        self._move(MachineState.RUNNING)
        power, self._power = self._power, []
        for request in power:
            request.end(DONE)
        self.owner.machine_running()
        self._serve_waiting()

    def _went_off(self, detail: str) -> None:
        before = self._state
        self._move(MachineState.OFF)
        self._hardware.went_off()
        power, self._power = self._power, []
        self._serve_while_off()
        if _any(power, Destroy):
            self._delete(power)
            return
        self._serve_waiting()
        self._end_unplugging()
        if _any(power, Stop):
            self._stay_off(power, PowerOffCause.REQUESTED, "")
        elif before is MachineState.ENDING and (_any(power, Reboot) or not self._guest_powered_off):
            self._power = power
            self._switch_on()
        elif before is MachineState.ENDING:
            self._stay_off(power, PowerOffCause.GUEST, "")
        elif before is MachineState.STARTING and self._hardware.retry_from_beginning(detail):
            self._power = power
            self._switch_on()
        else:
            logger.warning("%s: the machine died: %s", self.instance_id, detail)
            self._stay_off(power, PowerOffCause.DIED, detail)

    def _serve_while_off(self) -> None:
        requests, self._while_off = self._while_off, []
        for request in requests:
            self._do(request)

    def _end_unplugging(self) -> None:
        # Only after queued commands for the same disks: from now on another machine may use them.
        for requests in self._unplugging.values():
            for request in requests:
                request.end(DONE)
        self._unplugging.clear()

    def _stay_off(self, power: list[Request], cause: PowerOffCause, detail: str) -> None:
        self._hardware.rest()
        for request in power:
            if isinstance(request.command, Stop):
                request.end(DONE)
            elif cause is PowerOffCause.REQUESTED:
                request.end(OVERTAKEN)
            else:
                request.end(End(Outcome.FAILED, detail or cause.value))
        self.owner.machine_off(cause, detail)

    def _delete(self, power: list[Request]) -> None:
        late = [item for item in self._mailbox.close() if isinstance(item, Request)]
        overtaken = []
        for request in [*self._waiting, *late]:
            if isinstance(request.command, DiskCommand):
                self._do(request)
                continue
            overtaken.append(request)
            if isinstance(request.command, Reboot):
                self._while_off += request.command.while_off
        self._serve_while_off()
        self._waiting.clear()
        self._end_unplugging()
        self._hardware.rest()
        self._hardware.delete()
        self._move(MachineState.GONE)
        for request in [*overtaken, *power]:
            request.end(DONE if isinstance(request.command, Destroy) else OVERTAKEN)

    # Devices

    def _serve_waiting(self) -> None:
        while self._waiting and self._state in _SETTLED:
            request = self._waiting.popleft()
            if not self._do(request):
                self._waiting.appendleft(request)
                return

    def _do(self, request: Request) -> bool:
        """Serve a disk or device command.

        Returns:
            False if the hardware went off meanwhile: retry the command once the machine is off.
        """
        try:
            over = self._execute(request)
        except HardwareOffError:
            return False
        except Exception as error:
            self._log_fault(error)
            request.end(End(Outcome.FAILED, str(error)))
        else:
            if over:
                request.end(DONE)
        return True

    def _execute(self, request: Request) -> bool:
        """Execute a command on the hardware; return whether it is complete."""
        command = request.command
        if isinstance(command, Plug):
            self._hardware.plug(command.device)
        elif isinstance(command, ChangeInterface):
            self._hardware.change_interface(command.attachment)
        elif isinstance(command, Freeze):
            self._hardware.freeze(command)
        elif isinstance(command, Grow):
            self._hardware.grow(command)
        elif isinstance(command, Unplug):
            return self._unplug(request, command)
        return True

    def _unplug(self, request: Request, command: Unplug) -> bool:
        if not self._hardware.unplug(command.resource_id, force=command.force):
            self._unplugging.setdefault(command.resource_id, []).append(request)
            return False
        self._end_unplugging_of(command.resource_id)
        return True

    def _released(self, device_id: str) -> None:
        try:
            resource_id = self._hardware.released(device_id)
        except HardwareOffError:
            return  # the power-off that follows frees the device
        if resource_id is not None:
            self._end_unplugging_of(resource_id)

    def _end_unplugging_of(self, resource_id: str) -> None:
        for request in self._unplugging.pop(resource_id, []):
            request.end(DONE)

    # States

    def _has(self, kind: type[PowerCommand]) -> bool:
        return _any(self._power, kind)

    def _log_fault(self, error: Exception) -> None:
        """Log an unexpected error, which is a bug in this program, and continue."""
        if not isinstance(error, (PycloudlibError, OSError)):
            logger.error("%s failed", self.instance_id, exc_info=error)

    def _refusal(self, action: str) -> str:
        return f"machine of {self.instance_id} is {self._state.value}: it cannot be {action}"

    def _move(self, to: MachineState, *, at_most: float | None = None) -> None:
        """Change the state.

        Args:
            to: the new state.
            at_most: the timeout of the new state in seconds; default none.

        Raises:
            MachineError: the transition is illegal.
        """
        if to not in _MOVES[self._state]:
            raise MachineError(f"machine of {self.instance_id} is {self._state.value}: it cannot be {to.value} next")
        self._state = to
        if at_most is not None:
            self._mailbox.put_after(at_most, Overdue(self._run, to))


def is_forced(command: Command) -> bool:
    """Return whether a command gives the guest no time to shut down."""
    return isinstance(command, Destroy) or (isinstance(command, Stop) and command.force)


def is_urgent(item: Any) -> bool:
    """Return whether an input makes the hardware's current operation pointless."""
    return isinstance(item, Request) and is_forced(item.command)


def _any(power: list[Request], kind: type[PowerCommand]) -> bool:
    return any(isinstance(request.command, kind) for request in power)


def _refuse(request: Request) -> None:
    """End a request to a destroyed machine."""
    if isinstance(request.command, Reboot):
        for pending in request.command.while_off:
            pending.end(OVERTAKEN)
    request.end(DONE if isinstance(request.command, Destroy) else OVERTAKEN)
