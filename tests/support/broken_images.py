"""Copies of the default image, each broken on purpose: debugfs writes into the file system, so nothing has to boot."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pycloudlib.key import generate_key_pair_texts
from pycloudlib.local import qemu_img
from pycloudlib.local.images.boot_loader import ROOT
from pycloudlib.local.images.catalog import Image

LONG_AGO = "20240101000000"
BLOCK = 4096

BROKEN_MODULE = """\
from cloudinit.settings import PER_INSTANCE

meta = {"id": "cc_phone_home", "distros": ["all"], "frequency": PER_INSTANCE, "activate_by_schema_keys": []}


def handle(name, cfg, cloud, log, args):
    raise RuntimeError("broken on purpose")
"""

BROKEN_UNIT = """\
[Service]
Type=oneshot
ExecStart=/bin/false
"""


@dataclass(frozen=True)
class Fault:
    """What is wrong with an image.

    Args:
        caught_by: the one check that has to fail.
        files: what is written, by path.
        modes: permissions of these files that are not 0644.
        links: symbolic links, by path.
        filled_gib: size of a file that takes room.
    """

    caught_by: str
    files: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    filled_gib: float = 0.0


def _baked_in_host_key() -> Fault:
    public, private = generate_key_pair_texts()
    key = "/etc/ssh/ssh_host_ed25519_key"
    return Fault(
        "ssh::host_keys_are_the_machines_own",
        {key: private, f"{key}.pub": public, "/etc/cloud/cloud.cfg.d/99-keep.cfg": "ssh_deletekeys: false\n"},
        {key: 0o600},
    )


def _left_key() -> Fault:
    public, _ = generate_key_pair_texts()
    file = "/root/.ssh/authorized_keys"
    return Fault("access::no_authorized_keys_are_left", {file: f"{public.strip()} builder\n"}, {file: 0o600})


FAULTS: Mapping[str, Fault] = {
    "failed unit": Fault(
        "system::no_failed_units",
        {"/etc/systemd/system/broken.service": BROKEN_UNIT},
        links={"/etc/systemd/system/multi-user.target.wants/broken.service": "/etc/systemd/system/broken.service"},
    ),
    "baked-in host key": _baked_in_host_key(),
    "left key": _left_key(),
    "full disk": Fault("storage::root_has_room", filled_gib=6.5),
    "broken cloud-init module": Fault(
        "cloud_init::no_errors_or_warnings",
        {"/usr/lib/python3/dist-packages/cloudinit/config/cc_phone_home.py": BROKEN_MODULE},
    ),
}


def broken_copy(image: Image, faults: Iterable[Fault], disk: Path) -> Path:
    """Write a copy of an image's disk with these faults."""
    qemu_img.copy(image.disk, disk)
    with tempfile.TemporaryDirectory(dir=disk.parent) as name:
        commands = [line for fault in faults for line in _commands(fault, Path(name))]
        script = Path(name) / "commands"
        script.write_text("\n".join(commands) + "\n")
        done = subprocess.run(
            ["debugfs", "-w", "-f", str(script), f"{disk}?offset={ROOT.offset}"],
            capture_output=True,
            text=True,
            check=True,
        )
    # It goes on after an error, and ends well; each command is printed before what it has to say.
    complaints = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if line.strip() and not line.startswith(("debugfs:", "debugfs ", "Allocated inode:"))
    ]
    assert complaints == [], complaints
    return disk


def _commands(fault: Fault, directory: Path) -> Iterable[str]:
    for number, (path, text) in enumerate(fault.files.items()):
        source = directory / f"{fault.caught_by.replace(':', '-')}-{number}"
        source.write_text(text)
        if path.endswith("cc_phone_home.py"):
            yield f"rm {path}"
        yield f"write {source} {path}"
        yield from (f"sif {path} {name} 0" for name in ("uid", "gid"))
        yield f"sif {path} mode 0{0o100000 | fault.modes.get(path, 0o644):o}"
        yield from (f"sif {path} {name} {LONG_AGO}" for name in ("mtime", "ctime"))
    yield from (f"symlink {path} {target}" for path, target in fault.links.items())
    if fault.filled_gib:
        blocks = int(fault.filled_gib * qemu_img.GIB) // BLOCK
        empty = directory / "empty"
        empty.touch()
        yield f"write {empty} /var/cache/filling"
        yield f"fallocate /var/cache/filling 0 {blocks - 1}"
        yield f"sif /var/cache/filling size {blocks * BLOCK}"
