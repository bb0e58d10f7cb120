"""Queueing disciplines of network devices (tc), which delay packets and limit rates, for the helper only."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pycloudlib.local.network.namespaces.shaping import CLASSES

JUMBO_FRAME = 9_015
"""The size of the largest frame in bytes: the MTU and an Ethernet header."""

_ROOT = CLASSES << 16
_BYTES_PER_KBIT = 125
_UNLIMITED = 4_000_000_000
"""The rate without a limit in bytes per second."""
_QUANTUM = 60_000
"""The quantum of a class in bytes; explicit, because the kernel warns about its default for this rate."""
_DELAYED_PACKETS = 10_000
"""The maximum number of delayed packets; further packets are dropped."""
_BURST_SECONDS = 0.005
_WAITING_SECONDS = 0.1
"""The queueing time in seconds beyond which packets are dropped; the queue holds at least _WAITING_FRAMES frames."""
_WAITING_FRAMES = 10
_LOOPBACK_INDEX = 1
_PARENT_ROOT = 0xFFFFFFFF
_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "htb": {"default": 0},
    "netem": {"delay": 1000},
    "tbf": {"rate": 125_000, "burst": JUMBO_FRAME, "limit": JUMBO_FRAME},
}


def set_queue(
    netlink: IPRoute, index: int, classes: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Set the queueing discipline of a device to one with these classes.

    Packets of other classes, or without a class, are sent immediately. If classes are only added, queued packets of the
    existing classes are kept.

    Args:
        netlink: the netlink socket of the namespace.
        index: the index of the device.
        classes: the traffic classes as JSON (see TrafficClass); empty to remove the queueing discipline.
        before: the current classes; default unknown.

    Raises:
        NetlinkError: the kernel rejected the change; the device has no queueing discipline.
    """
    if before and all(traffic_class in classes for traffic_class in before):
        _add_classes(netlink, index, [traffic_class for traffic_class in classes if traffic_class not in before])
        return
    with _ignore_missing():
        netlink.tc("del", index=index, parent=_PARENT_ROOT)
    if not classes:
        return
    netlink.tc("add", "htb", index, _ROOT, default=0)
    _add_classes(netlink, index, classes)


def _add_classes(netlink: IPRoute, index: int, classes: Sequence[Mapping[str, Any]]) -> None:
    """Add classes to the queueing discipline of a device; on failure, remove it."""
    try:
        for traffic_class in classes:
            _add_class(netlink, index, traffic_class)
    except BaseException:
        netlink.tc("del", index=index, parent=_PARENT_ROOT)
        raise


def missing_kinds(kinds: Sequence[str]) -> list[str]:
    """Return the queueing disciplines that this kernel lacks.

    The loopback device of the process's network namespace must not have any.

    Args:
        kinds: the disciplines, such as "netem".
    """
    with contextlib.closing(IPRoute(groups=0)) as netlink:
        return [kind for kind in kinds if not _has(netlink, kind)]


def _has(netlink: IPRoute, kind: str) -> bool:
    try:
        netlink.tc("add", kind, _LOOPBACK_INDEX, _ROOT, **_EXAMPLES[kind])
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        return False
    netlink.tc("del", index=_LOOPBACK_INDEX, parent=_PARENT_ROOT)
    return True


def _add_class(netlink: IPRoute, index: int, traffic_class: Mapping[str, Any]) -> None:
    parent = _ROOT | traffic_class["number"]
    speed = {"rate": _UNLIMITED, "burst": _QUANTUM, "quantum": _QUANTUM}
    netlink.tc("add-class", "htb", index, parent, parent=_ROOT, **speed)
    if traffic_class["milliseconds"]:
        handle = (CLASSES + 2 * traffic_class["number"]) << 16
        delay = {"delay": traffic_class["milliseconds"] * 1000, "limit": _DELAYED_PACKETS}
        netlink.tc("add", "netem", index, handle, parent=parent, **delay)
        # The only class of netem is the queue of delayed packets.
        parent = handle | 1
    if traffic_class["kbit_per_second"]:
        handle = (CLASSES + 2 * traffic_class["number"] + 1) << 16
        netlink.tc(
            "add", "tbf", index, handle, parent=parent, **_rate(traffic_class["kbit_per_second"] * _BYTES_PER_KBIT)
        )


def _rate(rate: int) -> dict[str, int]:
    """Return the parameters of a rate in bytes per second."""
    return {
        "rate": rate,
        "burst": max(JUMBO_FRAME, int(rate * _BURST_SECONDS)),
        "limit": max(JUMBO_FRAME * _WAITING_FRAMES, int(rate * _WAITING_SECONDS)),
    }


@contextlib.contextmanager
def _ignore_missing() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
            raise
