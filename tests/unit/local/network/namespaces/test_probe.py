from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import prerequisites
from pycloudlib.local.network.namespaces import probe as probes
from pycloudlib.local.network.namespaces.probe import Finding, explain, probe


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    probe.cache_clear()
    yield
    probe.cache_clear()


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("step", "number", "as_root", "remedy"),
    [
        (probes.USER_NAMESPACE, errno.ENOSPC, False, "user.max_user_namespaces"),
        (probes.USER_NAMESPACE, errno.EPERM, False, "kernel.unprivileged_userns_clone=1"),
        (probes.USER_MAP, errno.EACCES, False, "kernel.apparmor_restrict_unprivileged_userns=0"),
        (probes.NETWORK_NAMESPACE, errno.EPERM, False, "kernel.apparmor_restrict_unprivileged_userns=0"),
        (probes.NETWORK_NAMESPACE, errno.EPERM, True, "--cap-add SYS_ADMIN"),
        (probes.CREATE_TAP, errno.EPERM, True, "--cap-add NET_ADMIN"),
        (probes.OPEN_TUN, errno.ENOENT, True, "modprobe tun"),
        (probes.OPEN_TUN, errno.EACCES, False, "chmod 666 /dev/net/tun"),
        (probes.OPEN_TUN, errno.EPERM, True, "--device /dev/net/tun"),
        (probes.SYSCTL, errno.EROFS, True, "use user networking"),
    ],
)
def test_explain_names_the_remedy(step: str, number: int, as_root: bool, remedy: str) -> None:
    finding = explain(step, refused(number), as_root=as_root)
    assert not finding.works
    assert finding.reason == f"cannot {step}: {os.strerror(number)}"
    assert remedy in finding.remedy


def test_explain_quotes_nftables() -> None:
    finding = explain(probes.NFTABLES, LocalEC2Error("nftables refused a ruleset: no fib"), as_root=True)
    assert finding.reason == "cannot apply an nftables ruleset: nftables refused a ruleset: no fib"
    assert "install -y nftables" in finding.remedy


def test_probe_names_missing_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_probe: None) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prerequisites, "SYSTEM_DIRECTORIES", str(tmp_path))
    finding = probe()
    assert finding.reason == "dnsmasq and slirp4netns are not installed"
    assert finding.remedy.endswith("apt-get install -y dnsmasq-base slirp4netns")


def test_probe_survives_a_silent_child(monkeypatch: pytest.MonkeyPatch, fresh_probe: None) -> None:
    monkeypatch.setattr(probes, "PROGRAMS", ())
    monkeypatch.setattr(sys, "executable", "/bin/true")
    assert probe().reason.startswith("the probe failed")


def test_probe_runs_once_per_process(namespaces_work: None, fresh_probe: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe() == Finding(True)
    monkeypatch.setattr(probes, "PROGRAMS", ("a-program-that-nobody-has",))
    assert probe() == Finding(True)
